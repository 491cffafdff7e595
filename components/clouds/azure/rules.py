"""What Azure says about a configuration: what AKS cannot do, and why. Needs no SDK.

Facts: MicrosoftDocs/azure-aks-docs@fb060abe (articles/aks, 2026-08) and Azure/karpenter-provider-azure@352646f.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final

from components.clouds.azure.agent_pools import MIG_PROFILES, SPOT_TAINT, agent_pool_name, fixed_parts
from components.clouds.azure.settings import AzureSettings, OperatingSystem, SystemPool
from components.clouds.rules import (
    CloudRules,
    CloudSettings,
    EnvironmentWish,
    Objection,
    PoolWish,
    TaintFacts,
    too_small_for_the_models,
)

ZONES: Final = ("1", "2", "3")

LARGEST_OS_DISK_GIB: Final = 2048
"""osDiskSizeGB of an agent pool (Azure REST API, container service)."""

ADDRESSES_PER_NODE: Final = 256
"""The overlay gives each node a /24 of the pods' network (concepts-network-azure-cni-overlay.md)."""

CAPACITY_RESERVATION_GROUP: Final = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Compute/capacityReservationGroups/[^/]+",
    re.IGNORECASE,
)

SPOT: Final = frozenset({"spot", "spot-with-fallback"})

NETWORKS: Final = ("vnet_cidr", "pod_cidr", "service_cidr")


class AzureRules:
    """What AKS can and cannot do."""

    settings: type[CloudSettings] | None = AzureSettings
    default_region = "eastus"
    installs = True
    spot_grace_seconds: int | None = 30
    """Azure's Preempt event. AKS drains the node, as well as it can (AKS: node auto-drain)."""

    def gpu_resource(self, pool: PoolWish) -> str:
        """Names of the device plugin that we install: AKS brings only the driver."""
        return ""

    def extra_taints(self, pool: PoolWish) -> Sequence[TaintFacts]:
        """AKS taints spot agent pools; node auto-provisioning taints nothing by itself."""
        if pool.capacity_type in SPOT and pool.provisioner == "node-group":
            return (TaintFacts(*SPOT_TAINT),)
        return ()

    def check_pool(self, pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
        """What of a pool AKS cannot do."""
        yield from _check_reservation(pool)
        yield from _check_mig(pool, environment)
        yield from _check_auto(pool)
        yield from _check_two_autoscalers(pool, environment)
        yield from _check_machine(pool)

    def check_environment(self, environment: EnvironmentWish) -> Iterator[Objection]:
        """What of the environment AKS cannot do."""
        if environment.region and not re.fullmatch(r"[a-z0-9]+", environment.region):
            yield Objection(
                field="region",
                value=environment.region,
                message="is not a region of Azure, whose names have no dashes",
                fix="For example eastus, westus3 or swedencentral: `az account list-locations` lists all.",
            )
        yield from _check_networks(environment)
        yield from _check_access(environment)
        yield from _check_system_pool(environment)
        yield from _check_names(environment)
        if (capacity := setting(environment, "weights_gib")) is not None:
            yield from too_small_for_the_models("azure.weights_gib", capacity, environment)


def setting(environment: EnvironmentWish, name: str) -> Any:  # noqa: ANN401 - each setting has its own type
    """A setting, its default where the section says nothing; None if what stands there is broken."""
    if environment.settings is None:
        return getattr(AzureSettings(), name)
    return environment.settings.__dict__.get(name)


def autoscaled(pool: PoolWish) -> bool:
    """Whether the cluster autoscaler sizes the pool."""
    return pool.provisioner == "node-group" and (
        pool.min_nodes != pool.max_nodes or pool.capacity_type == "spot-with-fallback"
    )


def _check_reservation(pool: PoolWish) -> Iterator[Objection]:
    if pool.capacity_type != "reserved":
        return
    if pool.reservation_kind != "reservation":
        yield Objection(
            field="reservation.kind" if pool.reservation_kind else "reservation",
            value=pool.reservation_kind or None,
            message="Azure reserves machines in capacity reservation groups only",
            choices=("reservation",),
            fix="Give reservation: {kind: reservation, id: <id of the capacity reservation group>}.",
        )
    elif not CAPACITY_RESERVATION_GROUP.fullmatch(pool.reservation_id):
        yield Objection(
            field="reservation.id",
            value=pool.reservation_id or None,
            message="must be the id of a capacity reservation group, /subscriptions/<subscription>/resourceGroups/"
            "<group>/providers/Microsoft.Compute/capacityReservationGroups/<name>",
            fix="`az capacity reservation group list --query [].id` prints them.",
        )


def _check_mig(pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
    if pool.sharing != "mig":
        return
    if pool.accelerator not in MIG_PROFILES:
        yield Objection(
            field="sharing.mode",
            value="mig",
            message=f"AKS splits only A100, H100 and H200 with MIG, not {pool.accelerator}",
            choices=("none", "time-slicing", "mps"),
        )
    elif pool.mig_profile not in MIG_PROFILES[pool.accelerator]:
        yield Objection(
            field="sharing.profile",
            value=pool.mig_profile,
            message="AKS names a slice by its compute part (MIG1g to MIG7g); this is not the default of its part",
            choices=MIG_PROFILES[pool.accelerator],
        )
    if pool.provisioner == "node-group" and pool.min_nodes != pool.max_nodes:
        yield Objection(
            field="min_nodes",
            value=pool.min_nodes,
            message="the cluster autoscaler of AKS cannot size a MIG pool: it does not know the slices of a node that "
            "is not there",
            fix=f"Set min_nodes: {pool.max_nodes}, as max_nodes; or another sharing mode.",
        )
    if pool.capacity_type == "spot-with-fallback":
        yield Objection(
            field="capacity_type",
            value=pool.capacity_type,
            message="falling back takes an autoscaler, and the one of AKS cannot size a MIG pool",
            choices=("on-demand", "spot", "reserved"),
        )
    if setting(environment, "os") is OperatingSystem.AZURE_LINUX:
        yield Objection(
            field="sharing.mode",
            value="mig",
            message="MIG pools need Ubuntu nodes, and azure.os is azure-linux",
            fix="Set azure.os: ubuntu.",
        )
    if setting(environment, "install_gpu_driver") is False:
        yield Objection(
            field="sharing.mode",
            value="mig",
            message="AKS splits GPUs when it installs their driver, and azure.install_gpu_driver is false",
            fix="Set azure.install_gpu_driver: true.",
        )


def _check_auto(pool: PoolWish) -> Iterator[Objection]:
    if pool.provisioner != "auto":
        return
    if pool.capacity_type == "reserved":
        yield Objection(
            field="capacity_type",
            value="reserved",
            message="node auto-provisioning takes no capacity reservation group",
            choices=("on-demand", "spot", "spot-with-fallback"),
            fix="Choose one of these, or provisioner: node-group.",
        )
    if pool.sharing != "none":
        yield Objection(
            field="sharing.mode",
            value=pool.sharing,
            message="node auto-provisioning knows a machine's whole GPUs only: a pod that asks for a part would wait "
            "for ever",
            choices=("none",),
            fix="Set provisioner: node-group to share GPUs.",
        )
    if pool.min_nodes:
        yield Objection(
            field="min_nodes",
            value=pool.min_nodes,
            message="node auto-provisioning makes nodes for pods and keeps none without",
            choices=("0",),
            fix="Keep the replicas instead: scaling.min_replicas of the model deployment.",
        )


def _check_two_autoscalers(pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
    others = [other.name for other in environment.pools if other.provisioner == "auto"]
    if others and autoscaled(pool):
        yield Objection(
            field="provisioner",
            value="node-group",
            message=f"pool {others[0]} is made by node auto-provisioning, and with two autoscalers in a cluster both "
            "answer the same waiting pods (AKS allows it to migrate from one to the other)",
            choices=("auto",),
            fix="Set provisioner: auto, or min_nodes equal to max_nodes, which needs no autoscaler.",
        )


def _check_machine(pool: PoolWish) -> Iterator[Objection]:
    for zone in pool.zones:
        if zone not in ZONES:
            message = "is not an availability zone of Azure"
            yield Objection(field="zones", value=zone, message=message, choices=ZONES)
    if pool.disk_gib > LARGEST_OS_DISK_GIB:
        message = f"the disk of an AKS node has at most {LARGEST_OS_DISK_GIB} GiB"
        fix = f"Lower it to {LARGEST_OS_DISK_GIB}."
        yield Objection(field="disk_gib", value=pool.disk_gib, message=message, fix=fix)
    if pool.local_nvme:
        yield Objection(
            field="local_nvme",
            value=True,
            message="AKS leaves the NVMe disks of GPU machines raw: images and volumes stay on the disk of the node",
            choices=("false",),
            fix="Raise disk_gib, or keep weights in weights.store: object-store.",
        )
    if pool.image_streaming:
        yield Objection(
            field="image_streaming",
            value=True,
            message="AKS streams only images of a Premium Azure Container Registry that were prepared for it, and the "
            "API version of the Pulumi provider has no setting for it",
            choices=("false",),
        )


def _check_networks(environment: EnvironmentWish) -> Iterator[Objection]:
    ranges = {name: ipaddress.IPv4Network(value) for name in NETWORKS if (value := setting(environment, name))}
    for one, other in combinations(ranges, 2):
        if ranges[one].overlaps(ranges[other]):
            yield Objection(
                field=f"azure.{other}",
                value=str(ranges[other]),
                message=f"overlaps with azure.{one}, {ranges[one]}",
                fix="Choose networks that share no address.",
            )
    nodes = sum(pool.max_nodes * (2 if pool.capacity_type == "spot-with-fallback" else 1) for pool in environment.pools)
    system = setting(environment, "system_pool")
    nodes += system.__dict__.get("max_nodes", 0) if system is not None else 0
    if "pod_cidr" in ranges and nodes * ADDRESSES_PER_NODE > ranges["pod_cidr"].num_addresses:
        yield Objection(
            field="azure.pod_cidr",
            value=str(ranges["pod_cidr"]),
            message=f"has no room for {nodes} nodes, which take {ADDRESSES_PER_NODE} addresses each",
            fix="Choose a larger network, or lower max_nodes.",
        )
    if "vnet_cidr" in ranges and nodes > ranges["vnet_cidr"].num_addresses - 5:
        yield Objection(
            field="azure.vnet_cidr",
            value=str(ranges["vnet_cidr"]),
            message=f"has no room for {nodes} nodes; Azure keeps five addresses",
            fix="Choose a larger network, or lower max_nodes.",
        )


def _check_access(environment: EnvironmentWish) -> Iterator[Objection]:
    nobody = setting(environment, "admin_group_ids") == () and setting(environment, "azure_rbac") is False
    if setting(environment, "local_accounts") is False and nobody:
        yield Objection(
            field="azure.local_accounts",
            value=False,
            message="without a local account, administrators' groups or Azure role assignments nobody could enter the "
            "cluster",
            fix="Give azure.admin_group_ids, or set azure.azure_rbac: true.",
        )


def _check_system_pool(environment: EnvironmentWish) -> Iterator[Objection]:
    system = setting(environment, "system_pool")
    if not isinstance(system, SystemPool):
        return
    least, most = system.__dict__.get("min_nodes"), system.__dict__.get("max_nodes")
    if least is not None and most is not None and least > most:
        yield Objection(
            field="azure.system_pool.min_nodes",
            value=least,
            message=f"more than max_nodes, {most}",
            fix=f"Lower it to {most} or raise max_nodes.",
        )


def _check_names(environment: EnvironmentWish) -> Iterator[Objection]:
    """Agent pools' names are digests: two alike are as good as impossible, and would be one pool at Azure."""
    taken: dict[str, str] = {}
    for index, pool in enumerate(environment.pools):
        if pool.provisioner != "node-group":
            continue
        for fixed in fixed_parts(
            name=pool.name,
            vm_size=pool.instance_type,
            capacity_type=pool.capacity_type,
            mig_profile=pool.mig_profile,
            disk_gib=pool.disk_gib,
            zones=pool.zones,
            reservation_id=pool.reservation_id,
            settings=environment.settings,
        ):
            name = agent_pool_name(fixed)
            if taken.setdefault(name, pool.name) != pool.name:
                yield Objection(
                    field=f"node_pools[{index}].name",
                    value=pool.name,
                    message=f"gets the same name at Azure as pool {taken[name]}: {name}",
                    fix="Choose another name.",
                )


RULES: Final[CloudRules] = AzureRules()
