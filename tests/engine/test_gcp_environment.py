"""The example environments on Google Cloud, from nothing to nothing, with the real engine over the provider double.

Proves what the program registers, in which order it comes and goes, and what a change changes. Proves nothing of what
Google Cloud would accept beyond the SDK's types, nor that anything runs: there is no machine and no API server.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine import life
from tests.engine.cloud_stack import CloudStack
from tests.engine.conftest import StackFactory

pytestmark = pytest.mark.engine


def test_the_life_of_the_production_example(cloud_stack: StackFactory) -> None:
    environment = life.example("gcp-prod")
    stack = cloud_stack("gcp", environment)
    life.come_up(stack, own_process=True)
    life.say_where_it_is(stack, environment)
    environment["node_pools"][0]["max_nodes"] += 1
    life.change_one_field(stack, environment, "double-t4", "autoscaling.totalMaxNodeCount")
    life.autoscale(stack, "NodePool", "double-h100", {"nodeCount": 2})
    life.add_a_pool_and_a_model(stack, environment)
    stack.destroy()
    destroyed_in_order(stack)


def destroyed_in_order(stack: CloudStack) -> None:
    """Pods and load balancer, then what runs below them, then nodes, then cluster, then its network."""
    assert stack.deleted("ScaledObject") < stack.deleted("Namespace", "inference-double")
    assert stack.deleted("kubernetes:core/v1:Service", "gateway") < stack.deleted("Namespace", "inference-double")
    for release in ("keda", "prometheus"):
        found = [call for call in stack.world.changes() if call.operation == "delete" and release in call.name]
        assert all(stack.deleted("Namespace", "inference-double") < call.sequence for call in found)
        assert all(call.sequence < stack.deleted("NodePool", "double-system-pool") for call in found)
    assert stack.deleted("Namespace", "inference-double") < stack.deleted("NodePool", "double-h100")
    # GKE's own pods need a place until the last GPU node has gone.
    assert stack.deleted("NodePool", "double-h100") < stack.deleted("NodePool", "double-system-pool")
    assert stack.deleted("NodePool", "double-system-pool") < stack.deleted("Cluster")
    assert stack.deleted("Cluster") < stack.deleted("IAMMember")
    assert stack.deleted("Cluster") < stack.deleted("RouterNat") < stack.deleted("Router")
    assert stack.deleted("Cluster") < stack.deleted("Subnetwork") < stack.deleted("gcp:compute/network:Network")


def test_the_life_of_the_spot_example(cloud_stack: StackFactory) -> None:
    """Spot with fallback, a ComputeClass, flex-start, shared GPUs and weights in a bucket."""
    environment = life.example("gcp-spot")
    stack = cloud_stack("gcp", environment)
    life.come_up(stack)
    states = life.inputs_by_name(stack)
    assert states["double-chat-spot"]["nodeConfig"]["spot"] is True
    assert "spot" not in states["double-chat-on-demand"]["nodeConfig"]
    assert states["double-slices"]["nodeConfig"]["flexStart"] is True
    assert [rung["spot"] for rung in states["double-batch-class"]["spec"]["priorities"]] == [True, False]
    pods_of_a_compute_class_ask_for_it(states["batch-engine"]["spec"]["template"]["spec"])
    life.pool_named(environment, "shared")["max_nodes"] += 1
    life.change_one_field(stack, environment, "double-shared", "autoscaling.totalMaxNodeCount")
    life.add_a_pool_and_a_model(stack, environment, made="double-more-spot")
    life.pool_named(environment, "shared")["accelerator"] = "t4"
    environment["model_deployments"][2]["engine"]["extra_args"] = {"dtype": "half"}
    life.swap_the_machine(stack, environment, "NodePool", "double-shared")
    stack.destroy()
    assert stack.deleted("Namespace", "inference-double") < stack.deleted("ComputeClass")
    assert stack.deleted("ComputeClass") < stack.deleted("NodePool", "double-system-pool")
    assert stack.deleted("NodePool", "double-system-pool") < stack.deleted("Cluster")
    assert stack.deleted("PersistentVolume") < stack.deleted("Bucket")


def pods_of_a_compute_class_ask_for_it(pod: dict[str, Any]) -> None:
    """By its label, which is how GKE knows what to make, and tolerating the taints of what it makes."""
    assert pod["nodeSelector"] == {"cloud.google.com/compute-class": "inference-batch"}
    assert [item["key"] for item in pod["tolerations"]] == [
        "nvidia.com/gpu",
        "cloud.google.com/compute-class",
        "cloud.google.com/gke-spot",
    ]
