"""A GKE cluster as the other parts of this package see it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pulumi
import pulumi_gcp as gcp

from components.clouds.gcp.names import COMPUTE_CLASS
from components.clouds.gcp.settings import GcpSettings
from components.cluster import ClusterHandle
from components.scheduling import GpuPool


@dataclass(frozen=True, kw_only=True)
class GkeHandle(ClusterHandle):
    """What node pools and weights need to know of their cluster.

    Attributes:
        cloud: the provider for all that Google Cloud makes.
        project: id.
        region: of the cluster.
        location: region or zone of the control plane.
        cluster_name: at Google Cloud; known once the cluster is there.
        network: self link of the VPC.
        service_account: e-mail address of the nodes.
        system: the CPU nodes: GPU nodes come after them, or GKE would put its own pods there.
        settings: the section `gcp`.
    """

    cloud: gcp.Provider
    project: str
    region: str
    location: str
    cluster_name: pulumi.Output[str]
    network: pulumi.Output[str]
    service_account: pulumi.Output[str]
    system: pulumi.Resource
    settings: GcpSettings

    def placed(self, pool: GpuPool) -> GpuPool:
        """Pods of a ComputeClass select its nodes by the class, which is how GKE knows what to make for them."""
        found = super().placed(pool)
        classes = [taint.value for taint in pool.taints if taint.key == COMPUTE_CLASS]
        return replace(found, selector={COMPUTE_CLASS: classes[0]}) if classes else found

    @property
    def providers(self) -> pulumi.ResourceOptions:
        """Options of a component whose children are Google Cloud's or the cluster's."""
        return pulumi.ResourceOptions(providers=[self.cloud, self.provider])


def gke_handle(cluster: ClusterHandle) -> GkeHandle:
    """The handle that this cloud's `create_cluster` gave.

    Raises:
        TypeError: it is another cloud's.
    """
    if not isinstance(cluster, GkeHandle):
        raise TypeError(f"a GKE cluster is needed, not a {type(cluster).__name__}")
    return cluster
