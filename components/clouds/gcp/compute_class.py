"""Nodes that GKE makes for pods: a ComputeClass, a ladder of machines that is tried from the top.

Fields as in Google's reference of cloud.google.com/v1 ComputeClass (read 2026-11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.clouds.gcp.gpu_node_pool import STRATEGIES
from components.clouds.gcp.machines import LOCAL_SSDS, accelerator_type, boot_disk_type
from components.clouds.gcp.names import compute_class_name
from components.clouds.gcp.node_config import node_labels
from components.clouds.gcp.settings import GcpSettings
from components.cluster import NodePoolArgs

IDLE_MINUTES: Final = 10
"""How long a node stays without pods: loading a model anew takes longer than most pauses between requests cost."""

API_VERSION: Final = "cloud.google.com/v1"


@dataclass(frozen=True, kw_only=True)
class GkeComputeClassArgs:
    """A ladder of machines.

    Attributes:
        pool: what every cloud is told; its `min_nodes` is 0, and `max_nodes` is not enforced: GKE's ComputeClass has
            no limit, and the replicas of the pool's models have one.
        service_account: e-mail address of the nodes.
        settings: the section `gcp`.
    """

    pool: NodePoolArgs
    service_account: pulumi.Input[str]
    settings: GcpSettings


class GkeComputeClass(Component):
    """A pool whose nodes GKE makes and takes away.

    Attributes:
        resource: the ComputeClass; it goes after the pods that select it and before the cluster.
    """

    def __init__(
        self,
        name: str,
        args: GkeComputeClassArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: tuple[pulumi.Resource, ...] = (),
    ) -> None:
        super().__init__("gcp", name, opts, after)
        class_name = compute_class_name(args.pool.gpus.name)
        self.resource = CustomResource(
            f"{name}-class",
            api_version=API_VERSION,
            kind="ComputeClass",
            metadata=ObjectMetaArgs(name=class_name),
            spec=specification(args),
            opts=self.child(),
        )
        self.register_outputs({"name": class_name})


def specification(args: GkeComputeClassArgs) -> dict[str, Any]:
    """The object's spec."""
    pool, settings = args.pool, args.settings
    labels = node_labels(pool.gpus.node_labels(pool.instance_type, pool.capacity_type))
    streaming = pool.image_streaming or settings.image_cache_disk is not None
    location: dict[str, Any] = {"locationPolicy": "ANY", **({"zones": list(pool.zones)} if pool.zones else {})}
    return {
        "priorities": [priority(args, purchase) for purchase in ladder(pool)],
        # Zones of a reservation are the reservation's own.
        **({} if pool.reservation_kind == "reservation" else {"priorityDefaults": {"location": location}}),
        "nodePoolAutoCreation": {"enabled": True},
        "nodePoolConfig": {
            "imageType": "cos_containerd",
            "serviceAccount": args.service_account,
            "nodeLabels": labels,
            **({"imageStreaming": {"enabled": True}} if streaming else {}),
        },
        # A loaded model is never moved to save cents, nor from on-demand back to spot.
        "activeMigration": {"optimizeRulePriority": False},
        "autoscalingPolicy": {"consolidationDelayMinutes": IDLE_MINUTES},
        # Other machines than these have no such GPU.
        "whenUnsatisfiable": "DoNotScaleUp",
    }


def ladder(pool: NodePoolArgs) -> tuple[str, ...]:
    """How nodes are bought, first choice first."""
    match pool.capacity_type:
        case "spot-with-fallback":
            return ("spot", "on-demand")
        case "reserved":
            return (pool.reservation_kind,)
        case _:
            return (pool.capacity_type,)


def priority(args: GkeComputeClassArgs, purchase: str) -> dict[str, Any]:
    """A rung of the ladder."""
    pool, settings = args.pool, args.settings
    rung: dict[str, Any] = {
        "machineType": pool.instance_type,
        "spot": purchase == "spot",
        "gpu": gpu(pool, settings),
        "storage": storage(pool, settings),
    }
    if purchase == "flex-start":
        rung["flexStart"] = {"enabled": True}
        rung["maxRunDurationSeconds"] = settings.flex_start_seconds
    if purchase == "reservation":
        rung["reservations"] = {"affinity": "Specific", "specific": [reservation(pool)]}
    return rung


def gpu(pool: NodePoolArgs, settings: GcpSettings) -> dict[str, Any]:
    """The GPUs of a node and how GKE splits them."""
    sharing = pool.gpus.sharing
    strategy = STRATEGIES.get(sharing.mode)
    shares: dict[str, Any] = {}
    if sharing.profile:
        shares["gpuPartitionSize"] = sharing.profile
    if strategy is not None:
        shares |= {"sharingStrategy": strategy, "maxSharedClientsPerGPU": sharing.slices_per_gpu}
    return {
        "type": accelerator_type(pool.accelerator, pool.instance_type),
        "count": pool.gpus.gpus_per_node,
        "driverVersion": settings.driver.value,
        **({"gpuSharing": shares} if shares else {}),
    }


def storage(pool: NodePoolArgs, settings: GcpSettings) -> dict[str, Any]:
    """Disks of a node."""
    found: dict[str, Any] = {"bootDiskType": boot_disk_type(pool.instance_type), "bootDiskSize": pool.disk_gib}
    if pool.local_nvme:
        found["localSSDCount"] = LOCAL_SSDS[pool.instance_type]
    if settings.image_cache_disk is not None:
        image = settings.image_cache_disk.rpartition("/")[2]
        found["secondaryBootDisks"] = [{"diskImageName": image, "mode": "CONTAINER_IMAGE_CACHE"}]
    return found


def reservation(pool: NodePoolArgs) -> dict[str, Any]:
    """The named reservation, of this project or of another: projects/P/reservations/R."""
    owner, _, name = pool.reservation_id.rpartition("/reservations/")
    project = {"project": owner.removeprefix("projects/")} if owner else {}
    return {"name": name, **project, **({"zones": list(pool.zones)} if pool.zones else {})}
