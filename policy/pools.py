"""Node pools of all clouds, in one form.

Sources of the fields: the inputs of pulumi_aws 7.51 `eks.NodeGroup`, pulumi_azure_native 3.29
`containerservice.AgentPool`, pulumi_gcp 10.2 `container.NodePool`; Karpenter v1 `NodePool`; GKE `ComputeClass`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from planner.catalog import Gpu, Instance, gpus, instances
from policy.view import Resource, at, items, known, mapping, number, text
from policy.workloads import CAPACITY_TYPE, GPU_RESOURCES, NODE_POOL

SPOT: Final = "spot"
ON_DEMAND: Final = "on-demand"
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
GKE_SHARING: Final = {"TIME_SHARING": "time-slicing", "MPS": "mps"}
"""GKE's words for how pods share a GPU, and ours."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A node pool, or one node of a cluster that has no pools.

    Attributes:
        resource: what makes it.
        name: of the pool of the configuration, by the nodes' label; else the resource's.
        instance_types: names of its machines, the first is the one that is priced.
        buys: `spot`, `on-demand` or both: what its nodes can be.
        max_nodes: most nodes; None where nothing limits them.
        taints: keys.
        labels: of its nodes.
        accelerators: names of GPUs that it says itself, where the machine's name does not tell.
        shared_by: `time-slicing`, `mps` or "".
        mig: the profile in the cloud's words; "" without.
    """

    resource: Resource
    name: str
    instance_types: Sequence[str]
    buys: frozenset[str]
    max_nodes: float | None
    taints: Sequence[str]
    labels: Mapping[str, Any] = field(default_factory=dict)
    accelerators: Sequence[str] = ()
    shared_by: str = ""
    mig: str = ""

    @property
    def machines(self) -> list[Instance]:
        """Rows of the catalogue for its machines."""
        return [instances()[name] for name in self.instance_types if name in instances()]

    @property
    def gpus(self) -> list[Gpu]:
        """GPUs of its nodes, as far as the catalogue knows them."""
        keys = {machine.gpu for machine in self.machines} | {gpu_key(name) for name in self.accelerators}
        return [gpus()[key] for key in sorted(keys - {""})]

    @property
    def has_gpus(self) -> bool:
        """Whether its nodes have GPUs."""
        marks = (*self.labels, *self.taints)
        return bool(self.gpus or self.accelerators or any(mark.startswith(GPU_RESOURCES) for mark in marks))

    @property
    def where(self) -> str:
        """How a message calls it."""
        return f"node pool {self.name}" + (f" ({', '.join(self.instance_types)})" if self.instance_types else "")


def gpu_key(name: str) -> str:
    """Key in the catalogue of a cloud's name for a GPU (`nvidia-l4`, `nvidia-h100-80gb`); "" if it has none."""
    plain = name.lower().removeprefix("nvidia-").removeprefix("tesla-")
    for key in sorted(gpus(), key=len, reverse=True):
        if plain == key or plain.removesuffix("gb") == key:
            return key
    short = plain.split("-")[0]
    return short if short in gpus() else ""


def pool_of(resource: Resource) -> Pool | None:
    """The pool that a resource makes; None if it makes none."""
    for matches, read in READERS:
        if matches(resource.unversioned_type):
            return read(resource)
    return None


def pools_of(resources: Sequence[Resource]) -> Iterator[Pool]:
    """All pools of a stack."""
    for resource in resources:
        pool = pool_of(resource)
        if pool is not None:
            yield pool


def _buys(spot: bool) -> frozenset[str]:
    return frozenset({SPOT if spot else ON_DEMAND})


def _pool_name(resource: Resource, labels: Mapping[str, Any]) -> str:
    return text(labels.get(NODE_POOL)) or resource.name


def _eks(resource: Resource) -> Pool:
    labels = mapping(resource.at("labels"))
    types = [text(item) for item in items(resource.at("instanceTypes"))]
    return Pool(
        resource=resource,
        name=_pool_name(resource, labels),
        # With a launch template the machine may be named there; our pools say it in a label too.
        instance_types=types or [name for name in [text(labels.get(INSTANCE_TYPE))] if name],
        buys=_buys(text(resource.at("capacityType")) == "SPOT"),
        max_nodes=number(resource.at("scalingConfig", "maxSize")),
        taints=[text(at(taint, "key")) for taint in items(resource.at("taints"))],
        labels=labels,
        mig=text(labels.get("nvidia.com/mig.config")),
    )


def _aks(resource: Resource) -> Pool:
    labels = mapping(resource.at("nodeLabels"))
    limit = resource.at("maxCount") if known(resource.at("enableAutoScaling")) else resource.at("count")
    return Pool(
        resource=resource,
        name=_pool_name(resource, labels),
        instance_types=[name for name in [text(resource.at("vmSize"))] if name],
        buys=_buys(text(resource.at("scaleSetPriority")) == "Spot"),
        max_nodes=number(limit),
        taints=[text(taint).partition("=")[0] for taint in items(resource.at("nodeTaints"))],
        labels=labels,
        mig=text(resource.at("gpuInstanceProfile")) or text(labels.get("nvidia.com/mig.config")),
    )


def _gke(resource: Resource) -> Pool:
    config = mapping(resource.at("nodeConfig"))
    labels = mapping(config.get("labels"))
    accelerators = [mapping(item) for item in items(config.get("guestAccelerators"))]
    strategies = [text(at(item, "gpuSharingConfig", "gpuSharingStrategy")) for item in accelerators]
    scaling = mapping(resource.at("autoscaling"))
    zones = max(len(items(resource.at("nodeLocations"))), 1)
    per_zone = number(scaling.get("maxNodeCount")) * zones
    return Pool(
        resource=resource,
        name=_pool_name(resource, labels),
        instance_types=[name for name in [text(config.get("machineType"))] if name],
        buys=_buys(bool(known(config.get("spot")) or known(config.get("preemptible")))),
        max_nodes=number(scaling.get("totalMaxNodeCount")) or per_zone or number(resource.at("nodeCount")),
        taints=[text(at(taint, "key")) for taint in items(config.get("taints"))],
        labels=labels,
        accelerators=[text(item.get("type")) for item in accelerators],
        shared_by=_gke_sharing(strategies),
        mig=next((text(item.get("gpuPartitionSize")) for item in accelerators if item.get("gpuPartitionSize")), ""),
    )


def _gke_sharing(strategies: Sequence[str]) -> str:
    return next((GKE_SHARING[name] for name in strategies if name in GKE_SHARING), "")


def _karpenter(resource: Resource) -> Pool:
    template = mapping(resource.at("spec", "template", "spec"))
    labels = mapping(resource.at("spec", "template", "metadata", "labels"))
    wanted = {
        text(at(item, "key")): [text(value) for value in items(at(item, "values"))]
        for item in items(template.get("requirements"))
        if text(at(item, "operator")) == "In"
    }
    limit = {name: amount for name, amount in mapping(resource.at("spec", "limits")).items() if name != "memory"}
    types = wanted.get(INSTANCE_TYPE, [])
    return Pool(
        resource=resource,
        name=_pool_name(resource, labels),
        instance_types=types,
        # Without the requirement Karpenter takes on-demand.
        buys=frozenset(wanted.get("karpenter.sh/capacity-type") or [ON_DEMAND]),
        max_nodes=_nodes_within(limit, types),
        taints=[text(at(taint, "key")) for taint in items(template.get("taints"))],
        labels=labels,
        accelerators=wanted.get("karpenter.k8s.aws/instance-gpu-name", []),
        mig=text(labels.get("nvidia.com/mig.config")),
    )


def _nodes_within(limits: Mapping[str, Any], types: Sequence[str]) -> float | None:
    """How many machines of the first type fit the limits of a Karpenter NodePool; None if nothing limits them."""
    machine = instances().get(types[0]) if types else None
    counts = [number(limits["nodes"])] if "nodes" in limits else []
    if machine is not None:
        each = {"nvidia.com/gpu": machine.gpus, "cpu": machine.vcpu}
        counts += [number(limits[name]) // amount for name, amount in each.items() if name in limits]
    return min(counts) if counts else None


def _compute_class(resource: Resource) -> Pool:
    steps = [mapping(item) for item in items(resource.at("spec", "priorities"))]
    shares = [mapping(at(step, "gpu", "gpuSharing")) for step in steps]
    return Pool(
        resource=resource,
        name=resource.object_name,
        instance_types=list(dict.fromkeys(text(step.get("machineType")) for step in steps if step.get("machineType"))),
        buys=frozenset(SPOT if known(step.get("spot")) else ON_DEMAND for step in steps),
        max_nodes=None,
        # GKE taints the nodes that it makes for a class, and GPU nodes besides.
        taints=["cloud.google.com/compute-class", "nvidia.com/gpu"],
        accelerators=list(dict.fromkeys(text(at(step, "gpu", "type")) for step in steps if step.get("gpu"))),
        shared_by=_gke_sharing([text(share.get("sharingStrategy")) for share in shares]),
        mig=next((text(share.get("gpuPartitionSize")) for share in shares if share.get("gpuPartitionSize")), ""),
    )


def _node(resource: Resource) -> Pool | None:
    labels = resource.labels
    if not text(labels.get(NODE_POOL)):
        return None
    capacity = text(labels.get(CAPACITY_TYPE))
    both = frozenset({SPOT, ON_DEMAND})
    return Pool(
        resource=resource,
        name=text(labels.get(NODE_POOL)),
        instance_types=[name for name in [text(labels.get(INSTANCE_TYPE))] if name],
        buys=both if capacity == "spot-with-fallback" else _buys(capacity == SPOT),
        max_nodes=1,
        taints=[text(at(taint, "key")) for taint in items(resource.at("spec", "taints"))],
        labels=labels,
        mig=text(labels.get("nvidia.com/mig.config")),
    )


def _azure(kind: str) -> Callable[[str], bool]:
    return lambda token: token == f"azure-native:containerservice:{kind}"


READERS: Final[Sequence[tuple[Callable[[str], bool], Callable[[Resource], Pool | None]]]] = (
    (lambda token: token == "aws:eks/nodeGroup:NodeGroup", _eks),  # noqa: S105
    (_azure("AgentPool"), _aks),
    (lambda token: token == "gcp:container/nodePool:NodePool", _gke),  # noqa: S105
    (lambda token: token.startswith("kubernetes:karpenter.sh/") and token.endswith(":NodePool"), _karpenter),
    (
        lambda token: token.startswith("kubernetes:cloud.google.com/") and token.endswith(":ComputeClass"),
        _compute_class,
    ),
    (lambda token: token == "kubernetes:core/v1:Node", _node),  # noqa: S105
)
