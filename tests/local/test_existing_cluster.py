"""An environment that moves into a cluster which is there, beside another one.

The embedded cluster stands in for a platform team's: its nodes are made here, with that team's labels and taints, and
KWOK simulates them. The engines are simulators that were not told so: they start at once and answer as on an L4. Does
not prove that another cluster's KEDA, device plugin or ingress are as the platform expects.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.core_v1 import HostPathVolumeSource, NodeSpec, PersistentVolumeSpec, Taint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod

from components.versions import VLLM_ENGINE
from local import cluster
from local.layout import ClusterFiles
from local.pulumi_cli import Pulumi
from tests.local.client import ask_many
from tests.local.conftest import engine_labels, until

pytestmark = pytest.mark.local

GPU_LABEL, CPU_LABEL = {"team.example.com/nodes": "gpus"}, {"team.example.com/nodes": "apps"}


COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"


def environment(kubeconfig: Path) -> dict[str, Any]:
    """What all environments are told."""
    return {
        "cloud": "existing",
        "serving_stack": "manifests",
        "existing": {
            "kubeconfig": str(kubeconfig),
            "provides": ["device-plugin", "dcgm-exporter", "prometheus", "grafana", "keda", "keda-http-add-on"],
            "node_pools": [
                {"name": "l4", "node_selector": GPU_LABEL, "taints": [{"key": "team", "value": "ml"}]},
                {"name": "system", "node_selector": CPU_LABEL},
            ],
        },
        "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 1, "image_prepull": True}],
        "model_deployments": [
            {
                "name": "chat",
                "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"},
                "engine": {"max_model_len": 8192},
                "node_pool": "l4",
                "scaling": {
                    "polling_interval_seconds": 1,
                    "startup_budget_seconds": 5,
                    "cooldown_seconds": 60,
                    "drain_seconds": 5,
                },
            }
        ],
    }


@pytest.fixture(scope="module")
def team_cluster() -> Iterator[ClusterFiles]:
    """A cluster of its own, with one GPU node and one CPU node under names that are not the platform's."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / "team")
    try:
        cluster.up(files, gateway_port=0)
        client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
        taints = [Taint(key="team", value="ml", effect="NoSchedule")]
        gpus = {"cpu": "48", "memory": "192Gi", "nvidia.com/gpu": "4", "pods": "110"}
        client.create(node("team-gpu", GPU_LABEL, gpus, taints))
        client.create(node("team-cpu", CPU_LABEL, {"cpu": "32", "memory": "128Gi", "pods": "250"}, []))
        yield files
    finally:
        cluster.stop(files)
        shutil.rmtree(root)


def node(name: str, labels: dict[str, str], capacity: dict[str, str], taints: list[Taint]) -> Node:
    """A node whose life KWOK simulates."""
    annotations = {"kwok.x-k8s.io/node": "fake", "inference.platform/capacity": json.dumps(capacity)}
    metadata = ObjectMeta(name=name, labels={"kubernetes.io/os": "linux", **labels}, annotations=annotations)
    return Node(metadata=metadata, spec=NodeSpec(providerID=f"local:///{name}", taints=taints))


def with_weights(raw: dict[str, Any]) -> dict[str, Any]:
    """The same with its models on a volume of the team's, a pinned revision of each, and a replica that stays."""
    model = raw["model_deployments"][0]
    model["source"]["revision"] = COMMIT
    model["scaling"] |= {"min_replicas": 1, "startup_budget_seconds": 60}
    volume = {**raw["existing"], "weights_volume": "models"}
    return {**raw, "existing": volume, "weights": {"store": "shared-files", "offline": True}}


def stack(files: ClusterFiles, name: str, raw: dict[str, Any] | None = None) -> Pulumi:
    """A stack that knows the cluster by its configuration alone."""
    config_file = files.root / f"Pulumi.{name}.yaml"
    config_file.write_text(
        yaml.safe_dump({"config": {"inference-platform:environment": raw or environment(files.kubeconfig)}})
    )
    made = Pulumi(name, files.root / "pulumi", files.root / "not-a-kubeconfig", config_file=config_file)
    made.prepare()
    return made


@pytest.fixture(scope="module")
def first(team_cluster: ClusterFiles) -> Iterator[Pulumi]:
    """The first environment, deployed."""
    made = stack(team_cluster, "one")
    made.run("up", "--yes", "--skip-preview", "--stack", "one")
    yield made
    made.run("destroy", "--yes", "--skip-preview", "--stack", "one")


@pytest.fixture
def client(team_cluster: ClusterFiles) -> Client:
    """Administrator of the API."""
    return Client(config=KubeConfig.from_file(str(team_cluster.kubeconfig)))


def placed(client: Client, namespace: str) -> dict[str, str]:
    """Node of each pod, by its component."""
    pods = list(client.list(Pod, namespace=namespace))
    return {
        (pod.metadata.labels or {})["inference.platform/component"]: pod.spec.nodeName or ""
        for pod in pods
        if pod.metadata and pod.spec
    }


@pytest.mark.usefixtures("first")
def test_a_request_is_answered_by_an_engine_on_the_teams_node(team_cluster: ClusterFiles, client: Client) -> None:
    """Woken from zero, as on every cloud; each pod is where the settings say."""
    (answer,) = ask_many(f"http://127.0.0.1:{cluster.ports(team_cluster).gateway}", "chat", 1, tokens=8)
    assert answer.complete, answer
    assert answer.tokens == 8
    where = {"engine": "team-gpu", "images": "team-gpu", "router": "team-cpu", "gateway": "team-cpu"}
    assert placed(client, "inference-one") == where


@pytest.mark.usefixtures("first")
def test_the_engines_image_is_held_on_the_teams_node(client: Client) -> None:
    """By a process that sleeps; how long a kubelet takes to fetch an image is not shown here."""

    def held() -> list[bool]:
        pods = client.list(Pod, namespace="inference-one", labels={"inference.platform/component": "images"})
        found = [pod.status.containerStatuses or [] for pod in pods if pod.status]
        return [status.ready for statuses in found for status in statuses if status.image == VLLM_ENGINE]

    until(lambda: held() == [True], 30, "the image is held")


@pytest.mark.usefixtures("first")
def test_a_second_environment_comes_and_goes_without_a_trace(team_cluster: ClusterFiles, client: Client) -> None:
    """Two environments share the cluster: neither changes an object of the other."""

    def state() -> dict[str, tuple[str, int]]:
        found = client.list(Deployment, namespace="inference-one")
        return {
            item.metadata.name or "": (item.metadata.uid or "", item.metadata.generation or 0)
            for item in found
            # The engine's replicas are KEDA's, which may count while we look.
            if item.metadata and "engine" not in (item.metadata.name or "")
        }

    before = state()
    assert len(before) == 2
    second = stack(team_cluster, "two")
    second.run("up", "--yes", "--skip-preview", "--stack", "two")
    assert placed(client, "inference-two") == {"images": "team-gpu", "router": "team-cpu", "gateway": "team-cpu"}
    second.run("destroy", "--yes", "--skip-preview", "--stack", "two")
    with pytest.raises(ApiError, match="not found"):
        client.get(Namespace, "inference-two")
    assert state() == before
    names = sorted(item.metadata.name or "" for item in client.list(Node) if item.metadata)
    assert names == ["team-cpu", "team-gpu"]


def test_a_second_preview_proposes_nothing(first: Pulumi) -> None:
    """Nothing of ours fights with what the cluster's controllers write."""
    shown = first.run("preview", "--json", "--stack", "one")
    assert {step["op"] for step in json.loads(shown)["steps"]} == {"same"}


def test_engines_take_a_pinned_model_from_the_teams_volume_and_ask_nobody(
    team_cluster: ClusterFiles, client: Client
) -> None:
    """The claim is bound to the volume, and the engine is ready with the revision and without the hub."""
    modes, size = ["ReadWriteMany"], {"storage": "1Ti"}
    source = HostPathVolumeSource(path="/models")
    spec = PersistentVolumeSpec(accessModes=modes, capacity=size, hostPath=source, storageClassName="")
    client.create(PersistentVolume(metadata=ObjectMeta(name="models"), spec=spec))
    made = stack(team_cluster, "offline", with_weights(environment(team_cluster.kubeconfig)))
    try:
        made.run("up", "--yes", "--skip-preview", "--stack", "offline")
        namespace = "inference-offline"

        def ready() -> list[Pod]:
            pods = list(client.list(Pod, namespace=namespace, labels=engine_labels("chat")))
            return [
                pod for pod in pods if pod.status and any(each.ready for each in pod.status.containerStatuses or ())
            ]

        until(lambda: bool(ready()), 60, "the engine is ready")
        (pod,) = ready()
        assert pod.spec
        (container,) = pod.spec.containers
        variables = {item.name: item.value for item in container.env or ()}
        assert (variables["HF_HOME"], variables["HF_HUB_OFFLINE"]) == ("/weights", "1")
        assert f"--revision={COMMIT}" in (container.args or ())
        claim = client.get(PersistentVolumeClaim, "weights", namespace=namespace)
        assert (claim.status and claim.status.phase, claim.spec and claim.spec.volumeName) == ("Bound", "models")
    finally:
        made.run("destroy", "--yes", "--skip-preview", "--stack", "offline")
        client.delete(PersistentVolume, "models")
