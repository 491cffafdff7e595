"""Images pinned by digest: every container of every pod that the platform makes, and what the chart is told.

Does not prove that a registry has an image of that digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pulumi_kubernetes.core.v1 import ContainerArgs, PodSpecArgs

from components.images import pin_images, pinned
from components.own_images import OWN_IMAGES
from components.serving.production_stack.render import chart_values
from components.versions import HAPROXY, VLLM_ENGINE, VLLM_ROUTER
from policy import facts
from policy.rules.images import PinnedSettings, image_pinned
from policy.view import Resource
from policy.workloads import Image
from stacks.config import load_environment
from stacks.environment import build_environment
from stacks.errors import ConfigError
from tests.unit.components.samples import context, deployment
from tests.unit.components.test_environment import kubeconfig
from tests.unit.conftest import Engine
from tests.unit.stacks.config_samples import sample

__all__ = ["kubeconfig"]

pytestmark = pytest.mark.unit

DIGESTS = {image: f"sha256:{index:064x}" for index, image in enumerate(OWN_IMAGES, start=1)}
ENGINES = {
    "vllm": {},
    "sglang": {"name": "sglang"},
    "tgi": {"name": "tgi"},
    "triton": {"name": "triton"},
}
MODEL = "model_deployments__0__"


def test_the_platforms_images_are_the_tested_ones() -> None:
    known = {f"{repository}:{tag}" for repository, tags in facts.tested_images().items() for tag in tags}
    assert set(OWN_IMAGES) <= known
    assert len(set(OWN_IMAGES)) == len(OWN_IMAGES)


def test_an_image_keeps_its_tag() -> None:
    digest = DIGESTS[HAPROXY]
    assert pinned(HAPROXY, DIGESTS) == f"{HAPROXY}@{digest}"
    assert Image.parse(pinned(HAPROXY, DIGESTS)) == Image("haproxy", HAPROXY.partition(":")[2], digest)
    assert pinned("other:1", DIGESTS) == "other:1"


def test_containers_of_all_kinds() -> None:
    pod = PodSpecArgs(
        init_containers=[ContainerArgs(name="sidecar", image=HAPROXY)],
        containers=[ContainerArgs(name="engine", image="own/engine:1"), ContainerArgs(name="r", image=VLLM_ROUTER)],
    )
    found = [item.image for item in (*pin_images(pod, DIGESTS).init_containers, *pod.containers)]  # type: ignore[misc]
    assert found == [f"{HAPROXY}@{DIGESTS[HAPROXY]}", "own/engine:1", f"{VLLM_ROUTER}@{DIGESTS[VLLM_ROUTER]}"]


def images(value: Any) -> Iterator[str]:
    """Images of all containers in what was registered."""
    if isinstance(value, dict):
        for key, child in value.items():
            if key in {"containers", "initContainers"}:
                yield from (container["image"] for container in child)
            yield from images(child)
    elif isinstance(value, list):
        for child in value:
            yield from images(child)


@pytest.mark.usefixtures("kubeconfig")
@pytest.mark.parametrize("name", ENGINES)
def test_every_pod_of_an_environment(engine: Engine, name: str) -> None:
    """With `digests: all` the policy finds nothing, and without them it finds every image."""

    def found(digests: dict[str, str]) -> tuple[set[str], list[str]]:
        engine.seen.clear()
        engine_settings = {**ENGINES[name], "max_model_len": 8192}
        config = load_environment(sample(image_digests=digests, **{f"{MODEL}engine": engine_settings}), "test")
        engine.run(lambda: build_environment(config, "test"))
        resources = [Resource(type=item.type, name=item.name, inputs=item.inputs) for item in engine.seen]
        doubts = [str(finding) for item in resources for finding in image_pinned(item, PinnedSettings(digests="all"))]
        return {image for item in engine.seen for image in images(item.inputs)}, doubts

    plain, doubts = found({})
    assert plain <= set(OWN_IMAGES)
    assert len(plain) >= 3
    assert doubts
    assert found(DIGESTS) == ({pinned(image, DIGESTS) for image in plain}, [])


def test_the_chart_writes_tag_and_digest(engine: Engine) -> None:
    """Its template puts a colon between `repository` and `tag`."""
    made: list[dict[str, Any]] = []

    def program() -> None:
        where = replace(context(), image_digests=DIGESTS)
        made.append(chart_values(where, deployment(), runtime_class="", extra={}).render())

    engine.run(program)
    (model,) = made[0]["servingEngineSpec"]["modelSpec"]
    assert f"{model['repository']}:{model['tag']}" == pinned(VLLM_ENGINE, DIGESTS)


def test_the_form_of_a_digest() -> None:
    with pytest.raises(ConfigError) as caught:
        load_environment(sample(image_digests={VLLM_ENGINE: "sha256:abc"}), "test")
    assert "must be a digest, sha256: and 64 hexadecimal digits" in caught.value.text()


def test_a_digest_of_another_version_is_refused() -> None:
    """It would go on fetching the old image, whatever its tag says."""
    digests = {"vllm/vllm-openai:v0.31.0": DIGESTS[VLLM_ENGINE]}
    with pytest.raises(ConfigError) as caught:
        load_environment(sample(image_digests=digests), "test")
    text = caught.value.text()
    assert "vllm/vllm-openai:v0.31.0" in text
    assert "a digest belongs to one version of an image" in text
    assert f"Did you mean {VLLM_ENGINE}?" in text


@pytest.mark.parametrize("tag", ["", ":1.2.3", ":V1_2"])
def test_a_custom_engine_may_have_tag_and_digest(tag: str) -> None:
    image = f"registry.example:5000/team/engine{tag}@{DIGESTS[HAPROXY]}"
    settings = {"name": "custom", "custom": {"image": image}, "max_model_len": 8192}
    config = load_environment(sample(**{f"{MODEL}engine": settings}), "test")
    custom = config.model_deployments[0].engine.custom
    assert custom is not None
    assert custom.image == image
