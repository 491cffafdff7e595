"""The Kubernetes provider of a cluster, and the storage class that claims get by default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import Provider
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.storage.v1 import StorageClass

from components.base import Component


@dataclass(frozen=True, kw_only=True)
class ClusterAccessArgs:
    """Access to a cluster.

    Attributes:
        endpoint: URL of the API server; another cluster has another, also under the same name.
        kubeconfig: a secret.
    """

    endpoint: pulumi.Input[str]
    kubeconfig: pulumi.Input[str]


class ClusterAccess(Component):
    """The provider for all objects of a cluster.

    It is made after everything that pods need (routes, nodes, add-ons), and every object is made through it: so
    whatever runs in the cluster goes before what it needs to end properly.

    Attributes:
        provider: for all objects in the cluster.
    """

    def __init__(
        self,
        name: str,
        args: ClusterAccessArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        self.provider = Provider(
            f"{name}-provider",
            kubeconfig=args.kubeconfig,
            # A new cluster has none of the old one's objects: they are made anew then, and only then.
            cluster_identifier=args.endpoint,
            opts=self.child(),
        )
        StorageClass(
            f"{name}-gp3",
            metadata=ObjectMetaArgs(name="gp3", annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
            provisioner="ebs.csi.aws.com",
            parameters={"type": "gp3", "encrypted": "true"},
            # The volume is made in the zone in which its pod runs.
            volume_binding_mode="WaitForFirstConsumer",
            allow_volume_expansion=True,
            reclaim_policy="Delete",
            opts=pulumi.ResourceOptions(parent=self, provider=self.provider),
        )
        self.register_outputs({})
