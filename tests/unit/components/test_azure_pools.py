"""Agent pools and node auto-provisioning: exact children and inputs, names, priorities.

Does not prove that the autoscalers act on them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.base import Component
from components.clouds.azure.agent_pools import (
    MIG_PROFILES,
    MIG_SLICES,
    PRIORITIES,
    SPOT_POOLS,
    Fixed,
    Purchase,
    agent_pool_name,
    fixed_parts,
)
from components.clouds.azure.managed_cluster import priorities_as_text
from components.cluster import NodePoolArgs
from components.scheduling import Sharing, SharingMode
from components.versions import AZURE_KUBERNETES_VERSION
from tests.unit.components.azure_samples import RESERVATION, SUBSCRIPTION, AzureEngine, azure_engine, build, pool_args

pytestmark = pytest.mark.unit

GROUP = "prod-group0a1b2c3d"
PROVIDER = f"{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"
RESOURCES = "k8s.io_cluster-autoscaler_node-template_resources_"
SPOT = "kubernetes.azure.com/scalesetpriority"


@pytest.fixture
def engine() -> Iterator[AzureEngine]:
    with azure_engine() as made:
        yield made


def agent_pool(engine: AzureEngine, args: NodePoolArgs, purchase: str = "on-demand", **settings: Any) -> dict[str, Any]:
    engine.run(lambda: build([args], settings=settings or None))
    return engine.one("AgentPool", f"prod-{args.gpus.name}-{purchase}")


def custom(engine: AzureEngine, kind: str, name: str) -> dict[str, Any]:
    (found,) = [item.inputs for item in engine.seen if item.type.endswith(f":{kind}") and item.name == name]
    return found


def test_an_on_demand_pool(engine: AzureEngine) -> None:
    found = agent_pool(engine, pool_args(zones=("1", "3"), disk_gib=512))
    name = found.pop("agentPoolName")
    assert re.fullmatch(r"h100p[a-z2-7]{6}o", name)
    assert found == {
        "resourceName": "prod",
        "resourceGroupName": GROUP,
        "mode": "User",
        "type": "VirtualMachineScaleSets",
        "osType": "Linux",
        "osSKU": "Ubuntu",
        "vmSize": "Standard_ND96isr_H100_v5",
        "orchestratorVersion": AZURE_KUBERNETES_VERSION,
        "count": 0,
        "minCount": 0,
        "maxCount": 4,
        "enableAutoScaling": True,
        "scaleDownMode": "Delete",
        "gpuProfile": {"driver": "Install"},
        "scaleSetPriority": "Regular",
        "availabilityZones": ["1", "3"],
        "osDiskSizeGB": 512,
        "osDiskType": "Managed",
        "vnetSubnetID": f"{PROVIDER}/prod-network-nodes",
        "nodeLabels": {
            "inference.platform/node-pool": "h100",
            "inference.platform/capacity-type": "on-demand",
            "nvidia.com/gpu.product": "NVIDIA-H100",
            "nvidia.com/gpu.count": "8",
            "nvidia.com/gpu.present": "true",
        },
        "nodeTaints": ["nvidia.com/gpu=present:NoSchedule"],
        "upgradeSettings": {"maxSurge": "0", "maxUnavailable": "1", "drainTimeoutInMinutes": 30},
        "tags": {"team": "ml", f"{RESOURCES}nvidia.com_gpu": "8"},
    }


def test_a_spot_pool(engine: AzureEngine) -> None:
    found = agent_pool(engine, pool_args(capacity_type="spot"), "spot")
    assert found["scaleSetPriority"] == "Spot"
    assert found["scaleSetEvictionPolicy"] == "Delete"
    assert found["spotMaxPrice"] == -1
    assert found["nodeTaints"] == ["nvidia.com/gpu=present:NoSchedule", f"{SPOT}=spot:NoSchedule"]
    assert found["nodeLabels"][SPOT] == "spot"
    assert found["nodeLabels"]["inference.platform/capacity-type"] == "spot"
    # AKS refuses surge settings on spot pools.
    assert "upgradeSettings" not in found


def test_the_price_of_spot_may_be_bounded(engine: AzureEngine) -> None:
    assert agent_pool(engine, pool_args(capacity_type="spot"), "spot", spot_max_price=31.5)["spotMaxPrice"] == 31.5


def test_spot_with_fallback_is_two_pools_that_the_same_pods_land_on(engine: AzureEngine) -> None:
    args = pool_args(capacity_type="spot-with-fallback", min_nodes=1)
    engine.run(lambda: build([args]))
    spot, regular = engine.one("AgentPool", "prod-h100-spot"), engine.one("AgentPool", "prod-h100-on-demand")
    assert len([item for item in engine.seen if item.type.endswith(":AgentPool")]) == 2
    assert (spot["minCount"], spot["maxCount"]) == (1, 4)
    assert (regular["minCount"], regular["maxCount"], regular["enableAutoScaling"]) == (0, 4, True)
    assert regular["scaleSetPriority"] == "Regular"
    tolerated = {f"{t.key}={t.value}:{t.effect}" for t in args.gpus.place().tolerations()}
    for pool in (spot, regular):
        assert set(pool["nodeTaints"]) <= tolerated
        assert args.gpus.node_selector.items() <= pool["nodeLabels"].items()
    assert regular["nodeTaints"] == ["nvidia.com/gpu=present:NoSchedule"]
    assert spot["agentPoolName"] != regular["agentPoolName"]


def test_the_autoscaler_tries_spot_first(engine: AzureEngine) -> None:
    engine.run(lambda: build([pool_args(capacity_type="spot-with-fallback")]))
    config = engine.one("ConfigMap", "prod-autoscaler-priorities")
    assert config["metadata"] == {"name": "cluster-autoscaler-priority-expander", "namespace": "kube-system"}
    priorities = yaml.safe_load(config["data"]["priorities"])
    spot, regular = (
        engine.one("AgentPool", f"prod-h100-{purchase}")["agentPoolName"] for purchase in ("spot", "on-demand")
    )
    assert best(priorities, f"aks-{spot}-12345678-vmss") == 50
    assert best(priorities, f"aks-{regular}-12345678-vmss") == 10
    assert best(priorities, "aks-system-12345678-vmss") == 10


def best(priorities: dict[int, list[str]], scale_set: str) -> int:
    """As the autoscaler's priority expander reads them: the highest that matches."""
    return max(priority for priority, patterns in priorities.items() if any(re.match(p, scale_set) for p in patterns))


def test_priorities_are_the_autoscalers_own_format() -> None:
    assert priorities_as_text({10: (".*",), 50: ("a", "b")}) == "50:\n  - a\n  - b\n10:\n  - .*\n"
    assert yaml.safe_load(priorities_as_text(PRIORITIES)) == {50: [SPOT_POOLS], 10: [".*"]}


def test_a_reserved_pool_and_the_role_that_it_needs(engine: AzureEngine) -> None:
    reserved: dict[str, Any] = {
        "capacity_type": "reserved",
        "reservation_kind": "reservation",
        "reservation_id": RESERVATION,
    }
    pools = [pool_args(**reserved), pool_args("other", **{**reserved, "reservation_id": f"{RESERVATION}-2"})]
    engine.run(lambda: build(pools))
    found = engine.one("AgentPool", "prod-h100-reserved")
    assert found["capacityReservationGroupID"] == RESERVATION
    assert found["agentPoolName"].endswith("r")
    assert found["nodeLabels"]["inference.platform/capacity-type"] == "reserved"
    # Both groups are in one resource group: one role.
    grant = engine.one("RoleAssignment", "prod-reservation-held")
    assert grant["scope"] == f"{SUBSCRIPTION}/resourceGroups/held"
    assert grant["principalId"] == "principal"
    assert len([item for item in engine.seen if item.name.startswith("prod-reservation")]) == 1


def test_a_mig_pool_has_a_fixed_number_of_nodes(engine: AzureEngine) -> None:
    mig = Sharing(SharingMode.MIG, 7, "1g.10gb")
    found = agent_pool(engine, pool_args(sharing=mig, min_nodes=2, max_nodes=2))
    assert found["gpuInstanceProfile"] == "MIG1g"
    assert (found["count"], found["enableAutoScaling"]) == (2, False)
    assert "minCount" not in found
    assert "maxCount" not in found
    assert found["tags"] == {"team": "ml"}


def test_every_default_slice_of_a_gpu_has_a_profile_at_azure() -> None:
    for profiles in MIG_PROFILES.values():
        assert [MIG_SLICES[profile.split(".")[0]] for profile in profiles] == list(MIG_SLICES.values())


@pytest.mark.parametrize("mode", [SharingMode.TIME_SLICING, SharingMode.MPS])
def test_the_autoscaler_is_told_of_shared_gpus(engine: AzureEngine, mode: SharingMode) -> None:
    found = agent_pool(engine, pool_args(sharing=Sharing(mode, 4)))
    assert found["tags"][f"{RESOURCES}nvidia.com_gpu.shared"] == "32"
    # By which the device plugin knows how to share the GPUs of these nodes.
    assert found["nodeLabels"]["nvidia.com/device-plugin.config"] == f"{mode}-4"
    assert "gpuInstanceProfile" not in found


def test_the_number_of_nodes_is_the_autoscalers(engine: AzureEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    ignored: list[list[str]] = []
    original = Component.child

    def child(self: Component, *after: pulumi.Resource, **options: Any) -> pulumi.ResourceOptions:
        made = original(self, *after, **options)
        if type(self).__name__ == "GpuNodePool":
            ignored.append(list(made.ignore_changes or []))
        return made

    monkeypatch.setattr(Component, "child", child)
    fallback = pool_args("fallback", capacity_type="spot-with-fallback", min_nodes=2, max_nodes=2)
    engine.run(lambda: build([pool_args(), pool_args("fixed", min_nodes=2, max_nodes=2), fallback]))
    assert ignored == [["count"], [], ["count"], ["count"]]
    assert engine.one("AgentPool", "prod-fixed-on-demand")["count"] == 2
    assert engine.one("AgentPool", "prod-fallback-spot")["enableAutoScaling"] is True


def test_settings_of_gpu_nodes(engine: AzureEngine) -> None:
    found = agent_pool(engine, pool_args(), os="azure-linux", install_gpu_driver=False, encryption_at_host=True)
    assert found["osSKU"] == "AzureLinux"
    assert found["gpuProfile"] == {"driver": "None"}
    assert found["enableEncryptionAtHost"] is True


def test_node_auto_provisioning(engine: AzureEngine) -> None:
    args = pool_args(provisioner="auto", capacity_type="spot-with-fallback", zones=("2",), disk_gib=300)
    engine.run(lambda: build([args]))
    assert not [item for item in engine.seen if item.type.endswith(":AgentPool")]
    node_class = custom(engine, "AKSNodeClass", "prod-h100-class")
    assert node_class["apiVersion"] == "karpenter.azure.com/v1beta1"
    assert node_class["metadata"] == {"name": "h100"}
    assert node_class["spec"] == {"imageFamily": "Ubuntu", "osDiskSizeGB": 300, "tags": {"team": "ml"}}
    pool = custom(engine, "NodePool", "prod-h100-pool")
    assert (pool["apiVersion"], pool["metadata"]) == ("karpenter.sh/v1", {"name": "h100"})
    assert pool["spec"] == {
        "template": {
            "metadata": {
                "labels": {
                    "inference.platform/node-pool": "h100",
                    "inference.platform/capacity-type": "spot-with-fallback",
                    "nvidia.com/gpu.product": "NVIDIA-H100",
                    "nvidia.com/gpu.count": "8",
                    "nvidia.com/gpu.present": "true",
                }
            },
            "spec": {
                "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": "h100"},
                "expireAfter": "Never",
                "requirements": [
                    {
                        "key": "node.kubernetes.io/instance-type",
                        "operator": "In",
                        "values": ["Standard_ND96isr_H100_v5"],
                    },
                    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "on-demand"]},
                    {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                    {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                    {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["eastus-2"]},
                ],
                "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
            },
        },
        "limits": {"nvidia.com/gpu": "32"},
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "5m"},
    }


def test_with_node_auto_provisioning_no_autoscaler_is_left(engine: AzureEngine) -> None:
    fixed = pool_args("fixed", min_nodes=1, max_nodes=1)
    engine.run(lambda: build([pool_args(provisioner="auto"), fixed]))
    cluster = engine.one("ManagedCluster", "prod-cluster")
    assert cluster["nodeProvisioningProfile"] == {"mode": "Auto", "defaultNodePools": "None"}
    (system,) = cluster["agentPoolProfiles"]
    assert (system["count"], system["enableAutoScaling"]) == (2, False)
    assert "maxCount" not in system
    assert engine.one("AgentPool", "prod-fixed-on-demand")["enableAutoScaling"] is False
    assert not [item for item in engine.seen if item.type.endswith(":ConfigMap")]
    # What the fixed system pool cannot take comes beside it.
    more = custom(engine, "NodePool", "prod-system-pool")["spec"]
    assert more["limits"] == {"nodes": "4"}
    assert more["template"]["metadata"]["labels"] == {"inference.platform/node-pool": "system"}
    assert "taints" not in more["template"]["spec"]


def test_node_auto_provisioning_takes_the_settings_of_gpu_nodes(engine: AzureEngine) -> None:
    settings = {"os": "azure-linux", "encryption_at_host": True, "install_gpu_driver": False}
    engine.run(lambda: build([pool_args(provisioner="auto", tags={})], settings=settings, tags={}))
    assert custom(engine, "AKSNodeClass", "prod-h100-class")["spec"] == {
        "imageFamily": "AzureLinux",
        "osDiskSizeGB": 200,
        "security": {"encryptionAtHost": True},
        "gpu": {"mode": "None"},
    }


@pytest.mark.parametrize(("capacity_type", "values"), [("on-demand", ["on-demand"]), ("spot", ["spot"])])
def test_capacity_of_node_auto_provisioning(engine: AzureEngine, capacity_type: str, values: list[str]) -> None:
    engine.run(lambda: build([pool_args(provisioner="auto", capacity_type=capacity_type)]))
    spec = custom(engine, "NodePool", "prod-h100-pool")["spec"]["template"]["spec"]
    (found,) = [item["values"] for item in spec["requirements"] if item["key"] == "karpenter.sh/capacity-type"]
    assert found == values
    # Pods of a spot pool tolerate what AKS would put on agent pools; here nothing puts it.
    assert spec["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)


@given(NAMES, NAMES, st.sampled_from(list(Purchase)))
def test_names_are_azures_and_of_one_pool_only(one: str, other: str, purchase: Purchase) -> None:
    first = Fixed(pool=one, vm_size="Standard_ND96isr_H100_v5", purchase=purchase)
    name = agent_pool_name(first)
    assert re.fullmatch(r"[a-z][a-z0-9]{11}", name)
    assert name == agent_pool_name(replace(first))
    assert name != "system"
    assert (agent_pool_name(replace(first, pool=other)) == name) == (one == other)
    assert bool(re.match(SPOT_POOLS, f"aks-{name}-1-vmss")) == (purchase is Purchase.SPOT)


@pytest.mark.parametrize(
    "change",
    [
        {"vm_size": "Standard_NC4as_T4_v3"},
        {"purchase": Purchase.SPOT},
        {"gpu_instance_profile": "MIG1g"},
        {"disk_gib": 201},
        {"os": "azure-linux"},
        {"zones": ("1",)},
        {"reservation_id": RESERVATION},
        {"options": {"encryption_at_host": True}},
    ],
)
def test_what_cannot_be_changed_in_place_changes_the_name(change: dict[str, Any]) -> None:
    """So that the new pool can be made before the old one goes: two pools of one name cannot be."""
    pool = Fixed(pool="h100", vm_size="Standard_ND96isr_H100_v5", purchase=Purchase.ON_DEMAND)
    assert agent_pool_name(replace(pool, **change)) != agent_pool_name(pool)


def test_the_order_of_zones_is_no_change() -> None:
    wanted = {
        "name": "h100",
        "vm_size": "Standard_ND96isr_H100_v5",
        "capacity_type": "spot-with-fallback",
        "mig_profile": "",
        "disk_gib": 200,
        "reservation_id": "",
        "settings": None,
    }
    one, other = (fixed_parts(**wanted, zones=zones) for zones in (("1", "2"), ("2", "1", "1")))  # type: ignore[arg-type]
    assert one == other
    assert [part.purchase for part in one] == [Purchase.SPOT, Purchase.ON_DEMAND]
