"""An AKS cluster as the other parts of this package see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from components.clouds.azure.settings import AzureSettings
from components.cluster import ClusterHandle


@dataclass(frozen=True, kw_only=True)
class AzureClusterHandle(ClusterHandle):
    """What agent pools and weights need to know of their cluster.

    Attributes:
        resource_group: name of the group that everything of the environment is in.
        resource_group_id: its id.
        location: Azure region.
        name: of the cluster at Azure.
        kubernetes_version: minor version that its nodes get.
        subnet_id: of its nodes.
        principal_id: object id of the control plane's identity.
        kubelet_object_id: of the identity that nodes pull images and mount volumes with.
        kubelet_client_id: of the same.
        guards: what keeps the cluster from being deleted; pools are made after it and destroyed before it, so that a
            destroy meets it while the pools are there.
        node_auto_provisioning: whether it makes nodes for pods by itself.
        settings: the section `azure`.
        tags: on everything that is billed.
    """

    resource_group: pulumi.Input[str]
    resource_group_id: pulumi.Output[str]
    location: str
    name: pulumi.Input[str]
    kubernetes_version: str
    subnet_id: pulumi.Input[str]
    principal_id: pulumi.Input[str]
    kubelet_object_id: pulumi.Output[str]
    kubelet_client_id: pulumi.Output[str]
    node_auto_provisioning: bool
    settings: AzureSettings
    guards: Sequence[pulumi.Resource] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def azure_handle(cluster: ClusterHandle) -> AzureClusterHandle:
    """The handle that this cloud's `create_cluster` gave.

    Raises:
        TypeError: it is another cloud's.
    """
    if not isinstance(cluster, AzureClusterHandle):
        raise TypeError(f"an Azure cluster is needed, not a {type(cluster).__name__}")
    return cluster
