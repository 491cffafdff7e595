"""Where pods go, decided by the real scheduler: nodes that stand for each cloud's pools, and an environment's pods.

A pool's nodes are KWOK's, with the labels, taints and allocatable that the cloud's would have; its pods are rendered by
the components, with an image that nobody runs. Does not prove that a cloud's nodes really come with these labels and
resources: the sources are named where the rules are.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from lightkube import Client, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace, Node, Pod, ServiceAccount

from components.clouds import CLOUDS, load_rules
from components.clouds.local.gpu_node_pool import CAPACITY_ANNOTATION, PODS_PER_NODE, SIMULATED_NODE
from components.labels import NODE_POOL
from components.scheduling import GpuPool, on_system_nodes
from components.serving.manifests import Manifests
from local.layout import ClusterFiles
from planner.catalog import gpus, instances
from stacks.config.models import MigSharing, MpsSharing, NodePool, NoSharing, Sharing, TimeSlicing
from stacks.config.resolve import resolve_instance
from stacks.config.vocabulary import SharingMode
from stacks.node_pools import gpu_pool
from tests.local.conftest import until
from tests.unit.components.samples import CHAT, context
from tests.unit.conftest import Engine, engine

pytestmark = pytest.mark.local

__all__ = ["engine"]  # the fixture

NAMESPACE = "scheduling"
MACHINES = sorted(set(CLOUDS) - {"existing"})
SLICES = 4
NODES = 2
SCHEDULED_SECONDS = 60


def pool_of(cloud: str, name: str, accelerator: str, sharing: Sharing) -> GpuPool:
    """A pool as the configuration would make it on this cloud."""
    machine = resolve_instance(cloud, accelerator, None)
    assert machine is not None
    pool = NodePool(name=name, instance_type=machine.key, sharing=sharing, max_nodes=NODES)
    return gpu_pool(pool, load_rules(cloud))


def pools_of(cloud: str) -> list[GpuPool]:
    """One pool for each way of sharing."""
    h100 = resolve_instance(cloud, "h100", None) or resolve_instance(cloud, "h100-nvl", None)
    assert h100 is not None
    profile = next(iter(gpus()[h100.gpu].mig_profiles))
    return [
        pool_of(cloud, "whole", "t4", NoSharing(mode=SharingMode.NONE)),
        pool_of(cloud, "sliced", "t4", TimeSlicing(mode=SharingMode.TIME_SLICING, replicas=SLICES)),
        pool_of(cloud, "mps", "t4", MpsSharing(mode=SharingMode.MPS, replicas=SLICES)),
        pool_of(cloud, "mig", h100.gpu, MigSharing(mode=SharingMode.MIG, profile=profile)),
    ]


@dataclass(frozen=True)
class Board:
    """The cluster, as this test uses it."""

    client: Client
    cloud: str

    def label(self) -> dict[str, Any]:
        return {"test": self.cloud}

    def add_nodes(self, pool: GpuPool) -> None:
        taints = [{"key": item.key, "value": item.value, "effect": item.effect} for item in pool.taints]
        for index in range(NODES):
            self.add_node(f"{self.cloud}-{pool.name}-{index}", pool.node_labels("machine", "on-demand"), taints, pool)

    def add_node(self, name: str, labels: dict[str, str], taints: list[dict[str, str]], pool: GpuPool | None) -> None:
        system = {"cpu": "64", "memory": "256Gi", "pods": "250"}
        capacity = system if pool is None else pool.node_capacity(PODS_PER_NODE)
        self.client.create(
            cast(
                "Node",
                Node.from_dict(
                    {
                        "metadata": {
                            "name": name,
                            "labels": {**labels, **self.label()},
                            "annotations": {**SIMULATED_NODE, CAPACITY_ANNOTATION: json.dumps(capacity)},
                        },
                        "spec": {"taints": taints},
                    }
                ),
            )
        )

    def add_pods(self, deployment: dict[str, Any], replicas: int) -> None:
        spec = whole(copy.deepcopy(deployment))
        spec["metadata"] = {"name": f"{self.cloud}-{spec['metadata']['name']}", "namespace": NAMESPACE}
        spec["spec"]["replicas"] = replicas
        pod = spec["spec"]["template"]
        for labels in (spec["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"]):
            labels.update(self.label())
        pod["metadata"].pop("annotations", None)
        pod["spec"].update(serviceAccountName="default", nodeSelector={**pod["spec"]["nodeSelector"], **self.label()})
        for container in pod["spec"]["containers"]:
            # Nobody runs this image: KWOK plays the pod.
            container["image"] = "image.example/nobody-runs-this:1"
        self.client.create(cast("Deployment", Deployment.from_dict(spec)))

    def pods(self) -> list[Pod]:
        return list(self.client.list(Pod, namespace=NAMESPACE, labels=self.label()))

    def clear(self) -> None:
        for deployment in self.client.list(Deployment, namespace=NAMESPACE):
            assert deployment.metadata is not None
            self.client.delete(Deployment, str(deployment.metadata.name), namespace=NAMESPACE)
        until(lambda: not self.pods(), SCHEDULED_SECONDS, "no pod is left")
        for node in self.client.list(Node, labels=self.label()):
            assert node.metadata is not None
            self.client.delete(Node, str(node.metadata.name))


@pytest.fixture(params=MACHINES)
def board(request: pytest.FixtureRequest, running_cluster: ClusterFiles) -> Iterator[Board]:
    """Nodes and pods of one cloud; gone afterwards."""
    client = Client(config=KubeConfig.from_file(str(running_cluster.kubeconfig)))
    made = Board(client, request.param)
    client.apply(Namespace(metadata=ObjectMeta(name=NAMESPACE)), field_manager="test", force=True)

    def account() -> bool:
        return any(
            item.metadata and item.metadata.name == "default"
            for item in client.list(ServiceAccount, namespace=NAMESPACE)
        )

    until(account, SCHEDULED_SECONDS, "the namespace has its ServiceAccount")
    yield made
    made.clear()


def rendered(mocks: Engine, pools: list[GpuPool]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Engine Deployments by pool, and one router Deployment."""

    def build() -> None:
        stack = Manifests(context())
        for pool in pools:
            stack.deploy(replace(CHAT, name=pool.name, placement=pool.place()))

    mocks.run(build)
    engines = {pool.name: mocks.one("apps/v1:Deployment", f"{pool.name}-engine") for pool in pools}
    return engines, mocks.one("apps/v1:Deployment", f"{pools[0].name}-router")


def whole(value: Any) -> Any:
    """The mocks make every number a float; the API wants whole ones."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def pool_of_node(board: Board, name: str) -> str:
    node = board.client.get(Node, name)
    assert node.metadata is not None
    return str((node.metadata.labels or {})[NODE_POOL])


def test_every_pod_lands_on_its_pool_and_one_too_many_waits(board: Board, engine: Engine) -> None:
    """As many pods as a pool has places, and one: all but one are placed, on this pool's nodes, evenly filled."""
    pools = pools_of(board.cloud)
    engines, router = rendered(engine, pools)
    for pool in pools:
        board.add_nodes(pool)
        board.add_pods(engines[pool.name], NODES * pool.slots_per_node + 1)
    board.add_node(f"{board.cloud}-system-0", dict(on_system_nodes("1", "1Gi").node_selector), [], None)
    board.add_pods(router, 3)
    places = {pool.name: NODES * pool.slots_per_node for pool in pools} | {"system": 3}
    wanted = sum(places.values())

    def placed() -> Counter[str]:
        return Counter(pod.spec.nodeName for pod in board.pods() if pod.spec and pod.spec.nodeName)

    until(lambda: sum(placed().values()) >= wanted, SCHEDULED_SECONDS, f"{wanted} pods placed: {placed()}")
    until(lambda: len(board.pods()) == wanted + len(pools), SCHEDULED_SECONDS, "all pods are made")
    on_pools: Counter[str] = Counter()
    for pod in board.pods():
        assert pod.metadata is not None
        assert pod.spec is not None
        labels = pod.metadata.labels or {}
        own = "system" if labels["inference.platform/component"] == "router" else labels["inference.platform/model"]
        if pod.spec.nodeName:
            assert pool_of_node(board, pod.spec.nodeName) == own
            on_pools[own] += 1
        else:
            waits = [item for item in (pod.status and pod.status.conditions) or [] if item.type == "PodScheduled"]
            assert [item.reason for item in waits] == ["Unschedulable"]
    assert on_pools == places
    for pool in pools:
        counts = [count for node, count in placed().items() if f"-{pool.name}-" in node]
        assert counts == [pool.slots_per_node] * NODES


def test_slices_are_counted_as_the_catalogue_says() -> None:
    """The test above would pass with any number; these are the right ones."""
    pools = {pool.name: pool for pool in pools_of("local")}
    assert pools["whole"].slots_per_node == pools["whole"].gpus_per_node
    assert pools["sliced"].slots_per_node == SLICES * pools["sliced"].gpus_per_node
    mig = pools["mig"]
    machine = next(row for row in instances().values() if row.gpu == "h100" and row.gpus == mig.gpus_per_node)
    assert mig.slots_per_node == 7 * machine.gpus
