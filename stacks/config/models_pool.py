"""Node pools: machines, how they are bought and how their GPUs are split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stacks.config.base import Int, MigProfileName, Name, Strictly, Zone
from stacks.config.vocabulary import CapacityType, Provisioner, ReservationKind, SharingMode


class NoSharing(Strictly):
    """Each pod gets whole GPUs."""

    mode: Literal[SharingMode.NONE] = Field(description="Whole GPUs.")


class MigSharing(Strictly):
    """NVIDIA Multi-Instance GPU: slices with memory and compute of their own (A100, H100, H200, B200)."""

    mode: Literal[SharingMode.MIG] = Field(description="Hardware slices.")
    profile: MigProfileName = Field(
        description="NVIDIA's name of the slice, e.g. 1g.10gb. Every GPU of the pool is cut into slices of this kind."
    )


class TimeSlicing(Strictly):
    """Pods take turns on a GPU, without isolation of memory or faults: for development and batch."""

    mode: Literal[SharingMode.TIME_SLICING] = Field(description="Taking turns.")
    replicas: Int = Field(ge=2, le=48, description="Pods per GPU, 2 to 48: the limit of GKE, taken for all clouds.")


class MpsSharing(Strictly):
    """NVIDIA Multi-Process Service: pods share a GPU at the same time."""

    mode: Literal[SharingMode.MPS] = Field(description="Sharing at the same time.")
    replicas: Int = Field(ge=2, le=48, description="Pods per GPU, 2 to 48: the limit of GKE, taken for all clouds.")


Sharing = Annotated[NoSharing | MigSharing | TimeSlicing | MpsSharing, Field(discriminator="mode")]


class Reservation(Strictly):
    """Nodes that are held for this pool."""

    kind: ReservationKind = Field(
        description="capacity-block (AWS, bought for days ahead), reservation (AWS, Azure, Google Cloud), queued and "
        "flex-start (Google Cloud: nodes come when there are some)."
    )
    id: str | None = Field(
        default=None,
        max_length=300,
        description="The cloud's id of what was reserved; queued and flex-start have none.",
    )


class NodePool(Strictly):
    """A group of equal GPU nodes."""

    name: Name = Field(description="DNS label of at most 40 characters; `system` is taken by the CPU nodes.")
    accelerator: str | None = Field(
        default=None,
        max_length=40,
        description="The GPU by its key in planner/catalog/gpus.toml, e.g. l4. The same on every cloud: the instance "
        "type is the cheapest of the cloud with `gpus_per_node` of it and at least as much memory as its GPUs have. "
        "Give this or instance_type.",
    )
    gpus_per_node: Int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="GPUs of a node; only with accelerator.",
        json_schema_extra={"default_text": "the fewest that the cloud offers with this GPU"},
    )
    instance_type: str = Field(
        default="",
        max_length=100,
        description="A row of planner/catalog/instances.toml, e.g. g6.12xlarge (4 x L4). On the local cloud "
        "the node has the CPUs, memory and GPUs of this type, simulated.",
        json_schema_extra={"default_text": "worked out from accelerator"},
    )
    capacity_type: CapacityType = Field(
        default=CapacityType.ON_DEMAND,
        description="How nodes are bought. spot-with-fallback takes spot first and on-demand when there is "
        "none; "
        "reserved is capacity blocks, reservations and flex-start.",
    )
    sharing: Sharing = Field(
        default_factory=lambda: NoSharing(mode=SharingMode.NONE),
        description="How one GPU is split between pods.",
        json_schema_extra={"default_text": "{mode: none}"},
    )
    min_nodes: Int = Field(default=0, ge=0, le=1000, description="Fewest nodes. 0 lets an idle pool cost nothing.")
    max_nodes: Int = Field(ge=1, le=1000, description="Most nodes.")
    reservation: Reservation | None = Field(
        default=None, description="What holds the nodes; with capacity_type reserved, and only then."
    )
    provisioner: Provisioner = Field(
        default=Provisioner.NODE_GROUP,
        description="node-group: a group of this instance type that an autoscaler sizes (EKS managed node group, AKS "
        "agent pool, GKE node pool). auto: nodes are made to fit the pods (Karpenter, AKS node auto-provisioning, GKE "
        "ComputeClass).",
    )
    zones: tuple[Zone, ...] = Field(
        default=(), description="Zones of the region.", json_schema_extra={"default_text": "the cloud's choice"}
    )
    disk_gib: Int = Field(
        default=200,
        ge=50,
        le=16_000,
        description="Disk of a node, GiB: the engine's image is about 10, and node-disk weights come on top.",
    )
    local_nvme: bool = Field(
        default=False, strict=True, description="Use the machine's own NVMe disks for images and weights."
    )
    image_streaming: bool = Field(
        default=False, strict=True, description="Start containers before their image is whole, where the cloud can."
    )
    image_prepull: bool = Field(
        default=False,
        strict=True,
        description="Fetch the images of the pool's engines onto every node as soon as it is there, and keep them: a "
        "DaemonSet whose pods sleep in them. For pools with min_nodes above 0 or several models; a node that comes "
        "for one engine fetches its image anyway. Images of `custom` engines are left out: they may have no `sleep`.",
    )
