"""The real chart of the vLLM Production Stack on an embedded cluster: install, serve, upgrade, uninstall, its traps.

Runs where VLLM_STACK_CHART names the chart's folder (`helm/` of a checkout of vllm-project/production-stack). The
engine is a simulator. Does not prove that the real image accepts what the chart gives it: the engine's flags are
checked elsewhere against its own catalogue.
"""

from __future__ import annotations

import base64
import concurrent.futures
import copy
import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube.core.exceptions import ApiError
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace, Secret

from components.serving.production_stack.chart import installable
from local import cluster
from local.layout import ClusterFiles
from local.pulumi_cli import Pulumi
from tests.local.client import ask_many
from tests.local.conftest import CONFIG, Environment, deploy, until, write_config

CHART = os.environ.get("VLLM_STACK_CHART", "")
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not CHART, reason="VLLM_STACK_CHART does not name the folder of the chart vllm-stack"),
]

STACK_CONFIG: dict[str, Any] = {**CONFIG, "serving_stack": "production-stack"}

NAIVE = """\
name: naive
runtime: python
"""
NAIVE_PROGRAM = """\
import json, pathlib
import pulumi_kubernetes as kubernetes
provider = kubernetes.Provider("provider", kubeconfig={kubeconfig!r})
namespace = kubernetes.core.v1.Namespace("naive", metadata={{"name": "naive"}},
    opts=__import__("pulumi").ResourceOptions(provider=provider))
kubernetes.helm.v3.Release("naive", name="naive", namespace="naive", chart={chart!r}, skip_await=True,
    values=json.loads(pathlib.Path({values!r}).read_text()),
    opts=__import__("pulumi").ResourceOptions(provider=provider, depends_on=[namespace]))
"""


@pytest.fixture(scope="module")
def stack_cluster() -> Iterator[ClusterFiles]:
    """A cluster for this file alone: another environment's nodes would have the same names."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    made = ClusterFiles(root / "chart")
    try:
        cluster.up(made, gateway_port=0)
        yield made
    finally:
        cluster.down(made)
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def stack(stack_cluster: ClusterFiles) -> Environment:
    """The environment, deployed through the chart."""
    return deploy(stack_cluster, STACK_CONFIG)


def test_models_start_at_zero_wake_and_answer(stack: Environment) -> None:
    """The chart's Deployment, our route, our ScaledObject."""
    stack.await_zero()
    answers = ask_many(stack.url, "chat", 20, stream=True, tokens=8)
    assert [answer for answer in answers if not answer.complete] == []
    assert {answer.tokens for answer in answers} == {8}
    assert stack.replicas("code") == (0, 0)


def test_the_engines_are_the_charts(stack: Environment) -> None:
    release = manifest(stack, stack.namespace, "chat")
    assert [item["metadata"]["name"] for item in release if item["kind"] == "Deployment"] == [
        "chat-engine-deployment-vllm"
    ]
    live = stack.client.get(Deployment, "chat-engine-deployment-vllm", namespace=stack.namespace)
    assert live.spec is not None
    assert live.spec.template.spec is not None
    pod = live.spec.template.spec
    assert pod.terminationGracePeriodSeconds is not None
    assert pod.terminationGracePeriodSeconds > 10
    assert pod.containers[0].lifecycle is not None


def test_a_second_preview_proposes_nothing(stack: Environment) -> None:
    stack.pulumi.run("preview", "--expect-no-changes", "--stack", "chart")


def test_an_upgrade_under_load_fails_no_request_and_leaves_the_number_to_the_autoscaler(stack: Environment) -> None:
    """A new flag rolls the engines out one by one, without a spare GPU; requests go on."""
    config = copy.deepcopy(STACK_CONFIG)
    config["model_deployments"][0]["engine"]["max_num_seqs"] = 8
    ask_many(stack.url, "chat", 4, tokens=8)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        write_config(stack.files, config)
        upgrade = pool.submit(stack.pulumi.run, "up", "--yes", "--skip-preview", "--stack", "chart")
        answers = []
        while not upgrade.done():
            answers += ask_many(stack.url, "chat", 12, stream=True, tokens=40)
        upgrade.result()
        rolled_out = flags(stack)
        answers += ask_many(stack.url, "chat", 12, stream=True, tokens=40)
    assert rolled_out[rolled_out.index("--max-num-seqs") + 1] == "8"
    print(f"{len(answers)} requests during the upgrade, {sum(not item.complete for item in answers)} failed")
    assert [answer for answer in answers if not answer.complete] == []
    assert len(answers) >= 24


def flags(stack: Environment) -> list[str]:
    """The command line of a model's engines."""
    live = stack.client.get(Deployment, "chat-engine-deployment-vllm", namespace=stack.namespace)
    assert live.spec is not None
    assert live.spec.template.spec is not None
    return list(live.spec.template.spec.containers[0].command or [])


def manifest(stack: Environment, namespace: str, release: str, revision: int = 1) -> list[dict[str, Any]]:
    """What Helm rendered, from its own record of a release."""
    record = stack.client.get(Secret, f"sh.helm.release.v1.{release}.v{revision}", namespace=namespace)
    assert record.data is not None
    packed = base64.b64decode(base64.b64decode(record.data["release"]))
    document = json.loads(gzip.decompress(packed))
    return [item for item in yaml.safe_load_all(document["manifest"]) if item]


@pytest.fixture(scope="module")
def naive(stack: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """What the chart makes of values as a newcomer writes them."""
    values = {
        "servingEngineSpec": {
            "runtimeClassName": "",
            "nodeSelector": {"gpu": "l4"},
            "modelSpec": [
                {
                    "name": "one",
                    "repository": "vllm/vllm-openai",
                    "tag": "v0.32.0",
                    "modelURL": "a/b",
                    "replicaCount": 0,
                    "requestCPU": 1,
                    "requestMemory": "1Gi",
                    "requestGPU": 1,
                    "terminationGracePeriodSeconds": 300,
                    "keda": {"enabled": True, "minReplicaCount": 0, "maxReplicaCount": 2},
                },
                {
                    "name": "two",
                    "enabled": False,
                    "repository": "vllm/vllm-openai",
                    "tag": "v0.32.0",
                    "modelURL": "a/b",
                    "replicaCount": 0,
                    "requestCPU": 1,
                    "requestMemory": "1Gi",
                },
            ],
        },
        "routerSpec": {"replicaCount": 0, "tolerations": [{"operator": "Exists"}]},
    }
    folder = tmp_path_factory.mktemp("naive")
    (folder / "values.json").write_text(json.dumps(values))
    (folder / "Pulumi.yaml").write_text(NAIVE)
    program = NAIVE_PROGRAM.format(
        kubeconfig=str(stack.files.kubeconfig), chart=str(installable(Path(CHART))), values=str(folder / "values.json")
    )
    (folder / "__main__.py").write_text(program)
    engine = Pulumi("naive", stack.files.root / "pulumi-naive", stack.files.kubeconfig, program=folder)
    engine.prepare()
    engine.run("up", "--yes", "--skip-preview", "--stack", "naive")
    yield manifest(stack, "naive", "naive")
    engine.run("destroy", "--yes", "--skip-preview", "--stack", "naive")


def one(items: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The object of this kind and name."""
    (found,) = (item for item in items if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


@pytest.fixture(scope="module")
def ours(stack: Environment) -> list[dict[str, Any]]:
    """What the chart makes of our values."""
    return manifest(stack, stack.namespace, "code")


ENGINE, NAIVE_ENGINE = "code-engine-deployment-vllm", "naive-one-deployment-vllm"


def test_trap_unknown_keys_do_nothing(naive: list[dict[str, Any]]) -> None:
    text = json.dumps(naive)
    assert '"gpu": "l4"' not in text
    assert "terminationGracePeriodSeconds" not in text
    assert "tolerations" not in json.dumps(one(naive, "Deployment", "naive-deployment-router"))


def test_trap_the_default_trigger_asks_for_a_label_that_no_metric_has(
    naive: list[dict[str, Any]], ours: list[dict[str, Any]]
) -> None:
    (trigger,) = one(naive, "ScaledObject", "naive-one-scaledobject")["spec"]["triggers"]
    assert trigger["metadata"]["query"] == 'vllm:num_requests_waiting{model="one"}'
    assert [item for item in ours if item["kind"] == "ScaledObject"] == []


def test_trap_replicas_belong_to_the_autoscaler(ours: list[dict[str, Any]]) -> None:
    assert "replicas" not in one(ours, "Deployment", ENGINE)["spec"]


def test_trap_a_rollout_waits_for_spare_gpus(naive: list[dict[str, Any]], ours: list[dict[str, Any]]) -> None:
    surge = one(naive, "Deployment", NAIVE_ENGINE)["spec"]["strategy"]["rollingUpdate"]
    assert surge == {"maxSurge": "100%", "maxUnavailable": 0}
    assert one(ours, "Deployment", ENGINE)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_trap_discovery_labels_are_the_same_in_every_release(
    naive: list[dict[str, Any]], ours: list[dict[str, Any]]
) -> None:
    arguments = one(naive, "Deployment", "naive-deployment-router")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[arguments.index("--k8s-label-selector") + 1] == "environment=test,release=test"
    labels = one(ours, "Deployment", ENGINE)["spec"]["template"]["metadata"]["labels"]
    assert labels["inference.platform/environment"] == "chart"
    assert labels["inference.platform/model"] == "code"


def test_trap_a_disabled_model_leaves_its_service(naive: list[dict[str, Any]]) -> None:
    one(naive, "Service", "naive-two-engine-service")


def test_trap_floating_images_and_pull_policy(naive: list[dict[str, Any]], ours: list[dict[str, Any]]) -> None:
    router = one(naive, "Deployment", "naive-deployment-router")["spec"]["template"]["spec"]["containers"][0]
    assert router["image"].endswith(":latest")
    assert ":latest" not in json.dumps(ours)


def test_trap_engines_listen_on_all_addresses_unless_told_again(ours: list[dict[str, Any]]) -> None:
    command = one(ours, "Deployment", ENGINE)["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("--host") + 1] == "0.0.0.0"  # noqa: S104
    assert command.index("--host=$(POD_IP)") > command.index("--host")


def test_it_uninstalls_cleanly(stack: Environment) -> None:
    """Last in the file: nothing of the environment is left, releases included."""
    stack.pulumi.run("destroy", "--yes", "--skip-preview", "--stack", "chart")

    def gone() -> bool:
        try:
            stack.client.get(Namespace, stack.namespace)
        except ApiError as error:
            return error.status.code == 404
        return False

    until(gone, 30, "the namespace is gone")
