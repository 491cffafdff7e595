"""The example environments on Google Cloud, from nothing to nothing, with the real engine over the provider double.

Proves what the program registers, in which order it comes and goes, and what a change changes. Proves nothing of what
Google Cloud would accept beyond the SDK's types, nor that anything runs: there is no machine and no API server.
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


def example(name: str) -> dict[str, Any]:
    """The environment of an example at the root."""
    document = yaml.safe_load(Path(REPOSITORY / f"Pulumi.{name}.yaml").read_text())
    environment: dict[str, Any] = document["config"]["inference-platform:environment"]
    return environment


def test_the_life_of_the_production_example(cloud_stack: StackFactory) -> None:
    environment = example("gcp-prod")
    stack = cloud_stack("gcp", environment)
    first = stack.preview()
    assert first.operations.keys() == {"create"}
    # Whose account it is does not matter to a preview: nothing is looked up.
    assert [step["urn"] for step in first.steps if step["op"] == "read"] == []
    stack.up()
    stack.preview_no_changes()
    stack.refresh()
    stack.preview_no_changes()
    change_one_field(stack, environment)
    add_a_pool_and_a_model(stack, environment)
    the_autoscaler_may_scale(stack)
    stack.destroy()
    destroyed_in_order(stack)


def change_one_field(stack: CloudStack, environment: dict[str, Any]) -> None:
    """More nodes are one number on one resource."""
    environment["node_pools"][0]["max_nodes"] += 1
    stack.configure(environment)
    changed = stack.preview()
    assert changed.operations == {"update": ["double-t4"]}
    assert changed.diff("double-t4") == {"autoscaling.totalMaxNodeCount"}
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
    # The gateway's table of models and the rules about them learn of the new one; nothing else may change.
    rules = {"monitoring-cost-rules", "monitoring-slo-rules", "monitoring-faults-rules"}
    assert set(changed.get("update", [])) <= {"gateway", "gateway-config", *rules}
    stack.up()
    stack.preview_no_changes()


def the_autoscaler_may_scale(stack: CloudStack) -> None:
    """What it counts is not put back."""
    stack.world.drift("NodePool", "double-h100", {"nodeCount": 2})
    stack.refresh()
    stack.preview_no_changes()


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
    """Spot with fallback, a ComputeClass, flex-start and shared GPUs."""
    environment = example("gcp-spot")
    stack = cloud_stack("gcp", environment)
    stack.up()
    stack.preview_no_changes()
    states = {state["urn"].rsplit("::", 1)[1]: state["inputs"] for state in stack.resources() if "inputs" in state}
    assert states["double-chat-spot"]["nodeConfig"]["spot"] is True
    assert "spot" not in states["double-chat-on-demand"]["nodeConfig"]
    assert states["double-slices"]["nodeConfig"]["flexStart"] is True
    assert [rung["spot"] for rung in states["double-batch-class"]["spec"]["priorities"]] == [True, False]
    pods_of_a_compute_class_ask_for_it(states["batch-engine"]["spec"]["template"]["spec"])
    another_gpu_makes_a_new_pool_before_the_old_one_goes(stack, environment)
    stack.destroy()
    assert stack.deleted("Namespace", "inference-double") < stack.deleted("ComputeClass")
    assert stack.deleted("ComputeClass") < stack.deleted("NodePool", "double-system-pool")
    assert stack.deleted("NodePool", "double-system-pool") < stack.deleted("Cluster")


def pods_of_a_compute_class_ask_for_it(pod: dict[str, Any]) -> None:
    """By its label, which is how GKE knows what to make, and tolerating the taints of what it makes."""
    assert pod["nodeSelector"] == {"cloud.google.com/compute-class": "inference-batch"}
    assert [item["key"] for item in pod["tolerations"]] == [
        "nvidia.com/gpu",
        "cloud.google.com/compute-class",
        "cloud.google.com/gke-spot",
    ]


def another_gpu_makes_a_new_pool_before_the_old_one_goes(stack: CloudStack, environment: dict[str, Any]) -> None:
    """A node pool's machines cannot be changed; its pods move to the new one."""
    environment["node_pools"][2]["accelerator"] = "t4"
    environment["model_deployments"][2]["engine"]["extra_args"] = {"dtype": "half"}
    stack.configure(environment)
    assert stack.preview().operations["replace"] == ["double-shared"]
    before = len(stack.calls)
    stack.up()
    of_pool = [call for call in stack.world.changes() if call.name == "double-shared" and call.sequence >= before]
    assert [call.operation for call in of_pool] == ["create", "delete"]
