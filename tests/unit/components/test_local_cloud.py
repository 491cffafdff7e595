"""The local cloud: access to the embedded cluster, and its simulated nodes.

Does not prove that KWOK gives the nodes their status or that pods are scheduled to them: the local tests do.
"""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pulumi
import pytest
import yaml

from components.base import Component
from components.clouds import CLOUDS, load_cloud, load_rules
from components.clouds.local.cluster import ensure_reachable, kubeconfig_path
from components.clouds.local.gpu_node_pool import GpuNodePool, SystemNodePool
from components.cluster import Capability, ClusterArgs, ClusterHandle, ClusterUnreachableError, NodePoolArgs
from components.scheduling import GPU_TAINT, Sharing, SharingMode
from tests.unit.components.samples import L4_POOL
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

POOL = NodePoolArgs(gpus=L4_POOL, instance_type="g6.12xlarge", capacity_type="on-demand", min_nodes=1, max_nodes=3)


@contextmanager
def api_server(folder: Path) -> Iterator[Path]:
    """Something that accepts connections, and a kubeconfig that names it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield write_kubeconfig(folder, f"https://127.0.0.1:{server.getsockname()[1]}")


def write_kubeconfig(folder: Path, server: str) -> Path:
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump({"clusters": [{"name": "local", "cluster": {"server": server}}]}))
    return file


def test_a_node_pool_is_its_nodes_at_its_largest(engine: Engine) -> None:
    made = engine.run(lambda: GpuNodePool("dev-l4", POOL))
    assert len(made.nodes) == 3
    assert engine.children() == Counter({("kubernetes:core/v1:Node", f"dev-l4-{i}"): 1 for i in range(3)})
    assert engine.one("Node", "dev-l4-2") == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "l4-2",
            "labels": {
                "kubernetes.io/hostname": "l4-2",
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "inference.platform/node-pool": "l4",
                "inference.platform/capacity-type": "on-demand",
                "node.kubernetes.io/instance-type": "g6.12xlarge",
                "nvidia.com/gpu.product": "NVIDIA-L4",
                "nvidia.com/gpu.count": "4",
                "nvidia.com/gpu.present": "true",
            },
            "annotations": {
                "kwok.x-k8s.io/node": "fake",
                "inference.platform/capacity": json.dumps(
                    {"cpu": "48", "memory": "196608Mi", "nvidia.com/gpu": "4", "pods": "110"}
                ),
            },
        },
        "spec": {
            "providerID": "local:///l4-2",
            "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
        },
    }


def test_shared_gpus_are_more_of_another_resource(engine: Engine) -> None:
    mig = replace(L4_POOL, sharing=Sharing(SharingMode.MIG, 7, "1g.10gb"))
    engine.run(lambda: GpuNodePool("p", replace(POOL, gpus=mig, max_nodes=1)))
    capacity = json.loads(engine.one("Node", "p-0")["metadata"]["annotations"]["inference.platform/capacity"])
    assert capacity == {"cpu": "48", "memory": "196608Mi", "nvidia.com/mig-1g.10gb": "28", "pods": "110"}


def test_pods_tolerate_the_taint_of_the_nodes(engine: Engine) -> None:
    engine.run(lambda: GpuNodePool("p", POOL))
    (taint,) = engine.one("Node", "p-0")["spec"]["taints"]
    (toleration,) = L4_POOL.place().tolerations()
    assert (toleration.key, toleration.value, toleration.effect) == (taint["key"], taint["value"], taint["effect"])
    assert GPU_TAINT.key == taint["key"]


def test_the_system_node_has_no_taint_and_no_gpu(engine: Engine) -> None:
    engine.run(lambda: SystemNodePool("dev-system"))
    node = engine.one("Node", "dev-system-0")
    assert node["metadata"]["name"] == "system-0"
    assert node["metadata"]["labels"]["inference.platform/node-pool"] == "system"
    assert node["spec"] == {"providerID": "local:///system-0"}
    assert json.loads(node["metadata"]["annotations"]["inference.platform/capacity"]) == {
        "cpu": "32",
        "memory": "128Gi",
        "pods": "250",
    }


def test_what_controllers_write_is_left_to_them(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str] | None] = []
    original = Component.child

    def child(self: Component, *after: pulumi.Resource, **options: object) -> pulumi.ResourceOptions:
        made = original(self, *after, **options)  # type: ignore[arg-type]
        asked.append(list(made.ignore_changes or []))
        return made

    monkeypatch.setattr(Component, "child", child)
    engine.run(lambda: GpuNodePool("p", replace(POOL, max_nodes=1)))
    assert asked == [["spec.podCIDR", "spec.podCIDRs", "spec.taints", "spec.unschedulable"]]


@pytest.mark.parametrize(("least", "most"), [(2, 1), (-1, 1)])
def test_impossible_pools_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match=f"'l4': min_nodes {least} and max_nodes {most}"):
        replace(POOL, min_nodes=least, max_nodes=most)


def test_the_cluster_brings_everything(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with api_server(tmp_path) as kubeconfig:
        monkeypatch.setenv("INFERENCE_PLATFORM_KUBECONFIG", str(kubeconfig))
        cloud = load_cloud("local")
        handles: list[ClusterHandle] = []

        def program() -> None:
            handles.append(cloud.create_cluster("dev", ClusterArgs(environment="dev", gateway_host_port=8081)))
            cloud.create_node_pools("dev", [POOL], handles[0])

        engine.run(program)
    (handle,) = handles
    assert handle.provides == frozenset(Capability)
    assert handle.simulated is True
    assert handle.gateway.url == "http://127.0.0.1:8081"
    assert handle.interceptor.host == "keda-add-ons-http-interceptor-proxy.keda.svc.cluster.local"
    assert handle.external_scaler.address == "keda-add-ons-http-external-scaler.keda:9090"
    assert engine.one("providers:kubernetes", "dev-provider") == {
        # A path: neither the key nor the certificates come into the state.
        "kubeconfig": str(kubeconfig),
        "clusterIdentifier": "inference-platform-local-dev",
    }
    assert engine.components() == Counter(
        {
            ("inference-platform:local:LocalCluster", "dev"): 1,
            ("inference-platform:local:SystemNodePool", "dev-system"): 1,
            ("inference-platform:local:GpuNodePool", "dev-l4"): 1,
        }
    )


def test_each_environment_has_its_own_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INFERENCE_PLATFORM_CACHE", str(tmp_path))
    assert kubeconfig_path("dev") == tmp_path / "cluster" / "dev" / "kubeconfig"
    assert kubeconfig_path("test") != kubeconfig_path("dev")


def test_a_cluster_that_runs_is_reachable(tmp_path: Path) -> None:
    with api_server(tmp_path) as kubeconfig:
        ensure_reachable(kubeconfig)


def test_no_cluster_is_one_clear_message(tmp_path: Path) -> None:
    missing = tmp_path / "kubeconfig"
    with pytest.raises(ClusterUnreachableError, match=rf"no kubeconfig at {missing}: run `make up`"):
        ensure_reachable(missing)


def test_a_cluster_that_has_stopped_is_one_clear_message(tmp_path: Path) -> None:
    with api_server(tmp_path) as kubeconfig:
        pass
    with pytest.raises(ClusterUnreachableError, match=r"does not answer on 127\.0\.0\.1:\d+ .*refused.*`make up`"):
        ensure_reachable(kubeconfig)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "a: b",
        "clusters: []",
        "clusters: [{cluster: {server: 7}}]",
        "{",
        "\x00",
        "clusters: [{cluster: {server: 'https://x'}}]",
        "clusters: [{cluster: {server: 'https://x:99999'}}]",
    ],
)
def test_a_broken_kubeconfig_is_one_clear_message(tmp_path: Path, content: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    with pytest.raises(ClusterUnreachableError, match="`make up`"):
        ensure_reachable(file)


def test_an_unbuilt_cloud_is_refused() -> None:
    with pytest.raises(ValueError, match=f"cloud 'nowhere' is not built yet; built: {', '.join(sorted(CLOUDS))}"):
        load_cloud("nowhere")
    assert load_rules("nowhere") is None
    assert "local" in CLOUDS
