"""The cluster of an environment: the first thing that the program registers.

What pods are made of is not imported here: the program does so while the engine starts the cluster's provider.
"""

from __future__ import annotations

from components.clouds import load_cloud
from components.cluster import ClusterArgs, ClusterHandle
from stacks.config import EnvironmentConfig
from stacks.config.checks_cloud import settings_of


def create_cluster(config: EnvironmentConfig, environment: str) -> ClusterHandle:
    """Make or join the environment's cluster.

    Args:
        config: from `load_environment`, which has checked it.
        environment: its name, which is the stack's.

    Raises:
        ClusterUnreachableError: the cloud's cluster should be there and is not.
        CloudSdkMissingError: the cloud's SDK is not installed.
    """
    return load_cloud(config.cloud.value).create_cluster(environment, cluster_args(config, environment))


def cluster_args(config: EnvironmentConfig, environment: str) -> ClusterArgs:
    """What the cloud is told about the cluster."""
    cluster = config.cluster
    return ClusterArgs(
        environment=environment,
        gateway_host_port=config.gateway.host_port,
        region=config.region or "",
        kubernetes_version=cluster.kubernetes_version or "",
        private_endpoint=cluster.private_endpoint,
        authorized_networks=cluster.authorized_networks,
        audit_logs=cluster.audit_logs,
        deletion_protection=cluster.deletion_protection,
        weights_store=config.weights.store.value,
        provisioners=frozenset(pool.provisioner.value for pool in config.node_pools),
        tags=config.tags,
        settings=settings_of(config),
    )
