"""Azure: AKS clusters, their GPU pools and the place for weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi
from pulumi_kubernetes.core.v1 import ConfigMap
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.clouds.azure import node_auto_provisioning as automatic
from components.clouds.azure.agent_pools import PRIORITIES
from components.clouds.azure.cluster import AzureCluster
from components.clouds.azure.gpu_node_pool import GpuNodePool
from components.clouds.azure.handle import AzureClusterHandle, azure_handle
from components.clouds.azure.identity import CONTRIBUTOR, grant
from components.clouds.azure.managed_cluster import priorities_as_text
from components.clouds.azure.weights import Weights
from components.cluster import Cloud, ClusterArgs, ClusterHandle, NodePoolArgs, WeightsVolume

PRIORITY_EXPANDER: Final = "cluster-autoscaler-priority-expander"
"""The ConfigMap that the cluster autoscaler reads, in kube-system (cluster-autoscaler-overview.md)."""


class AzureCloud:
    """Makes AKS clusters."""

    def create_cluster(self, name: str, args: ClusterArgs) -> ClusterHandle:
        """Make an AKS cluster in a resource group of its own.

        Raises:
            TypeError: the settings are another cloud's.
        """
        return AzureCluster(name, args).handle

    def create_node_pools(
        self, name: str, pools: Sequence[NodePoolArgs], cluster: ClusterHandle
    ) -> Sequence[pulumi.Resource]:
        """Make the GPU pools; the system pool is part of the cluster.

        Raises:
            TypeError: the cluster is another cloud's.
        """
        handle = azure_handle(cluster)
        inside = pulumi.ResourceOptions(provider=handle.provider)
        reservations = _reservation_grants(name, pools, handle)
        made: list[pulumi.Resource] = []
        for pool in pools:
            if pool.provisioner == "auto":
                made += automatic.gpu_pool(f"{name}-{pool.gpus.name}", pool, handle, inside).objects
            else:
                after = [*handle.guards, *([reservations[pool.reservation_id]] if pool.reservation_id else [])]
                made += GpuNodePool(f"{name}-{pool.gpus.name}", pool, handle, after=after).pools
        system = handle.settings.system_pool
        if handle.node_auto_provisioning and system.max_nodes > system.min_nodes:
            made += automatic.system_pool(f"{name}-system", handle, inside).objects
        if not handle.node_auto_provisioning:
            made.append(_priorities(name, inside))
        return made

    def create_weights(self, name: str, args: ClusterArgs, cluster: ClusterHandle) -> WeightsVolume | None:
        """Make an NFS share (shared-files) or a blob container (object-store).

        Raises:
            TypeError: the cluster is another cloud's.
        """
        if args.weights_store == "node-disk":
            return None
        return Weights(f"{name}-weights", args.weights_store, args.environment, azure_handle(cluster)).volume


def _reservation_grants(
    name: str, pools: Sequence[NodePoolArgs], cluster: AzureClusterHandle
) -> dict[str, pulumi.Resource]:
    """The role on each capacity reservation group's resource group, without which AKS makes the pool unreserved."""
    groups: dict[str, pulumi.Resource] = {}
    found: dict[str, pulumi.Resource] = {}
    for pool in pools:
        if not pool.reservation_id or pool.reservation_id in found:
            continue
        scope = "/".join(pool.reservation_id.split("/")[:5])
        if scope.lower() not in groups:
            groups[scope.lower()] = grant(
                f"{name}-reservation-{scope.rsplit('/', 1)[1].lower()}",
                CONTRIBUTOR,
                cluster.principal_id,
                scope,
                pulumi.ResourceOptions(),
            )
        found[pool.reservation_id] = groups[scope.lower()]
    return found


def _priorities(name: str, opts: pulumi.ResourceOptions) -> ConfigMap:
    """Spot first. Says nothing of single pools: it stays as it is when a pool comes or goes."""
    return ConfigMap(
        f"{name}-autoscaler-priorities",
        metadata=ObjectMetaArgs(name=PRIORITY_EXPANDER, namespace="kube-system"),
        data={"priorities": priorities_as_text(PRIORITIES)},
        opts=opts,
    )


CLOUD: Final[Cloud] = AzureCloud()
