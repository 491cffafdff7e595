"""The cloud `existing`: joins a cluster that is there, and makes nothing in it but the environment itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi

from components.clouds.existing.cluster import ExistingCluster, ExistingClusterArgs
from components.clouds.existing.settings import ExistingSettings
from components.cluster import Cloud, ClusterArgs, ClusterHandle, NodePoolArgs, WeightsVolume


class ExistingCloud:
    """A cluster of a platform team; its nodes carry labels and taints by which pods find them."""

    def create_cluster(self, name: str, args: ClusterArgs) -> ClusterHandle:
        """Join the cluster.

        Raises:
            ClusterUnreachableError: it does not answer.
            ValueError: the settings name no cluster, which the configuration's checks refuse.
        """
        settings = _settings(args)
        return ExistingCluster(name, ExistingClusterArgs(environment=args.environment, settings=settings)).handle

    def create_node_pools(
        self, name: str, pools: Sequence[NodePoolArgs], cluster: ClusterHandle
    ) -> Sequence[pulumi.Resource]:
        """Nothing: the nodes are there, or an autoscaler of the cluster's owner makes them."""
        return ()

    def create_weights(self, name: str, args: ClusterArgs, cluster: ClusterHandle) -> WeightsVolume | None:
        """Nothing is made: a volume or a storage class of the cluster is used."""
        settings = _settings(args)
        if args.weights_store == "node-disk":
            return None
        if settings.weights_volume is not None:
            bucket = args.weights_store == "object-store"
            return WeightsVolume(storage_class="", volume_name=settings.weights_volume, whole_files=bucket)
        return WeightsVolume(storage_class=settings.storage_class or "")


def _settings(args: ClusterArgs) -> ExistingSettings:
    if not isinstance(args.settings, ExistingSettings):
        raise ValueError("the section existing is missing: it says which cluster")  # noqa: TRY004 - a value is missing
    return args.settings


CLOUD: Final[Cloud] = ExistingCloud()
