"""Where pods go: one object yields a taint and its toleration, one a GPU's resource name, its pool and its request.

The SDK's types of pods are imported by what makes one: who needs the facts alone is spared their fifth of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from components.labels import CAPACITY_TYPE, NODE_POOL

if TYPE_CHECKING:
    from pulumi_kubernetes.core.v1 import (
        ResourceRequirementsArgs,
        TaintArgs,
        TolerationArgs,
        TopologySpreadConstraintArgs,
    )

WHOLE_GPU: Final = "nvidia.com/gpu"
SHARED_GPU: Final = "nvidia.com/gpu.shared"
"""Name that the device plugin gives to replicas of a GPU with `renameByDefault` (time-slicing, MPS): a pod that
asks for a whole GPU never lands on a shared one."""

SYSTEM_POOL: Final = "system"
"""Name of the untainted CPU nodes: gateway, routers, operators."""

PODS_SHARE_OF_NODE: Final = 0.8
"""Share of a node's CPU and memory that engine pods ask for. The kubelet keeps most on small nodes (GKE: 25 percent
of the first 4 GiB, 20 of the next 4, 10 of the next 8: 2.6 of 16 GiB), and DaemonSets need the rest."""


@dataclass(frozen=True)
class Taint:
    """A taint that knows the toleration that matches it."""

    key: str
    value: str
    effect: str

    def as_taint(self) -> TaintArgs:
        """For a node's spec."""
        from pulumi_kubernetes.core.v1 import TaintArgs

        return TaintArgs(key=self.key, value=self.value, effect=self.effect)

    def as_toleration(self) -> TolerationArgs:
        """For a pod's spec."""
        from pulumi_kubernetes.core.v1 import TolerationArgs

        return TolerationArgs(key=self.key, operator="Equal", value=self.value, effect=self.effect)


GPU_TAINT: Final = Taint("nvidia.com/gpu", "present", "NoSchedule")


class SharingMode(StrEnum):
    """How one GPU is split between pods."""

    NONE = "none"
    MIG = "mig"
    TIME_SLICING = "time-slicing"
    MPS = "mps"


@dataclass(frozen=True)
class Sharing:
    """How the GPUs of a pool are split.

    Attributes:
        mode: none, or the way.
        slices_per_gpu: pods that one GPU serves.
        profile: NVIDIA's name of the MIG slice; "" in other modes.

    Raises:
        ValueError: MIG without a profile, or slices that do not match the mode.
    """

    mode: SharingMode = SharingMode.NONE
    slices_per_gpu: int = 1
    profile: str = ""

    def __post_init__(self) -> None:
        if (self.mode is SharingMode.MIG) != bool(self.profile):
            raise ValueError(f"sharing mode {self.mode} and MIG profile {self.profile!r} do not go together")
        if self.slices_per_gpu < 1 or (self.mode is SharingMode.NONE and self.slices_per_gpu != 1):
            raise ValueError(f"sharing mode {self.mode} cannot give {self.slices_per_gpu} slices per GPU")

    @property
    def resource_name(self) -> str:
        """The extended resource that the device plugin registers (MIG: its `mixed` strategy)."""
        match self.mode:
            case SharingMode.NONE:
                return WHOLE_GPU
            case SharingMode.MIG:
                return f"nvidia.com/mig-{self.profile}"
            case SharingMode.TIME_SLICING | SharingMode.MPS:
                return SHARED_GPU

    @property
    def device_plugin_config(self) -> str:
        """Name of the device plugin's configuration that makes the shares; "" where its default will do."""
        shared = self.mode in {SharingMode.TIME_SLICING, SharingMode.MPS}
        return f"{self.mode}-{self.slices_per_gpu}" if shared else ""

    @property
    def mig_config(self) -> str:
        """Name of the MIG manager's layout: this profile on all GPUs; "" in other modes."""
        return f"all-{self.profile}" if self.profile else ""

    @property
    def node_labels(self) -> dict[str, str]:
        """By which a node tells NVIDIA's runtime how to split its GPUs."""
        labels = {
            "nvidia.com/device-plugin.config": self.device_plugin_config,
            "nvidia.com/mig.config": self.mig_config,
        }
        mps = {"nvidia.com/mps.capable": "true"} if self.mode is SharingMode.MPS else {}
        return {**{key: value for key, value in labels.items() if value}, **mps}


@dataclass(frozen=True, kw_only=True)
class GpuPool:
    """The GPUs of a node pool: what its nodes offer and what its pods ask for.

    Attributes:
        name: of the pool.
        product: value of the label nvidia.com/gpu.product, as GPU feature discovery writes it (``NVIDIA-L4``).
        gpus_per_node: physical GPUs.
        vcpu: virtual CPUs of a node.
        memory_gib: memory of a node, GiB.
        sharing: how each GPU is split.
        resource: extended resource where the cloud's own device plugin names it; "": as ours does.
        taints: of its nodes.
        selector: labels that its nodes carry where they are not ours to label; empty: the pool's own label.
    """

    name: str
    product: str
    gpus_per_node: int
    vcpu: int
    memory_gib: float
    sharing: Sharing = field(default_factory=Sharing)
    resource: str = ""
    taints: tuple[Taint, ...] = (GPU_TAINT,)
    selector: Mapping[str, str] = field(default_factory=dict)

    @property
    def resource_name(self) -> str:
        """The extended resource that its pods ask for."""
        return self.resource or self.sharing.resource_name

    @property
    def slots_per_node(self) -> int:
        """How many of the resource a node offers."""
        return self.gpus_per_node * self.sharing.slices_per_gpu

    @property
    def node_selector(self) -> dict[str, str]:
        """Selects the pool's nodes, which carry the same as labels."""
        return dict(self.selector) or {NODE_POOL: self.name}

    def node_labels(self, instance_type: str, capacity_type: str) -> dict[str, str]:
        """Labels of the pool's nodes."""
        return {
            NODE_POOL: self.name,
            **self.node_selector,
            CAPACITY_TYPE: capacity_type,
            "node.kubernetes.io/instance-type": instance_type,
            "nvidia.com/gpu.product": self.product,
            "nvidia.com/gpu.count": str(self.gpus_per_node),
            # NVIDIA's DaemonSets go to nodes with this label; without it they wait for node feature discovery.
            "nvidia.com/gpu.present": "true",
            **self.sharing.node_labels,
        }

    def node_capacity(self, pods: int) -> dict[str, str]:
        """What a node offers, as the kubelet would report it; quantities.

        Args:
            pods: most pods on a node.
        """
        return {
            "cpu": str(self.vcpu),
            "memory": f"{int(self.memory_gib * 1024)}Mi",
            self.resource_name: str(self.slots_per_node),
            "pods": str(pods),
        }

    def place(self, slots: int = 1) -> Placement:
        """A pod with so many GPUs (or slices): its node, its toleration and its fair share of CPU and memory.

        Raises:
            ValueError: no node of the pool has that many.
        """
        if not 1 <= slots <= self.slots_per_node:
            raise ValueError(
                f"node pool {self.name!r}: a pod asks for {slots} of {self.resource_name}, "
                f"a node has {self.slots_per_node}"
            )
        share = PODS_SHARE_OF_NODE * slots / self.slots_per_node
        return Placement(
            node_selector=self.node_selector,
            taints=self.taints,
            resources=PodResources(
                cpu=f"{int(self.vcpu * 1000 * share)}m",
                memory=f"{int(self.memory_gib * 1024 * share)}Mi",
                devices={self.resource_name: str(slots)},
            ),
        )


@dataclass(frozen=True, kw_only=True)
class PodResources:
    """What a pod asks for.

    Attributes:
        cpu: request; there is no limit, since throttling an engine's host thread idles its GPU.
        memory: request and limit.
        devices: extended resources, request and limit.
    """

    cpu: str
    memory: str
    devices: Mapping[str, str] = field(default_factory=dict)

    def as_requirements(self) -> ResourceRequirementsArgs:
        """For a container's spec."""
        from pulumi_kubernetes.core.v1 import ResourceRequirementsArgs

        fixed = {"memory": self.memory, **self.devices}
        return ResourceRequirementsArgs(requests={"cpu": self.cpu, **fixed}, limits=fixed)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a pod goes and what it takes there.

    Attributes:
        node_selector: labels of its nodes.
        taints: of its nodes; the pod tolerates exactly these.
        resources: of its one container.
    """

    node_selector: Mapping[str, str]
    resources: PodResources
    taints: tuple[Taint, ...] = ()

    def tolerations(self) -> list[TolerationArgs]:
        """For a pod's spec."""
        return [taint.as_toleration() for taint in self.taints]


def on_system_nodes(cpu: str, memory: str, selector: Mapping[str, str] | None = None) -> Placement:
    """A pod without a GPU, on the untainted nodes.

    Args:
        cpu: request.
        memory: request and limit.
        selector: of these nodes (`ClusterHandle.system_nodes`); None: our own label.
    """
    chosen = {NODE_POOL: SYSTEM_POOL} if selector is None else selector
    return Placement(node_selector=chosen, resources=PodResources(cpu=cpu, memory=memory))


def spread_over_nodes(selector: Mapping[str, str]) -> TopologySpreadConstraintArgs:
    """Prefer different nodes; never leave a pod pending for it."""
    return _spread_over("kubernetes.io/hostname", selector)


def spread_over_zones(selector: Mapping[str, str]) -> TopologySpreadConstraintArgs:
    """Prefer different zones; never leave a pod pending for it."""
    return _spread_over("topology.kubernetes.io/zone", selector)


def _spread_over(topology_key: str, selector: Mapping[str, str]) -> TopologySpreadConstraintArgs:
    from pulumi_kubernetes.core.v1 import TopologySpreadConstraintArgs
    from pulumi_kubernetes.meta.v1 import LabelSelectorArgs

    return TopologySpreadConstraintArgs(
        max_skew=1,
        topology_key=topology_key,
        when_unsatisfiable="ScheduleAnyway",
        label_selector=LabelSelectorArgs(match_labels=selector),
    )
