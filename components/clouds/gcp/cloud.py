"""The cloud `gcp`: a GKE Standard cluster in a network of its own, and node pools or ComputeClasses with GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
import pulumi_gcp as gcp
from pulumi_kubernetes import Provider

from components.accelerators.node_images import NodeImage
from components.clouds.gcp.cluster import GkeCluster, GkeClusterArgs
from components.clouds.gcp.compute_class import GkeComputeClass, GkeComputeClassArgs
from components.clouds.gcp.gpu_node_pool import GkeNodePoolArgs, GpuNodePool
from components.clouds.gcp.handle import GkeHandle, gke_handle
from components.clouds.gcp.identity import NodeIdentity, NodeIdentityArgs
from components.clouds.gcp.kubeconfig import kubeconfig
from components.clouds.gcp.network import GkeNetwork, GkeNetworkArgs
from components.clouds.gcp.rules import DEFAULT_REGION
from components.clouds.gcp.settings import GcpSettings
from components.clouds.gcp.system_node_pool import SystemNodePool, SystemNodePoolArgs
from components.clouds.gcp.weights import BucketWeights, FilestoreWeights, WeightsStoreArgs
from components.cluster import (
    Capability,
    Cloud,
    ClusterArgs,
    ClusterHandle,
    GatewayExposure,
    NodePoolArgs,
    WeightsVolume,
)

INTERNAL: Final = {"networking.gke.io/load-balancer-type": "Internal"}
PUBLIC: Final = {"cloud.google.com/l4-rbs": "enabled"}
"""A load balancer of Google's newer kind (backend services), with a public address."""


class GcpCloud:
    """GKE."""

    def create_cluster(self, name: str, args: ClusterArgs) -> ClusterHandle:
        """Make network, identity of nodes, control plane and CPU nodes.

        Raises:
            ValueError: the settings name no project, which the configuration's checks refuse.
        """
        settings = args.settings if isinstance(args.settings, GcpSettings) else GcpSettings()
        if settings.project is None:
            raise ValueError("gcp.project is missing: the project that everything is made in")
        region = args.region or DEFAULT_REGION
        location = settings.zone or region
        cloud = gcp.Provider(f"{name}-gcp", project=settings.project, region=region)
        opts = pulumi.ResourceOptions(provider=cloud)
        network = GkeNetwork(name, GkeNetworkArgs(environment=args.environment, region=region, settings=settings), opts)
        identity = NodeIdentity(name, NodeIdentityArgs(environment=args.environment, project=settings.project), opts)
        made = GkeCluster(
            name,
            GkeClusterArgs(
                cluster=args,
                settings=settings,
                project=settings.project,
                location=location,
                network=network,
                identity=identity,
            ),
            opts,
        )
        system = SystemNodePool(
            f"{name}-system",
            SystemNodePoolArgs(
                cluster=made.cluster.name,
                location=location,
                service_account=identity.account.email,
                settings=settings,
                tags=args.tags,
            ),
            opts,
        )
        contents = _kubeconfig(made, settings)
        provider = Provider(
            f"{name}-provider",
            kubeconfig=contents,
            # Known before the cluster is: a preview need not fear for what is in it.
            cluster_identifier=f"gke_{settings.project}_{location}_{made.name}",
        )
        return GkeHandle(
            provider=provider,
            provides=_provides(settings),
            node_image=NodeImage.GKE_COS,
            simulated=False,
            kubeconfig=contents,
            gateway=GatewayExposure(
                service_type="LoadBalancer", annotations=PUBLIC if settings.public_gateway else INTERNAL
            ),
            cloud=cloud,
            project=settings.project,
            region=region,
            location=location,
            cluster_name=made.cluster.name,
            network=network.network.id,
            service_account=identity.account.email,
            system=system.pool,
            settings=settings,
        )

    def create_node_pools(
        self, name: str, pools: Sequence[NodePoolArgs], cluster: ClusterHandle
    ) -> Sequence[pulumi.Resource]:
        """Make a node pool or a ComputeClass for each, after the CPU nodes."""
        gke = gke_handle(cluster)
        made: list[pulumi.Resource] = [gke.system]
        for pool in pools:
            child = f"{name}-{pool.gpus.name}"
            if pool.provisioner == "auto":
                ladder = GkeComputeClassArgs(pool=pool, service_account=gke.service_account, settings=gke.settings)
                made.append(GkeComputeClass(child, ladder, gke.providers, after=(gke.system,)).resource)
            else:
                nodes = GkeNodePoolArgs(
                    pool=pool,
                    cluster=gke.cluster_name,
                    location=gke.location,
                    service_account=gke.service_account,
                    settings=gke.settings,
                )
                made.extend(GpuNodePool(child, nodes, gke.providers, after=(gke.system,)).pools)
        return made

    def create_weights(self, name: str, args: ClusterArgs, cluster: ClusterHandle) -> WeightsVolume | None:
        """Make a Filestore instance or a bucket; nothing with node-disk."""
        if args.weights_store == "node-disk":
            return None
        gke = gke_handle(cluster)
        store = WeightsStoreArgs(
            environment=args.environment,
            project=gke.project,
            region=gke.region,
            network=gke.network,
            settings=gke.settings,
            tags=args.tags,
            deletion_protection=args.deletion_protection,
        )
        kind = FilestoreWeights if args.weights_store == "shared-files" else BucketWeights
        return kind(f"{name}-weights", store, gke.providers).volume


def _provides(settings: GcpSettings) -> frozenset[Capability]:
    """GKE's device plugin is always there; its DCGM exporter if it is asked for."""
    managed = {Capability.DCGM_EXPORTER} if settings.managed_dcgm else set()
    return frozenset({Capability.DEVICE_PLUGIN, *managed})


def _kubeconfig(made: GkeCluster, settings: GcpSettings) -> pulumi.Output[str]:
    cluster = made.cluster
    if settings.dns_endpoint:
        endpoints = cluster.control_plane_endpoints_config
        host = endpoints.apply(lambda found: found.dns_endpoint_config.endpoint if found.dns_endpoint_config else "")
        return pulumi.Output.secret(host.apply(lambda name: kubeconfig(made.name, name or "", None)))
    certificate = cluster.master_auth.apply(lambda found: found.cluster_ca_certificate)
    both = pulumi.Output.all(cluster.endpoint, certificate)
    return pulumi.Output.secret(both.apply(lambda found: kubeconfig(made.name, found[0], found[1])))


CLOUD: Final[Cloud] = GcpCloud()
