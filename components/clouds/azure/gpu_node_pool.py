"""A pool of GPU nodes as AKS agent pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi_azure_native import containerservice as aks

from components.base import Component
from components.clouds.azure.agent_pools import SPOT_TAINT, Fixed, Purchase, agent_pool_name, fixed_parts
from components.clouds.azure.handle import AzureClusterHandle
from components.clouds.azure.settings import OperatingSystem
from components.cluster import NodePoolArgs
from components.scheduling import SharingMode, Taint

OPERATING_SYSTEMS: Final = {OperatingSystem.UBUNTU.value: "Ubuntu", OperatingSystem.AZURE_LINUX.value: "AzureLinux"}

RESERVED_LABELS: Final = ("node.kubernetes.io/instance-type",)
"""AKS writes it itself, with the same value, and refuses it from others (use-labels.md)."""

SPOT_LABEL: Final = {SPOT_TAINT[0]: SPOT_TAINT[1]}
"""AKS adds label and taint by itself; given, a refresh finds nothing that was not asked for."""

RESOURCE_TAG: Final = "k8s.io_cluster-autoscaler_node-template_resources_"
"""Tells the cluster autoscaler what a node of an empty pool will offer; underscores stand for slashes
(kubernetes/autoscaler cloudprovider/azure/azure_util.go)."""

NO_SURGE: Final = aks.AgentPoolUpgradeSettingsArgs(max_surge="0", max_unavailable="1", drain_timeout_in_minutes=30)
"""One node after the other, without a further machine: quota for GPUs is what runs out first."""

CREATE_TIMEOUT: Final = "60m"

AUTOSCALER_OWNED: Final = ("count",)


class GpuNodePool(Component):
    """One agent pool, or two for spot with fallback.

    The cluster autoscaler sizes them between `min_nodes` and `max_nodes`; with both alike, and always with MIG, the
    number is fixed. Spot with fallback keeps its `min_nodes` as spot, and either pool may grow to `max_nodes`.

    Attributes:
        pools: the agent pools, the preferred one first.
    """

    def __init__(
        self,
        name: str,
        args: NodePoolArgs,
        cluster: AzureClusterHandle,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        """Make the agent pools.

        Args:
            name: logical name.
            args: what is wanted.
            cluster: where.
            opts: of the component.
            after: what the agent pools are created after, and so destroyed before.
        """
        super().__init__("azure", name, opts, after)
        parts = fixed_parts(
            name=args.gpus.name,
            vm_size=args.instance_type,
            capacity_type=args.capacity_type,
            mig_profile=args.gpus.sharing.profile,
            disk_gib=args.disk_gib,
            zones=args.zones,
            reservation_id=args.reservation_id,
            settings=cluster.settings,
        )
        self.pools = tuple(
            self._pool(f"{name}-{part.purchase.name.lower().replace('_', '-')}", args, part, cluster) for part in parts
        )
        self.register_outputs({"agentPools": [agent_pool_name(part) for part in parts]})

    def _pool(self, name: str, args: NodePoolArgs, part: Fixed, cluster: AzureClusterHandle) -> aks.AgentPool:
        spot = part.purchase is Purchase.SPOT
        fallback = args.capacity_type == "spot-with-fallback"
        least = 0 if fallback and not spot else args.min_nodes
        autoscaled = least != args.max_nodes or fallback
        return aks.AgentPool(
            name,
            agent_pool_name=agent_pool_name(part),
            resource_name_=cluster.name,
            resource_group_name=cluster.resource_group,
            mode="User",
            type="VirtualMachineScaleSets",
            os_type="Linux",
            os_sku=OPERATING_SYSTEMS[part.os],
            vm_size=part.vm_size,
            orchestrator_version=cluster.kubernetes_version,
            # Azure wants a number to begin with, also where the autoscaler takes over.
            count=least,
            enable_auto_scaling=autoscaled,
            min_count=least if autoscaled else None,
            max_count=args.max_nodes if autoscaled else None,
            scale_down_mode="Delete",
            gpu_profile=aks.GPUProfileArgs(driver="Install" if cluster.settings.install_gpu_driver else "None"),
            gpu_instance_profile=part.gpu_instance_profile or None,
            scale_set_priority="Spot" if spot else "Regular",
            scale_set_eviction_policy="Delete" if spot else None,
            spot_max_price=(cluster.settings.spot_max_price or -1) if spot else None,
            capacity_reservation_group_id=part.reservation_id or None,
            availability_zones=list(part.zones) or None,
            os_disk_size_gb=part.disk_gib,
            os_disk_type="Managed",
            enable_encryption_at_host=cluster.settings.encryption_at_host or None,
            vnet_subnet_id=cluster.subnet_id,
            node_labels=node_labels(args, part),
            node_taints=node_taints(args, part),
            # AKS refuses surge settings on spot pools.
            upgrade_settings=None if spot else NO_SURGE,
            tags={**args.tags, **scale_from_zero_tags(args)},
            opts=self.child(ignore_changes=AUTOSCALER_OWNED if autoscaled else (), timeout=CREATE_TIMEOUT),
        )


def node_labels(args: NodePoolArgs, part: Fixed) -> dict[str, str]:
    """Labels of the nodes: of the pool, with what the nodes of this agent pool really are."""
    capacity = {Purchase.SPOT: "spot", Purchase.ON_DEMAND: "on-demand", Purchase.RESERVED: "reserved"}[part.purchase]
    labels = args.gpus.node_labels(args.instance_type, capacity)
    kept = {key: value for key, value in labels.items() if key not in RESERVED_LABELS}
    return {**kept, **(SPOT_LABEL if part.purchase is Purchase.SPOT else {})}


def node_taints(args: NodePoolArgs, part: Fixed) -> list[str]:
    """Taints of the nodes; those of spot on spot nodes only, though all pods of the pool tolerate them."""
    spot = Taint(*SPOT_TAINT)
    taints = [taint for taint in args.gpus.taints if taint != spot or part.purchase is Purchase.SPOT]
    return [f"{taint.key}={taint.value}:{taint.effect}" for taint in taints]


def scale_from_zero_tags(args: NodePoolArgs) -> dict[str, str]:
    """What the autoscaler cannot know of a node that is not there: GPUs, or shares of them."""
    if args.gpus.sharing.mode is SharingMode.MIG:
        # Its pools are not autoscaled.
        return {}
    resource = args.gpus.resource_name.replace("/", "_")
    return {f"{RESOURCE_TAG}{resource}": str(args.gpus.slots_per_node)}
