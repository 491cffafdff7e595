"""The example environments on AWS, from nothing to nothing, with the real engine over the provider double.

Proves what the program registers, in which order it comes and goes, and what a change changes. Proves nothing of what
AWS would accept beyond the SDK's types (tests/contract asks its API models), nor that anything runs: there is no
machine and no API server.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.layout import REPOSITORY
from tests.engine.cloud_stack import CloudStack
from tests.engine.conftest import StackFactory

pytestmark = pytest.mark.engine

CONTROLLERS = ("double-cluster-autoscaler-release", "double-karpenter-release")


def example(name: str) -> dict[str, Any]:
    """The environment of an example at the root."""
    document = yaml.safe_load(Path(REPOSITORY / f"Pulumi.{name}.yaml").read_text())
    environment: dict[str, Any] = document["config"]["inference-platform:environment"]
    return environment


def test_the_life_of_the_production_example(cloud_stack: StackFactory) -> None:
    environment = example("aws-prod")
    stack = cloud_stack("aws", environment)
    first = stack.preview()
    assert first.operations.keys() == {"create"}
    # Nothing is looked up: a preview is the same for every account.
    assert [step["urn"] for step in first.steps if step["op"] == "read"] == []
    stack.up()
    stack.preview_no_changes()
    stack.refresh()
    stack.preview_no_changes()
    assert stack.outputs()["url"].startswith("http://")
    change_one_field(stack, environment)
    add_a_pool_and_a_model(stack, environment)
    the_autoscaler_may_scale(stack)
    stack.destroy()
    pods_before_nodes_before_cluster_before_network(stack)


def change_one_field(stack: CloudStack, environment: dict[str, Any]) -> None:
    """More nodes are one number on one resource."""
    environment["node_pools"][0]["max_nodes"] += 1
    stack.configure(environment)
    changed = stack.preview()
    assert changed.operations == {"update": ["double-t4"]}
    assert changed.diff("double-t4") == {"scalingConfig.maxSize"}
    stack.up()
    stack.preview_no_changes()


def add_a_pool_and_a_model(stack: CloudStack, environment: dict[str, Any]) -> None:
    """Nothing that is there is replaced, and only what lists the models is updated."""
    environment["node_pools"].append({"name": "l4", "accelerator": "l4", "max_nodes": 2})
    added = copy.deepcopy(environment["model_deployments"][0])
    environment["model_deployments"].append({**added, "name": "added", "node_pool": "l4"})
    stack.configure(environment)
    changed = stack.preview().operations
    assert set(changed) <= {"create", "update"}
    assert "double-l4" in changed["create"]
    rules = {"monitoring-cost-rules", "monitoring-slo-rules", "monitoring-faults-rules"}
    assert set(changed.get("update", [])) <= {"gateway", "gateway-config", *rules}
    stack.up()
    stack.preview_no_changes()


def the_autoscaler_may_scale(stack: CloudStack) -> None:
    """What it counts is not put back."""
    stack.world.drift("NodeGroup", "double-h100", {"scalingConfig": {"minSize": 1, "maxSize": 2, "desiredSize": 2}})
    stack.refresh()
    stack.preview_no_changes()


def pods_before_nodes_before_cluster_before_network(stack: CloudStack) -> None:
    """Workloads and load balancer, then what runs below them, then nodes, add-ons, cluster, network."""
    deleted = stack.deleted
    namespace = deleted("Namespace", "inference-double")
    assert deleted("ScaledObject") < namespace
    assert deleted("kubernetes:core/v1:Service", "gateway") < namespace
    assert namespace < deleted("NodeGroup", "double-h100")
    objects = [
        call.sequence
        for call in stack.world.changes()
        if call.operation == "delete" and call.type.startswith("kubernetes:")
    ]
    # Volumes, load balancers and releases: all end while there are nodes, drivers and identities to end them with.
    for addon in ("coredns", "ebs-aws-ebs-csi-driver", "eks-node-monitoring-agent"):
        assert max(objects) < deleted("Addon", f"double-addons-{addon}")
        assert deleted("Addon", f"double-addons-{addon}") < deleted("NodeGroup", "double-system")
    assert deleted("NodeGroup", "double-system") < deleted("Addon", "double-node-addons-vpc-cni")
    assert deleted("Addon") < deleted("aws:eks/cluster:Cluster")
    assert deleted("NodeGroup") < deleted("Route", "double-network-private-a-internet")
    assert deleted("aws:eks/cluster:Cluster") < deleted("LogGroup")
    assert deleted("aws:eks/cluster:Cluster") < deleted("Subnet") < deleted("Vpc")
    assert deleted("NatGateway") < deleted("Route", "double-network-public-internet")


def test_the_life_of_the_spot_example(cloud_stack: StackFactory) -> None:
    """Spot with fallback, Karpenter, shared GPUs and MIG."""
    environment = example("aws-spot")
    stack = cloud_stack("aws", environment)
    stack.up()
    stack.preview_no_changes()
    states = {state["urn"].rsplit("::", 1)[1]: state["inputs"] for state in stack.resources() if "inputs" in state}
    assert states["double-chat-spot"]["capacityType"] == "SPOT"
    assert states["double-chat-on-demand"]["capacityType"] == "ON_DEMAND"
    spec = states["double-batch-pool"]["spec"]["template"]["spec"]
    assert spec["nodeClassRef"]["name"] == states["double-batch-class"]["metadata"]["name"] == "batch"
    pods_land_on_either_group(states)
    another_gpu_makes_a_new_group_before_the_old_one_goes(stack, environment)
    stack.destroy()
    karpenter_goes_after_what_it_made(stack)


def pods_land_on_either_group(states: dict[str, Any]) -> None:
    """Spot and on-demand carry the same labels and taints, which are those that the engine's pods ask for."""
    spot, demand = states["double-chat-spot"], states["double-chat-on-demand"]
    assert spot["labels"] == demand["labels"]
    assert spot["taints"] == demand["taints"]
    pod = states["chat-engine"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"].items() <= spot["labels"].items()
    assert [item["key"] for item in pod["tolerations"]] == [taint["key"] for taint in spot["taints"]]


def another_gpu_makes_a_new_group_before_the_old_one_goes(stack: CloudStack, environment: dict[str, Any]) -> None:
    """A node group's machines cannot be changed; its pods move to the new one."""
    environment["node_pools"][2]["accelerator"] = "a10g"
    stack.configure(environment)
    assert stack.preview().operations["replace"] == ["double-shared"]
    before = len(stack.calls)
    stack.up()
    of_pool = [
        call.operation
        for call in stack.world.changes()
        if call.sequence >= before and call.type.endswith("NodeGroup") and call.name == "double-shared"
    ]
    assert of_pool == ["create", "delete"]


def karpenter_goes_after_what_it_made(stack: CloudStack) -> None:
    """NodePool, then class (whose finalizer waits for the machines), then controller, then its rights."""
    deleted = stack.deleted
    assert deleted("Namespace", "inference-double") < deleted("NodePool")
    assert deleted("NodePool") < deleted("EC2NodeClass")
    assert deleted("EC2NodeClass") < deleted("Release", "double-karpenter-release")
    assert deleted("Release", "double-karpenter-release") < deleted("Release", "double-karpenter-definitions")
    for type_ in ("Queue", "InstanceProfile", "AccessEntry", "RolePolicy"):
        assert deleted("Release", "double-karpenter-release") < deleted(type_)
    for controller in CONTROLLERS:
        assert deleted("Release", controller) < deleted("NodeGroup", "double-system")
