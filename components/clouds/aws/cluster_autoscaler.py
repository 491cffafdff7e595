"""The cluster autoscaler: it sizes all managed node groups, from zero to what a pool allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi
from pulumi_kubernetes.helm.v3 import Release, RepositoryOptsArgs

from components.base import Component
from components.clouds.aws.gpu_node_pool import SPOT_SUFFIX, group_prefix
from components.clouds.aws.identity import PodRole, PodRoleArgs, Statement
from components.cluster import NodePoolArgs
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL
from components.versions import CLUSTER_AUTOSCALER_CHART_VERSION

NAMESPACE: Final = "kube-system"
NAME: Final = "cluster-autoscaler"
REPOSITORY: Final = "https://kubernetes.github.io/autoscaler"
TIMEOUT_SECONDS: Final = 600

EMPTY_ONLY: Final = "0.01"
"""Utilisation below which a node is given up. A replica takes an eighth of a node's GPUs at least, so that only nodes
without one are below: the default, 0.5, moves a loaded model to save a half-empty machine."""


@dataclass(frozen=True, kw_only=True)
class ClusterAutoscalerArgs:
    """The cluster autoscaler.

    Attributes:
        cluster_name: of the EKS cluster; EKS tags the groups that it finds with it.
        region: where.
        pools: the GPU pools.
        scale_down_minutes: a node without pods is given back after so long.
        tags: on its role.
    """

    cluster_name: str
    region: str
    pools: Sequence[NodePoolArgs]
    scale_down_minutes: int = 10
    tags: Mapping[str, str] = field(default_factory=dict)


class ClusterAutoscaler(Component):
    """Role and Helm release.

    Attributes:
        release: the controller.
    """

    def __init__(
        self,
        name: str,
        args: ClusterAutoscalerArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        role = PodRole(
            name,
            PodRoleArgs(
                region=args.region,
                cluster_name=args.cluster_name,
                namespace=NAMESPACE,
                service_account=NAME,
                statements=statements(args.cluster_name),
                tags=args.tags,
            ),
            self.child(),
            after,
        )
        self.release = Release(
            f"{name}-release",
            name=NAME,
            namespace=NAMESPACE,
            chart="cluster-autoscaler",
            version=CLUSTER_AUTOSCALER_CHART_VERSION,
            repository_opts=RepositoryOptsArgs(repo=REPOSITORY),
            values=values(args),
            timeout=TIMEOUT_SECONDS,
            cleanup_on_fail=True,
            opts=self.child(*role.ready),
        )
        self.register_outputs({"release": self.release.name})


def values(args: ClusterAutoscalerArgs) -> dict[str, Any]:
    """Values of the chart cluster-autoscaler."""
    priorities = expander_priorities(args.pools)
    return {
        "fullnameOverride": NAME,
        "cloudProvider": "aws",
        "awsRegion": args.region,
        "autoDiscovery": {"clusterName": args.cluster_name},
        "rbac": {"serviceAccount": {"create": True, "name": NAME}},
        "nodeSelector": {NODE_POOL: SYSTEM_POOL},
        "resources": {"requests": {"cpu": "100m", "memory": "600Mi"}, "limits": {"memory": "600Mi"}},
        **({"expanderPriorities": priorities} if priorities else {}),
        "extraArgs": {
            "expander": "priority,least-waste" if priorities else "least-waste",
            "scale-down-unneeded-time": f"{args.scale_down_minutes}m0s",
            "scale-down-utilization-threshold": EMPTY_ONLY,
            "scale-down-gpu-utilization-threshold": EMPTY_ONLY,
            # Exporters and plugins run on each GPU node, and are no reason to keep it.
            "ignore-daemonsets-utilization": True,
            # Engines keep caches and shared memory in an emptyDir.
            "skip-nodes-with-local-storage": False,
        },
    }


def expander_priorities(pools: Sequence[NodePoolArgs]) -> dict[str, list[str]]:
    """Which groups are asked first, by what their Auto Scaling groups are called (eks-<node group>-<uuid>).

    Empty where no pool falls back from spot.
    """
    first = [
        rf"^eks-{group_prefix(pool.gpus.name, SPOT_SUFFIX)}.*"
        for pool in pools
        if pool.capacity_type == "spot-with-fallback"
    ]
    return {"100": sorted(first), "10": [".*"]} if first else {}


def statements(cluster_name: str) -> list[Statement]:
    """What it may do: read about groups and machines, and resize the groups of this cluster.

    Source: cluster-autoscaler/cloudprovider/aws/README.md, policy with auto-discovery.
    """
    return [
        {
            "Effect": "Allow",
            "Action": [
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeLaunchConfigurations",
                "autoscaling:DescribeScalingActivities",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:GetInstanceTypesFromInstanceRequirements",
                "eks:DescribeNodegroup",
            ],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
            "Resource": "*",
            "Condition": {
                "StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster_name}": "owned"},
            },
        },
    ]
