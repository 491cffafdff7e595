"""Images that are on the nodes before their engines.

Does not prove that a kubelet fetches them, nor how long it takes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.scheduling import GPU_TAINT, Taint
from components.serving.image_prepull import ImagePrePull, ImagePrePullArgs
from components.versions import SGLANG_ENGINE, VLLM_ENGINE
from stacks.config import load_environment
from stacks.environment import build_environment
from tests.unit.components.samples import L4_POOL, context
from tests.unit.components.test_environment import kubeconfig
from tests.unit.conftest import Engine
from tests.unit.stacks.config_samples import sample

__all__ = ["kubeconfig"]

pytestmark = pytest.mark.unit

DIGEST = f"sha256:{7:064x}"


def daemon_set(engine: Engine, images: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    args = ImagePrePullArgs(
        pool=replace(L4_POOL, taints=(GPU_TAINT, Taint("spot", "true", "NoSchedule"))), images=images
    )
    engine.run(lambda: ImagePrePull("l4", replace(context(), **changes), args))
    assert engine.children() == {
        ("pulumi:providers:kubernetes", "dev-provider"): 1,
        ("kubernetes:apps/v1:DaemonSet", "l4-images"): 1,
    }
    return engine.one("DaemonSet", "l4-images")


def test_a_pod_on_every_node_of_the_pool_sleeps_in_each_image(engine: Engine) -> None:
    made = daemon_set(engine, (VLLM_ENGINE, SGLANG_ENGINE, VLLM_ENGINE), image_pull_secrets=("registry",))
    pod = made["spec"]["template"]["spec"]
    assert made["metadata"]["name"] == "l4-images"
    assert pod["nodeSelector"] == {"inference.platform/node-pool": "l4"}
    assert [item["key"] for item in pod["tolerations"]] == ["nvidia.com/gpu", "spot"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert [(item["image"], item["command"]) for item in pod["containers"]] == [
        (VLLM_ENGINE, ["sleep", "infinity"]),
        (SGLANG_ENGINE, ["sleep", "infinity"]),
    ]
    for container in pod["containers"]:
        assert container["resources"] == {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "16Mi"}}
        assert container["securityContext"]["runAsNonRoot"] is True


def test_its_pods_are_no_models_and_no_other_pools(engine: Engine) -> None:
    made = daemon_set(engine, (VLLM_ENGINE,))
    selector = {
        "inference.platform/environment": "dev",
        "inference.platform/component": "images",
        "inference.platform/node-pool": "l4",
    }
    assert made["spec"]["selector"] == {"matchLabels": selector}
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert "inference.platform/model" not in labels


def test_it_fetches_what_the_engines_are_pinned_to(engine: Engine) -> None:
    made = daemon_set(engine, (VLLM_ENGINE,), image_digests={VLLM_ENGINE: DIGEST})
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{VLLM_ENGINE}@{DIGEST}"


def test_no_image_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="node pool 'l4': no image to fetch"):
        ImagePrePullArgs(pool=L4_POOL, images=())


@pytest.mark.usefixtures("kubeconfig")
@pytest.mark.parametrize(
    ("wanted", "settings", "images"),
    [
        (True, {}, [VLLM_ENGINE]),
        (True, {"name": "sglang"}, [SGLANG_ENGINE]),
        (True, {"name": "custom", "custom": {"image": "registry.example/team/engine:1"}}, None),
        (False, {}, None),
    ],
)
def test_of_the_pools_that_want_it(
    engine: Engine, wanted: bool, settings: dict[str, Any], images: list[str] | None
) -> None:
    changes = {
        "node_pools__0__image_prepull": wanted,
        "model_deployments__0__engine": {**settings, "max_model_len": 8192},
    }
    config = load_environment(sample(**changes), "test")
    engine.run(lambda: build_environment(config, "test"))
    pods = [item.inputs["spec"]["template"]["spec"] for item in engine.seen if item.type.endswith(":DaemonSet")]
    assert [[container["image"] for container in pod["containers"]] for pod in pods] == ([images] if images else [])
