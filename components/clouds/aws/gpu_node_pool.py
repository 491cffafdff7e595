"""GPU nodes as EKS managed node groups, which the cluster autoscaler sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_aws import eks

from components.base import Component
from components.clouds.aws.launch_template import LaunchTemplateArgs, create_launch_template, node_config
from components.clouds.aws.names import NODE_GROUP_PREFIX, prefix
from components.cluster import NodePoolArgs
from components.scheduling import GpuPool, SharingMode, Taint

AMI_TYPE: Final = "AL2023_x86_64_NVIDIA"
"""Amazon Linux 2023 with NVIDIA's driver and container toolkit, without a device plugin."""

OWNED_BY_AUTOSCALER: Final = ("scalingConfig.desiredSize",)

ACCELERATOR_LABEL: Final = "k8s.amazonaws.com/accelerator"
"""The cluster autoscaler waits for `nvidia.com/gpu` on nodes with this label before it counts them as ready."""

NODE_TEMPLATE: Final = "k8s.io/cluster-autoscaler/node-template"
"""Tags of a node group by which the cluster autoscaler knows a node before there is one."""

SET_BY_EKS: Final = ("node.kubernetes.io/instance-type",)

TAINT_EFFECTS: Final[Mapping[str, str]] = {
    "NoSchedule": "NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
}

SPOT_SUFFIX: Final = "spot"


@dataclass(frozen=True, kw_only=True)
class GpuNodePoolArgs:
    """A GPU node pool on EKS.

    Attributes:
        pool: what is wanted; `provisioner` must be node-group.
        cluster_name: of the EKS cluster.
        version: of Kubernetes, minor.
        node_role_arn: role of its nodes.
        subnets: private subnet of each zone of the network.
        node_repair: EKS replaces broken nodes.
        tags: on everything.
    """

    pool: NodePoolArgs
    cluster_name: pulumi.Input[str]
    version: str
    node_role_arn: pulumi.Input[str]
    subnets: Mapping[str, pulumi.Input[str]]
    node_repair: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


class GpuNodePool(Component):
    """One managed node group, or two with spot-with-fallback: the autoscaler asks the spot group first.

    Both groups of a pool carry the same labels and taints, so that its pods run on either. Each may grow to the pool's
    largest: there are never more nodes than pods to fill them, but while spot comes back the sum can be above it.

    Attributes:
        groups: the node groups.
    """

    def __init__(
        self,
        name: str,
        args: GpuNodePoolArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        pool = args.pool
        template = create_launch_template(
            self,
            name,
            LaunchTemplateArgs(
                node_name=name,
                disk_gib=pool.disk_gib,
                fast_disk=pool.image_streaming and not pool.local_nvme,
                node_config=node_config(local_nvme=pool.local_nvme, image_streaming=pool.image_streaming),
                reservation_id=pool.reservation_id,
                capacity_block=pool.reservation_kind == "capacity-block",
                instance_type=pool.instance_type if pool.reservation_kind == "capacity-block" else "",
                tags=args.tags,
            ),
        )
        self.groups = tuple(
            eks.NodeGroup(
                f"{name}-{suffix}" if suffix else name,
                cluster_name=args.cluster_name,
                node_group_name_prefix=group_prefix(pool.gpus.name, suffix),
                node_role_arn=args.node_role_arn,
                version=args.version,
                ami_type=AMI_TYPE,
                capacity_type=capacity_type,
                # A Capacity Block's machine stands in the launch template, and EKS refuses to have it in both.
                instance_types=None if capacity_type == "CAPACITY_BLOCK" else [pool.instance_type],
                subnet_ids=[args.subnets[zone] for zone in (pool.zones or args.subnets)],
                scaling_config=eks.NodeGroupScalingConfigArgs(
                    min_size=fewest, max_size=pool.max_nodes, desired_size=fewest
                ),
                launch_template=eks.NodeGroupLaunchTemplateArgs(
                    id=template.id, version=template.latest_version.apply(str)
                ),
                labels=node_labels(pool),
                taints=[node_group_taint(taint) for taint in pool.gpus.taints],
                # One at a time: a new node is there and its model loaded before the next old one goes.
                update_config=eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
                node_repair_config=eks.NodeGroupNodeRepairConfigArgs(enabled=args.node_repair),
                tags={**args.tags, **scale_from_zero_tags(pool.gpus)},
                opts=self.child(ignore_changes=OWNED_BY_AUTOSCALER),
            )
            for suffix, capacity_type, fewest in capacity_of(pool)
        )
        self.register_outputs({"groups": [group.node_group_name for group in self.groups]})


def capacity_of(pool: NodePoolArgs) -> list[tuple[str, str, int]]:
    """Node groups of a pool: suffix of the name, EKS' capacity type, fewest nodes."""
    match pool.capacity_type:
        case "spot":
            return [("", "SPOT", pool.min_nodes)]
        case "spot-with-fallback":
            return [(SPOT_SUFFIX, "SPOT", pool.min_nodes), ("on-demand", "ON_DEMAND", 0)]
        case "reserved" if pool.reservation_kind == "capacity-block":
            return [("", "CAPACITY_BLOCK", pool.min_nodes)]
        case _:
            return [("", "ON_DEMAND", pool.min_nodes)]


def group_prefix(pool: str, suffix: str) -> str:
    """What the name of a node group begins with; the provider appends what makes it unique."""
    return prefix(f"{pool}-{suffix}" if suffix else pool, NODE_GROUP_PREFIX)


def node_labels(pool: NodePoolArgs) -> dict[str, str]:
    """Labels of the nodes, for node groups and for Karpenter."""
    gpus = pool.gpus
    labels = gpus.node_labels(pool.instance_type, pool.capacity_type)
    for name in SET_BY_EKS:
        del labels[name]
    if gpus.sharing.mode is SharingMode.NONE:
        # Not on shared GPUs: such nodes never offer nvidia.com/gpu, and would count as unready forever.
        labels[ACCELERATOR_LABEL] = gpus.product
    return labels


def scale_from_zero_tags(gpus: GpuPool) -> dict[str, str]:
    """Tags by which the cluster autoscaler knows what a node of an empty group would offer.

    It reads the group's labels and taints from EKS and the whole GPUs from EC2's list of machines; slices are nowhere
    but here (cluster-autoscaler/cloudprovider/aws: buildNodeFromTemplate reads resources from node group tags).
    """
    if gpus.sharing.mode is SharingMode.NONE:
        return {f"{NODE_TEMPLATE}/resources/{gpus.resource_name}": str(gpus.slots_per_node)}
    return {
        f"{NODE_TEMPLATE}/resources/{gpus.resource_name}": str(gpus.slots_per_node),
        # Whole GPUs are not to be had on such a node: a pod that wants one must not bring it up.
        f"{NODE_TEMPLATE}/resources/nvidia.com/gpu": "0",
    }


def node_group_taint(taint: Taint) -> eks.NodeGroupTaintArgs:
    """A taint in EKS' words."""
    return eks.NodeGroupTaintArgs(key=taint.key, value=taint.value, effect=TAINT_EFFECTS[taint.effect])
