"""The example environments on AWS, from nothing to nothing, with the real engine over the provider double.

Proves what the program registers, in which order it comes and goes, and what a change changes. Proves nothing of what
AWS would accept beyond the SDK's types (tests/contract asks its API models), nor that anything runs: there is no
machine and no API server.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine import life
from tests.engine.cloud_stack import CloudStack
from tests.engine.conftest import StackFactory

pytestmark = pytest.mark.engine

CONTROLLERS = ("double-cluster-autoscaler-release", "double-karpenter-release")


def test_the_life_of_the_production_example(cloud_stack: StackFactory) -> None:
    environment = life.example("aws-prod")
    stack = cloud_stack("aws", environment)
    life.come_up(stack, own_process=True)
    life.say_where_it_is(stack, environment)
    environment["node_pools"][0]["max_nodes"] += 1
    life.change_one_field(stack, environment, "double-t4", "scalingConfig.maxSize")
    sizes = {"scalingConfig": {"minSize": 1, "maxSize": 2, "desiredSize": 2}}
    life.autoscale(stack, "NodeGroup", "double-h100", sizes)
    life.add_a_pool_and_a_model(stack, environment)
    stack.destroy()
    pods_before_nodes_before_cluster_before_network(stack)


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
    environment = life.example("aws-spot")
    stack = cloud_stack("aws", environment)
    life.come_up(stack)
    states = life.inputs_by_name(stack)
    assert states["double-chat-spot"]["capacityType"] == "SPOT"
    assert states["double-chat-on-demand"]["capacityType"] == "ON_DEMAND"
    spec = states["double-batch-pool"]["spec"]["template"]["spec"]
    assert spec["nodeClassRef"]["name"] == states["double-batch-class"]["metadata"]["name"] == "batch"
    pods_land_on_either_group(states)
    life.pool_named(environment, "shared")["max_nodes"] += 1
    life.change_one_field(stack, environment, "double-shared", "scalingConfig.maxSize")
    # The autoscaler has a list of the groups that it shall try first.
    life.add_a_pool_and_a_model(stack, environment, also_told=CONTROLLERS[:1], made="double-more-spot")
    life.pool_named(environment, "shared")["accelerator"] = "a10g"
    life.swap_the_machine(stack, environment, "NodeGroup", "double-shared")
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
