"""AWS: composes network, EKS cluster, node pools, autoscalers and stores of weights, in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws

from components.accelerators.node_images import NodeImage
from components.clouds.aws.access import ClusterAccess, ClusterAccessArgs
from components.clouds.aws.addons import AddonsArgs, NodeAddons, PodAddons
from components.clouds.aws.cluster import EksCluster, EksClusterArgs
from components.clouds.aws.cluster_autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from components.clouds.aws.gpu_node_pool import GpuNodePool, GpuNodePoolArgs
from components.clouds.aws.identity import ServiceRole, ServiceRoleArgs
from components.clouds.aws.karpenter import Karpenter, KarpenterArgs
from components.clouds.aws.karpenter_node_pool import KarpenterNodePool, KarpenterNodePoolArgs
from components.clouds.aws.network import Network, NetworkArgs
from components.clouds.aws.places import DEFAULT_REGION, default_zones
from components.clouds.aws.settings import AwsSettings, SharedFiles
from components.clouds.aws.system_node_pool import SystemNodePool, SystemNodePoolArgs
from components.clouds.aws.weights import BucketWeights, EfsWeights, LustreWeights, WeightsArgs
from components.cluster import (
    Cloud,
    ClusterArgs,
    ClusterHandle,
    GatewayExposure,
    NodePoolArgs,
    WeightsVolume,
)
from components.labels import ENVIRONMENT
from components.versions import AWS_KUBERNETES_VERSION

NODE_POLICIES: Final = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    # The network of a node is up before its pods, and so before Pod Identity could give the CNI a role of its own.
    "AmazonEKS_CNI_Policy",
)


@dataclass(frozen=True, kw_only=True)
class EksHandle(ClusterHandle):
    """A cluster on EKS.

    Attributes:
        aws: provider for the region.
        region: where.
        cluster_name: at EKS.
        version: of Kubernetes, minor.
        network: VPC and subnets.
        cluster: the control plane.
        node_role_arn: role of nodes of managed node groups.
        settings: what only AWS was told.
        addons: add-ons' versions and tags.
        ready: routes, policies and add-ons that nodes need.
        tags: on everything.
    """

    aws: pulumi_aws.Provider
    region: str
    cluster_name: str
    version: str
    network: Network
    cluster: EksCluster
    node_role_arn: pulumi.Input[str]
    settings: AwsSettings
    addons: AddonsArgs
    ready: Sequence[pulumi.Resource]
    tags: dict[str, str]

    @property
    def options(self) -> pulumi.ResourceOptions:
        """Options of components on this cluster: both providers."""
        return pulumi.ResourceOptions(providers=[self.aws, self.provider])

    @property
    def subnets(self) -> dict[str, pulumi.Output[str]]:
        """Id of each zone's private subnet."""
        return {zone: subnet.id for zone, subnet in self.network.private.items()}


class AwsCloud:
    """Amazon EKS."""

    def create_cluster(self, name: str, args: ClusterArgs) -> ClusterHandle:
        """Make network, control plane, CPU nodes and add-ons."""
        settings = args.settings if isinstance(args.settings, AwsSettings) else AwsSettings()
        region = args.region or DEFAULT_REGION
        version = args.kubernetes_version or AWS_KUBERNETES_VERSION
        cluster_name = f"inference-{args.environment}"
        tags = {ENVIRONMENT: args.environment, **args.tags}
        aws = pulumi_aws.Provider(f"{name}-aws", region=region)
        opts = pulumi.ResourceOptions(provider=aws)
        network = Network(
            f"{name}-network",
            NetworkArgs(
                region=region,
                zones=settings.availability_zones or default_zones(region),
                cidr=settings.vpc_cidr,
                cluster_name=cluster_name,
                nat_gateways=settings.nat_gateways,
                tags=tags,
            ),
            opts,
        )
        subnet_ids = [subnet.id for subnet in network.private.values()]
        cluster = EksCluster(
            name,
            EksClusterArgs(
                cluster_name=cluster_name,
                region=region,
                version=version,
                subnet_ids=subnet_ids,
                private_endpoint=args.private_endpoint,
                authorized_networks=args.authorized_networks,
                audit_logs=args.audit_logs,
                log_retention_days=settings.log_retention_days,
                deletion_protection=args.deletion_protection,
                admins=settings.admins,
                tags=tags,
            ),
            opts,
        )
        addons = AddonsArgs(
            cluster_name=cluster.cluster.name,
            region=region,
            versions=settings.addon_versions,
            node_monitoring=settings.node_repair,
            tags=tags,
        )
        role = ServiceRole(
            f"{name}-node",
            ServiceRoleArgs(region=region, service="ec2.amazonaws.com", managed_policies=NODE_POLICIES, tags=tags),
            opts,
        )
        before_nodes = NodeAddons(f"{name}-node-addons", addons, opts)
        ready = (*network.routes, *role.policies, *before_nodes.addons)
        system = SystemNodePool(
            f"{name}-system",
            SystemNodePoolArgs(
                cluster_name=cluster.cluster.name,
                version=version,
                node_role_arn=role.role.arn,
                subnet_ids=subnet_ids,
                instance_type=settings.system_instance_type,
                min_nodes=settings.system_min_nodes,
                max_nodes=settings.system_max_nodes,
                node_repair=settings.node_repair,
                tags=tags,
            ),
            opts,
            after=ready,
        )
        after_nodes = PodAddons(f"{name}-addons", addons, opts, after=(system.group,))
        access = ClusterAccess(
            name,
            ClusterAccessArgs(endpoint=cluster.cluster.endpoint, kubeconfig=cluster.kubeconfig),
            after=(system.group, *after_nodes.addons),
        )
        return EksHandle(
            provider=access.provider,
            provides=frozenset(),
            node_image=NodeImage.EKS_AL2023_NVIDIA,
            simulated=False,
            kubeconfig=cluster.kubeconfig,
            gateway=exposure(public=settings.public_gateway),
            aws=aws,
            region=region,
            cluster_name=cluster_name,
            version=version,
            network=network,
            cluster=cluster,
            node_role_arn=role.role.arn,
            settings=settings,
            addons=addons,
            ready=ready,
            tags=tags,
        )

    def create_node_pools(
        self, name: str, pools: Sequence[NodePoolArgs], cluster: ClusterHandle
    ) -> Sequence[pulumi.Resource]:
        """Make the GPU node pools and the controllers that size them."""
        eks = _ours(cluster)
        groups = [pool for pool in pools if pool.provisioner == "node-group"]
        made = [
            GpuNodePool(
                f"{name}-{pool.gpus.name}",
                GpuNodePoolArgs(
                    pool=pool,
                    cluster_name=eks.cluster.cluster.name,
                    version=eks.version,
                    node_role_arn=eks.node_role_arn,
                    subnets=eks.subnets,
                    node_repair=eks.settings.node_repair,
                    tags=eks.tags,
                ),
                eks.options,
                after=eks.ready,
            )
            for pool in groups
        ]
        # The CPU nodes are a managed node group too, so that it is always there.
        autoscaler = ClusterAutoscaler(
            f"{name}-cluster-autoscaler",
            ClusterAutoscalerArgs(
                cluster_name=eks.cluster_name,
                region=eks.region,
                pools=groups,
                scale_down_minutes=eks.settings.scale_down_minutes,
                tags=eks.tags,
            ),
            eks.options,
            after=(eks.provider,),
        )
        wanted = [pool for pool in pools if pool.provisioner == "auto"]
        return [
            autoscaler.release,
            *(group for pool in made for group in pool.groups),
            *(_karpenter(name, wanted, eks) if wanted else ()),
        ]

    def create_weights(self, name: str, args: ClusterArgs, cluster: ClusterHandle) -> WeightsVolume | None:
        """Make the file system or bucket that holds model weights."""
        eks = _ours(cluster)
        store = weights_store(args.weights_store, eks.settings)
        if store is None:
            return None
        return store(
            f"{name}-weights",
            WeightsArgs(
                environment=args.environment,
                addons=eks.addons,
                cluster_name=eks.cluster_name,
                vpc_id=eks.network.vpc.id,
                subnets=eks.subnets,
                security_group_id=eks.cluster.security_group_id,
                lustre_gib=eks.settings.lustre_gib,
                force_destroy=not args.deletion_protection,
                tags=eks.tags,
            ),
            eks.options,
            # Drivers run on nodes, and go before them.
            after=(eks.provider,),
        ).volume


def weights_store(name: str, settings: AwsSettings) -> type[EfsWeights | LustreWeights | BucketWeights] | None:
    """The component of a store; None where each node keeps its own copy."""
    if name == "object-store":
        return BucketWeights
    if name == "shared-files":
        return LustreWeights if settings.shared_files is SharedFiles.FSX_LUSTRE else EfsWeights
    return None


def _karpenter(name: str, pools: Sequence[NodePoolArgs], cluster: EksHandle) -> list[pulumi.Resource]:
    """Karpenter and its pools; what workloads come after."""
    karpenter = Karpenter(
        f"{name}-karpenter",
        KarpenterArgs(
            cluster_name=cluster.cluster_name,
            region=cluster.region,
            node_policies=NODE_POLICIES,
            replicas=min(2, cluster.settings.system_min_nodes),
            tags=cluster.tags,
        ),
        cluster.options,
        after=(cluster.provider,),
    )
    return [
        KarpenterNodePool(
            f"{name}-{pool.gpus.name}",
            KarpenterNodePoolArgs(
                pool=pool,
                subnets=cluster.subnets,
                security_group_id=cluster.cluster.security_group_id,
                instance_profile=karpenter.instance_profile,
                scale_down_minutes=cluster.settings.scale_down_minutes,
                tags=cluster.tags,
            ),
            cluster.options,
            after=(*cluster.network.routes, karpenter.release),
        ).node_pool
        for pool in pools
    ]


def exposure(*, public: bool) -> GatewayExposure:
    """The gateway behind a network load balancer.

    The control plane's own controller makes it and takes it away: a destroy needs no controller in the cluster for it.
    """
    internal = {} if public else {"service.beta.kubernetes.io/aws-load-balancer-internal": "true"}
    return GatewayExposure(
        service_type="LoadBalancer",
        annotations={
            "service.beta.kubernetes.io/aws-load-balancer-type": "nlb",
            "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled": "true",
            **internal,
        },
    )


def _ours(cluster: ClusterHandle) -> EksHandle:
    if not isinstance(cluster, EksHandle):
        raise TypeError(f"the cloud aws got a cluster of another cloud: {type(cluster).__name__}")
    return cluster


CLOUD: Final[Cloud] = AwsCloud()
