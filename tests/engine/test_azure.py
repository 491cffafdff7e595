"""Environments on Azure through their whole life: the real engine and SDK over the provider double.

Proves what is registered under which parent, that a second preview proposes nothing, what a change changes, and the
order in which things are made and taken away. The double takes the place of Azure and of the cluster: that these
accept the inputs is for the contract tests, and that pods run for the local tests.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from local.layout import REPOSITORY
from tests.engine.cloud_stack import CloudStack
from tests.engine.conftest import StackFactory

pytestmark = pytest.mark.engine

EXAMPLES = ("azure-prod", "azure-spot")


def example(name: str) -> dict[str, Any]:
    """The environment of one of the repository's own stack files."""
    document = yaml.safe_load((REPOSITORY / f"Pulumi.{name}.yaml").read_text())
    environment: dict[str, Any] = document["config"]["inference-platform:environment"]
    return environment


def pool_named(environment: dict[str, Any], name: str) -> dict[str, Any]:
    """A node pool of an environment."""
    found: dict[str, Any] = next(pool for pool in environment["node_pools"] if pool["name"] == name)
    return found


def test_the_production_example_through_its_whole_life(cloud_stack: StackFactory) -> None:
    """One stack, since each command takes seconds: up, no change, refresh, changes, destroy."""
    environment = example("azure-prod")
    stack = cloud_stack("azure", environment)
    planned = stack.preview()
    assert set(planned.operations) == {"create"}
    assert_parents(planned.steps)

    stack.up()
    stack.preview_no_changes()
    assert stack.refresh() == []
    assert_outputs(stack)

    assert_one_field_changes_one_pool(stack, environment)
    assert_a_pool_and_a_model_more_touch_nothing_else(stack, environment)
    assert_another_machine_comes_before_the_old_one_goes(stack, environment)

    stack.destroy()
    assert_order_of_destroy(stack)


def assert_parents(steps: list[dict[str, Any]]) -> None:
    """Every resource of Azure hangs below a component of this package."""
    states = [step["newState"] for step in steps]
    azure = [state for state in states if state["type"].startswith("azure-native:")]
    assert len(azure) > 10
    assert all("inference-platform:azure:" in state["parent"] for state in azure)
    (cluster,) = [state for state in azure if state["type"].endswith(":ManagedCluster")]
    assert cluster["parent"].endswith("inference-platform:azure:AzureCluster::double")


def assert_outputs(stack: CloudStack) -> None:
    outputs = stack.outputs()
    kubeconfig = yaml.safe_load(outputs["kubeconfig"])
    assert kubeconfig["clusters"][0]["cluster"]["server"].startswith("https://")
    assert outputs["models"] == ["small", "large"]
    # In the state and in what the engine prints it is a secret.
    shown = stack.run("stack", "output").stdout
    assert "[secret]" in shown
    assert "client" not in shown


def assert_one_field_changes_one_pool(stack: CloudStack, environment: dict[str, Any]) -> None:
    pool_named(environment, "t4")["max_nodes"] = 6
    stack.configure(environment)
    preview = stack.preview()
    assert preview.operations == {"update": ["double-t4-on-demand"]}
    assert preview.diff("double-t4-on-demand") == {"maxCount"}
    # What the autoscaler did in the meantime is left as it is.
    stack.world.drift("AgentPool", "double-t4-on-demand", {"count": 3})
    stack.up()
    stack.refresh()
    stack.preview_no_changes()


def assert_a_pool_and_a_model_more_touch_nothing_else(stack: CloudStack, environment: dict[str, Any]) -> None:
    spare = {"name": "spare", "accelerator": "a100-80", "capacity_type": "spot-with-fallback", "max_nodes": 2}
    model = copy.deepcopy(environment["model_deployments"][0])
    environment["node_pools"].append(spare)
    environment["model_deployments"].append({**model, "name": "more", "node_pool": "spare"})
    stack.configure(environment)
    operations = stack.preview().operations
    made = set(operations["create"])
    assert {"double-spare", "double-spare-spot", "double-spare-on-demand"} <= made
    assert all("spare" in name or "more" in name for name in made), made
    # The gateway and the alerts learn a model; the DaemonSets of the accelerators learn the taint of spot nodes.
    assert set(operations) == {"create", "update"}
    assert set(operations["update"]) <= TOLD_OF_MODELS | TOLD_OF_TAINTS
    stack.up()
    stack.preview_no_changes()


TOLD_OF_MODELS = {"gateway-config", "gateway", *(f"monitoring-{part}-rules" for part in ("cost", "faults", "slo"))}
TOLD_OF_TAINTS = {"double-accelerators-device-plugin", "double-accelerators-dcgm-exporter"}


def assert_another_machine_comes_before_the_old_one_goes(stack: CloudStack, environment: dict[str, Any]) -> None:
    """Azure cannot change a pool's machine; the new pool has another name, so both can be there."""
    name = "double-t4-on-demand"
    pool_named(environment, "t4")["instance_type"] = "Standard_NC8as_T4_v3"
    pool_named(environment, "t4").pop("accelerator")
    stack.configure(environment)
    before = len(stack.calls)
    stack.up()
    calls = [call for call in stack.world.changes() if call.sequence >= before and call.name == name]
    assert [call.operation for call in calls] == ["create", "delete"]
    stack.preview_no_changes()


def assert_order_of_destroy(stack: CloudStack) -> None:
    """Workloads go before nodes, nodes before the cluster, the cluster before what it stands on."""
    gone = stack.deleted
    first_pool = min(gone("AgentPool", name) for name in ("double-h100-on-demand", "double-spare-spot"))
    assert gone("ScaledObject") < gone("Release") < first_pool
    # The gateway's load balancer is Azure's: it goes while the cluster is there to take it away.
    assert gone("Service") < gone("Namespace", "inference-double") < first_pool
    assert gone("AgentPool") < gone("ManagedCluster")
    assert gone("ConfigMap", "double-autoscaler-priorities") < gone("ManagedCluster")
    for under in ("RoleAssignment", "Key", "Vault", "UserAssignedIdentity", "Subnet", "VirtualNetwork"):
        assert gone("ManagedCluster") < gone(under), under
    assert gone("VirtualNetwork") < gone("ResourceGroup")


def test_the_spot_example_through_its_whole_life(cloud_stack: StackFactory) -> None:
    """Spot, fallback, shared and split GPUs."""
    stack = cloud_stack("azure", example("azure-spot"))
    planned = stack.preview()
    pools = {state["urn"].rsplit("::", 1)[1]: state["inputs"] for state in planned.of("AgentPool")}
    assert {name: inputs["scaleSetPriority"] for name, inputs in pools.items()} == {
        "double-chat-spot": "Spot",
        "double-chat-on-demand": "Regular",
        "double-batch-spot": "Spot",
        "double-shared-spot": "Spot",
        "double-slices-on-demand": "Regular",
    }
    assert pools["double-slices-on-demand"]["gpuInstanceProfile"] == "MIG1g"
    assert len({inputs["agentPoolName"] for inputs in pools.values()}) == 5
    stack.up()
    stack.preview_no_changes()
    assert stack.refresh() == []
    stack.destroy()


def test_everything_else_that_can_be_asked_for(cloud_stack: StackFactory) -> None:
    """Private, encrypted, with node auto-provisioning, a reservation's fixed pool and weights in a bucket."""
    environment = example("azure-prod")
    group = "/subscriptions/s/resourceGroups/held/providers/Microsoft.Compute/capacityReservationGroups/h100"
    held = pool_named(environment, "h100")
    held |= {
        "capacity_type": "reserved",
        "reservation": {"kind": "reservation", "id": group},
        "min_nodes": 2,
    }
    pool_named(environment, "t4")["provisioner"] = "auto"
    environment["cluster"] |= {"private_endpoint": True}
    environment["weights"] = {"store": "object-store"}
    environment["azure"] |= {"outbound": "nat-gateway", "azure_rbac": True, "local_accounts": False}
    stack = cloud_stack("azure", environment)
    stack.up()
    stack.preview_no_changes()
    stack.destroy()
    gone = stack.deleted
    # Karpenter takes its nodes away when its pool goes: the pool before its class, both before the cluster.
    assert gone("NodePool", "double-t4-pool") < gone("AKSNodeClass", "double-t4-class") < gone("ManagedCluster")
    assert gone("AgentPool") < gone("RoleAssignment", "double-reservation-held")
    assert gone("PersistentVolume") < gone("BlobContainer")


def test_a_protected_cluster_stays(cloud_stack: StackFactory) -> None:
    """And what it stands on; taking the protection back is enough. The double does not know that a lock holds pools."""
    environment = example("azure-prod")
    environment["cluster"]["deletion_protection"] = True
    stack = cloud_stack("azure", environment)
    stack.up()
    result = stack.run("destroy", "--yes", "--skip-preview", check=False)
    assert result.returncode != 0
    assert "protect" in result.stdout + result.stderr
    for kept in ("ManagedCluster", "Subnet", "VirtualNetwork", "Key", "Vault", "UserAssignedIdentity", "ResourceGroup"):
        assert stack.world.find(kept), kept
    # The lock is there as long as there are pools, which it keeps at a real Azure.
    assert stack.deleted("AgentPool") < stack.deleted("ManagementLockByScope")

    environment["cluster"]["deletion_protection"] = False
    stack.configure(environment)
    stack.up()
    stack.destroy()


def test_a_failed_pool_is_made_by_the_next_up(cloud_stack: StackFactory) -> None:
    """No quota for one machine: the rest stands, and nothing is made twice."""
    stack = cloud_stack("azure", example("azure-prod"))
    stack.fail("create", "AgentPool", "double-h100-on-demand", message="QuotaExceeded: standardNDSH100v5Family")
    assert "QuotaExceeded" in stack.up_fails()
    clusters = len(stack.world.find("ManagedCluster"))
    stack.up()
    assert len(stack.world.find("ManagedCluster")) == clusters == 1
    stack.preview_no_changes()
    stack.destroy()
