"""Environments on Azure through their whole life: the real engine and SDK over the provider double.

Proves what is registered under which parent, that a second preview proposes nothing, what a change changes, and the
order in which things are made and taken away. The double takes the place of Azure and of the cluster: that these
accept the inputs is for the contract tests, and that pods run for the local tests.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine import life
from tests.engine.cloud_stack import CloudStack
from tests.engine.conftest import StackFactory
from tests.engine.life import example, pool_named

pytestmark = pytest.mark.engine

TOLD_OF_TAINTS = ("double-accelerators-device-plugin", "double-accelerators-dcgm-exporter")
"""DaemonSets of the accelerators tolerate the taint that spot nodes have."""


def test_the_life_of_the_production_example(cloud_stack: StackFactory) -> None:
    environment = example("azure-prod")
    stack = cloud_stack("azure", environment)
    planned = life.come_up(stack, own_process=True)
    assert_parents(planned.steps)
    life.say_where_it_is(stack, environment)
    pool_named(environment, "t4")["max_nodes"] = 6
    life.change_one_field(stack, environment, "double-t4-on-demand", "maxCount")
    life.autoscale(stack, "AgentPool", "double-t4-on-demand", {"count": 3})
    life.add_a_pool_and_a_model(stack, environment, made="double-more-on-demand")
    # Azure cannot change a pool's machine; the new pool has another name, so both can be there.
    pool_named(environment, "t4")["instance_type"] = "Standard_NC8as_T4_v3"
    pool_named(environment, "t4").pop("accelerator")
    life.swap_the_machine(stack, environment, "AgentPool", "double-t4-on-demand")
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


def assert_order_of_destroy(stack: CloudStack) -> None:
    """Workloads go before nodes, nodes before the cluster, the cluster before what it stands on."""
    gone = stack.deleted
    first_pool = min(gone("AgentPool", name) for name in ("double-h100-on-demand", "double-more-on-demand"))
    assert gone("ScaledObject") < gone("Release") < first_pool
    # The gateway's load balancer is Azure's: it goes while the cluster is there to take it away.
    assert gone("Service") < gone("Namespace", "inference-double") < first_pool
    assert gone("AgentPool") < gone("ManagedCluster")
    assert gone("ConfigMap", "double-autoscaler-priorities") < gone("ManagedCluster")
    for under in ("RoleAssignment", "Key", "Vault", "UserAssignedIdentity", "Subnet", "VirtualNetwork"):
        assert gone("ManagedCluster") < gone(under), under
    assert gone("VirtualNetwork") < gone("ResourceGroup")


def test_the_life_of_the_spot_example(cloud_stack: StackFactory) -> None:
    """Spot, fallback, shared and split GPUs."""
    environment = example("azure-spot")
    stack = cloud_stack("azure", environment)
    planned = life.come_up(stack)
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
    pool_named(environment, "shared")["max_nodes"] += 1
    life.change_one_field(stack, environment, "double-shared-spot", "maxCount")
    life.autoscale(stack, "AgentPool", "double-shared-spot", {"count": 2})
    life.add_a_pool_and_a_model(stack, environment, also_told=TOLD_OF_TAINTS, made="double-more-spot")
    stack.destroy()
    gone = stack.deleted
    assert gone("ScaledObject") < gone("Namespace", "inference-double") < gone("AgentPool", "double-more-spot")
    assert gone("AgentPool") < gone("ManagedCluster") < gone("VirtualNetwork") < gone("ResourceGroup")


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
