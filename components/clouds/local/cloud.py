"""The local cloud: joins the embedded cluster and adds simulated nodes to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi

from components.clouds.local.cluster import LocalCluster, LocalClusterArgs, ensure_reachable, kubeconfig_path
from components.cluster import Cloud, ClusterArgs, ClusterHandle, NodePoolArgs, WeightsVolume


class LocalCloud:
    """Joins the embedded cluster that `make up` started and adds simulated nodes to it."""

    def create_cluster(self, name: str, args: ClusterArgs) -> ClusterHandle:
        """Join the embedded cluster.

        Raises:
            ClusterUnreachableError: it is not running.
        """
        kubeconfig = kubeconfig_path(args.environment)
        ensure_reachable(kubeconfig)
        cluster = LocalCluster(
            name,
            LocalClusterArgs(
                environment=args.environment, kubeconfig=kubeconfig, gateway_host_port=args.gateway_host_port
            ),
        )
        return cluster.handle

    def create_node_pools(
        self, name: str, pools: Sequence[NodePoolArgs], cluster: ClusterHandle
    ) -> Sequence[pulumi.Resource]:
        """Make simulated nodes: one system node, and every pool at its largest."""
        from components.clouds.local.gpu_node_pool import GpuNodePool, SystemNodePool

        opts = pulumi.ResourceOptions(provider=cluster.provider)
        system = SystemNodePool(f"{name}-system", opts)
        gpu_pools = [GpuNodePool(f"{name}-{pool.gpus.name}", pool, opts) for pool in pools]
        return [*system.nodes, *(node for pool in gpu_pools for node in pool.nodes)]

    def create_weights(self, name: str, args: ClusterArgs, cluster: ClusterHandle) -> WeightsVolume | None:
        """Nothing: a simulated engine has no weights."""
        return None


CLOUD: Final[Cloud] = LocalCloud()
