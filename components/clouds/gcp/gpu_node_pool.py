"""Node pools with GPUs that GKE's cluster autoscaler sizes: one, or two where on-demand backs up spot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_gcp import container

from components.base import Component
from components.clouds.gcp.machines import LOCAL_SSDS, accelerator_type, boot_disk_type
from components.clouds.gcp.names import NODE_POOL
from components.clouds.gcp.node_config import (
    AUTOSCALER_OWNS,
    OAUTH_SCOPES,
    gke_metadata,
    node_labels,
    node_taints,
    shielded,
)
from components.clouds.gcp.settings import GcpSettings
from components.clouds.names import digest, shortened
from components.cluster import NodePoolArgs
from components.scheduling import SharingMode

CREATE_TIMEOUT: Final = "45m"
RESERVATION_KEY: Final = "compute.googleapis.com/reservation-name"
STRATEGIES: Final = {SharingMode.TIME_SLICING: "TIME_SHARING", SharingMode.MPS: "MPS"}


@dataclass(frozen=True, kw_only=True)
class GkeNodePoolArgs:
    """GPU nodes of a GKE cluster.

    Attributes:
        pool: what every cloud is told.
        cluster: its name.
        location: of the control plane.
        service_account: e-mail address of the nodes.
        settings: the section `gcp`.
    """

    pool: NodePoolArgs
    cluster: pulumi.Input[str]
    location: str
    service_account: pulumi.Input[str]
    settings: GcpSettings


@dataclass(frozen=True)
class Purchase:
    """How the nodes of one node pool are bought.

    Attributes:
        suffix: of the pool's name; "" for the only one.
        capacity_type: value of the nodes' label: what they are, not what was wished for.
        min_nodes: fewest.
    """

    suffix: str
    capacity_type: str
    min_nodes: int


def purchases(pool: NodePoolArgs) -> tuple[Purchase, ...]:
    """The node pools that a pool becomes.

    Spot with fallback is two of the same labels and taints: pods fit either, and GKE's autoscaler adds to the one that
    costs less, spot, until Google has no more. The fewest nodes are on-demand ones: only those can be kept.
    """
    if pool.capacity_type == "spot-with-fallback":
        return Purchase("spot", "spot", 0), Purchase("on-demand", "on-demand", pool.min_nodes)
    return (Purchase("", pool.capacity_type, pool.min_nodes),)


class GpuNodePool(Component):
    """A pool of GPU nodes.

    Attributes:
        pools: at Google Cloud; two with spot-with-fallback.
    """

    def __init__(
        self,
        name: str,
        args: GkeNodePoolArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: tuple[pulumi.Resource, ...] = (),
    ) -> None:
        super().__init__("gcp", name, opts, after)
        self.pools = tuple(self._pool(name, args, purchase) for purchase in purchases(args.pool))
        self.register_outputs({"names": [pool.name for pool in self.pools]})

    def _pool(self, name: str, args: GkeNodePoolArgs, purchase: Purchase) -> container.NodePool:
        pool = args.pool
        flexible = pool.reservation_kind in {"flex-start", "queued"}
        return container.NodePool(
            "-".join(part for part in (name, purchase.suffix) if part),
            name=pool_name(args, purchase),
            cluster=args.cluster,
            location=args.location,
            node_locations=list(pool.zones) or None,
            autoscaling=container.NodePoolAutoscalingArgs(
                total_min_node_count=purchase.min_nodes,
                total_max_node_count=pool.max_nodes,
                # Wherever there are some: GPUs are too scarce to be spread evenly.
                location_policy="ANY",
            ),
            # GKE repairs by making a node anew, and a flex-start node that is given back may not come again.
            management=container.NodePoolManagementArgs(auto_repair=not flexible, auto_upgrade=True),
            upgrade_settings=None
            if flexible
            # A GPU more than the pool has may not be there to surge with.
            else container.NodePoolUpgradeSettingsArgs(strategy="SURGE", max_surge=0, max_unavailable=1),
            queued_provisioning=container.NodePoolQueuedProvisioningArgs(enabled=True)
            if pool.reservation_kind == "queued"
            else None,
            node_config=node_config(args, purchase),
            opts=self.child(ignore_changes=AUTOSCALER_OWNS, timeout=CREATE_TIMEOUT),
        )


def pool_name(args: GkeNodePoolArgs, purchase: Purchase) -> str:
    """Name at Google Cloud: another one for what a live pool cannot become, so that new nodes come before old ones go.

    GKE changes neither the GPU driver nor the disk with images of nodes that are there.
    """
    pool, settings, sharing = args.pool, args.settings, args.pool.gpus.sharing
    machines = [pool.instance_type, purchase.capacity_type, pool.reservation_kind, pool.reservation_id]
    machines += [sharing.mode.value, sharing.profile, str(sharing.slices_per_gpu), str(pool.local_nvme)]
    machines += [settings.driver.value, settings.image_cache_disk or ""]
    parts = (pool.gpus.name, purchase.suffix, digest(json.dumps(machines)))
    return shortened("-".join(part for part in parts if part), NODE_POOL)


def node_config(args: GkeNodePoolArgs, purchase: Purchase) -> container.NodePoolNodeConfigArgs:
    """What a node of the pool is."""
    pool, settings = args.pool, args.settings
    flexible = pool.reservation_kind in {"flex-start", "queued"}
    streaming = pool.image_streaming or settings.image_cache_disk is not None
    return container.NodePoolNodeConfigArgs(
        machine_type=pool.instance_type,
        guest_accelerators=[accelerator(pool, settings)],
        spot=True if purchase.capacity_type == "spot" else None,
        flex_start=True if flexible else None,
        max_run_duration=f"{settings.flex_start_seconds}s" if flexible else None,
        reservation_affinity=reservation_affinity(pool, purchase),
        disk_size_gb=pool.disk_gib,
        disk_type=boot_disk_type(pool.instance_type),
        image_type="COS_CONTAINERD",
        ephemeral_storage_local_ssd_config=container.NodePoolNodeConfigEphemeralStorageLocalSsdConfigArgs(
            local_ssd_count=LOCAL_SSDS[pool.instance_type]
        )
        if pool.local_nvme
        else None,
        gcfs_config=container.NodePoolNodeConfigGcfsConfigArgs(enabled=True) if streaming else None,
        secondary_boot_disks=[
            container.NodePoolNodeConfigSecondaryBootDiskArgs(
                disk_image=settings.image_cache_disk, mode="CONTAINER_IMAGE_CACHE"
            )
        ]
        if settings.image_cache_disk is not None
        else None,
        gvnic=container.NodePoolNodeConfigGvnicArgs(enabled=True),
        service_account=args.service_account,
        oauth_scopes=OAUTH_SCOPES,
        labels=node_labels(pool.gpus.node_labels(pool.instance_type, purchase.capacity_type)),
        taints=node_taints(pool.gpus.taints),
        resource_labels=dict(pool.tags) or None,
        shielded_instance_config=shielded(),
        workload_metadata_config=gke_metadata(),
    )


def accelerator(pool: NodePoolArgs, settings: GcpSettings) -> container.NodePoolNodeConfigGuestAcceleratorArgs:
    """The GPUs, how GKE splits them and which driver it installs."""
    sharing = pool.gpus.sharing
    strategy = STRATEGIES.get(sharing.mode)
    return container.NodePoolNodeConfigGuestAcceleratorArgs(
        type=accelerator_type(pool.accelerator, pool.instance_type),
        count=pool.gpus.gpus_per_node,
        gpu_partition_size=sharing.profile or None,
        gpu_sharing_config=container.NodePoolNodeConfigGuestAcceleratorGpuSharingConfigArgs(
            gpu_sharing_strategy=strategy, max_shared_clients_per_gpu=sharing.slices_per_gpu
        )
        if strategy is not None
        else None,
        gpu_driver_installation_config=container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
            gpu_driver_version=settings.driver.value.upper()
        ),
    )


def reservation_affinity(
    pool: NodePoolArgs, purchase: Purchase
) -> container.NodePoolNodeConfigReservationAffinityArgs | None:
    """Which reservation nodes may use up: the named one; on-demand nodes any that is open to all; others none."""
    if pool.reservation_kind == "reservation":
        return container.NodePoolNodeConfigReservationAffinityArgs(
            consume_reservation_type="SPECIFIC_RESERVATION", key=RESERVATION_KEY, values=[pool.reservation_id]
        )
    if purchase.capacity_type == "on-demand":
        return None
    return container.NodePoolNodeConfigReservationAffinityArgs(consume_reservation_type="NO_RESERVATION")
