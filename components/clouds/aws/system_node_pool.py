"""The CPU nodes of a cluster: CoreDNS, controllers, observability, gateway and routers run there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_aws import eks

from components.base import Component
from components.clouds.aws.gpu_node_pool import OWNED_BY_AUTOSCALER, group_prefix
from components.clouds.aws.launch_template import LaunchTemplateArgs, create_launch_template
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL

DISK_GIB: Final = 100
"""Images of operators and dashboards are small; Prometheus has a volume of its own."""


@dataclass(frozen=True, kw_only=True)
class SystemNodePoolArgs:
    """CPU nodes.

    Attributes:
        cluster_name: of the EKS cluster.
        version: of Kubernetes, minor.
        node_role_arn: role of the nodes.
        subnet_ids: private subnets.
        instance_type: an x86 machine.
        min_nodes: fewest.
        max_nodes: most.
        node_repair: EKS replaces broken nodes.
        tags: on everything.
    """

    cluster_name: pulumi.Input[str]
    version: str
    node_role_arn: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    instance_type: str
    min_nodes: int
    max_nodes: int
    node_repair: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


class SystemNodePool(Component):
    """One managed node group without taint, labelled as the system pool.

    Attributes:
        group: the node group.
    """

    def __init__(
        self,
        name: str,
        args: SystemNodePoolArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        template = create_launch_template(
            self, name, LaunchTemplateArgs(node_name=name, disk_gib=DISK_GIB, tags=args.tags)
        )
        self.group = eks.NodeGroup(
            name,
            cluster_name=args.cluster_name,
            node_group_name_prefix=group_prefix(SYSTEM_POOL, ""),
            node_role_arn=args.node_role_arn,
            version=args.version,
            ami_type="AL2023_x86_64_STANDARD",
            capacity_type="ON_DEMAND",
            instance_types=[args.instance_type],
            subnet_ids=list(args.subnet_ids),
            scaling_config=eks.NodeGroupScalingConfigArgs(
                min_size=args.min_nodes, max_size=args.max_nodes, desired_size=args.min_nodes
            ),
            launch_template=eks.NodeGroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str)),
            labels={NODE_POOL: SYSTEM_POOL},
            update_config=eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
            node_repair_config=eks.NodeGroupNodeRepairConfigArgs(enabled=args.node_repair),
            tags=dict(args.tags),
            opts=self.child(ignore_changes=OWNED_BY_AUTOSCALER),
        )
        self.register_outputs({"group": self.group.node_group_name})
