"""Where model weights are kept: a Filestore instance, or a bucket that pods mount by Cloud Storage FUSE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_gcp import filestore, storage
from pulumi_kubernetes.core.v1 import CSIPersistentVolumeSourceArgs, PersistentVolume, PersistentVolumeSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.clouds.gcp.names import BUCKET, RESOURCE, environment_name, namespace_principals
from components.clouds.gcp.settings import FilestoreTier, GcpSettings
from components.cluster import WeightsVolume
from components.labels import EnvironmentLabels

SHARE: Final = "weights"
CREATE_TIMEOUT: Final = "30m"

FUSE_ANNOTATION: Final = "gke-gcsfuse/volumes"
"""Asks GKE for the container that mounts the bucket, beside the pod's own."""

FUSE_OPTIONS: Final = (
    # Folders of a bucket are part of objects' names.
    "implicit-dirs",
    # An engine reads a few large files from start to end: keep what was read, on the node's disk, and read ahead.
    "file-cache:max-size-mb:-1",
    "file-cache:enable-parallel-downloads:true",
)
BUCKET_CAPACITY: Final = "1Ti"
"""A bucket has no size; Kubernetes wants one."""


@dataclass(frozen=True, kw_only=True)
class WeightsStoreArgs:
    """A place for weights.

    Attributes:
        environment: whose.
        project: id.
        region: where.
        network: self link of the cluster's VPC.
        settings: tier, size (GiB) and protection.
        tags: on everything that is billed.
        deletion_protection: the store's own.
    """

    environment: str
    project: str
    region: str
    network: pulumi.Input[str]
    settings: GcpSettings
    tags: Mapping[str, str] = field(default_factory=dict)
    deletion_protection: bool = False


class FilestoreWeights(Component):
    """A Filestore instance of the environment's own.

    One that Kubernetes makes for a claim is left over when the cluster goes before the claim's volume was deleted.

    Attributes:
        volume: how pods mount it.
    """

    def __init__(self, name: str, args: WeightsStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gcp", name, opts)
        settings = args.settings
        regional = settings.filestore_tier is FilestoreTier.REGIONAL
        location = args.region if regional else str(settings.zone)
        instance_name = environment_name(args.environment, "", RESOURCE)
        instance = filestore.Instance(
            f"{name}-filestore",
            name=instance_name,
            location=location,
            tier=settings.filestore_tier.value,
            file_shares=filestore.InstanceFileSharesArgs(name=SHARE, capacity_gb=settings.filestore_capacity_gib),
            networks=[filestore.InstanceNetworkArgs(network=args.network, modes=["MODE_IPV4"])],
            labels=dict(args.tags) or None,
            # Only the tiers that keep snapshots know it.
            deletion_protection_enabled=args.deletion_protection if regional else None,
            opts=self.child(timeout=CREATE_TIMEOUT),
        )
        capacity = f"{settings.filestore_capacity_gib}Gi"
        address = instance.networks.apply(lambda networks: _address(networks[0].ip_addresses))
        volume = PersistentVolume(
            f"{name}-volume",
            metadata=ObjectMetaArgs(name=instance_name, labels=EnvironmentLabels(args.environment).shared),
            spec=PersistentVolumeSpecArgs(
                storage_class_name="",
                capacity={"storage": capacity},
                access_modes=["ReadWriteMany"],
                persistent_volume_reclaim_policy="Retain",
                csi=CSIPersistentVolumeSourceArgs(
                    driver="filestore.csi.storage.gke.io",
                    volume_handle=f"modeInstance/{location}/{instance_name}/{SHARE}",
                    volume_attributes={"ip": address, "volume": SHARE},
                ),
            ),
            opts=self.child(instance),
        )
        self.volume = WeightsVolume(storage_class="", volume_name=instance_name, capacity=capacity, after=(volume,))
        self.register_outputs({"volume": instance_name})


def _address(addresses: Sequence[str] | None) -> str:
    return addresses[0] if addresses else ""


class BucketWeights(Component):
    """A bucket that the pods of the environment's namespace may read and write, and nobody else by this.

    Attributes:
        volume: how pods mount it.
    """

    def __init__(self, name: str, args: WeightsStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gcp", name, opts)
        settings, labels = args.settings, EnvironmentLabels(args.environment)
        # Names of buckets are the whole world's: the project's id makes it ours.
        bucket_name = environment_name(args.environment, args.project.replace(":", "-").replace(".", "-"), BUCKET)
        bucket = storage.Bucket(
            f"{name}-bucket",
            name=bucket_name,
            project=args.project,
            location=args.region.upper(),
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            # Weights can be downloaded again: kept versions of them would only cost.
            soft_delete_policy=storage.BucketSoftDeletePolicyArgs(retention_duration_seconds=0),
            force_destroy=not settings.keep_weights,
            labels=dict(args.tags) or None,
            opts=self.child(),
        )
        member = namespace_principals(args.project, settings.project_number or 0, labels.namespace)
        grant = storage.BucketIAMMember(
            f"{name}-pods",
            bucket=bucket.name,
            role="roles/storage.objectUser",
            member=member,
            opts=self.child(),
        )
        volume_name = environment_name(args.environment, "weights", RESOURCE)
        volume = PersistentVolume(
            f"{name}-volume",
            metadata=ObjectMetaArgs(name=volume_name, labels=labels.shared),
            spec=PersistentVolumeSpecArgs(
                storage_class_name="",
                capacity={"storage": BUCKET_CAPACITY},
                access_modes=["ReadWriteMany"],
                persistent_volume_reclaim_policy="Retain",
                mount_options=list(FUSE_OPTIONS),
                csi=CSIPersistentVolumeSourceArgs(driver="gcsfuse.csi.storage.gke.io", volume_handle=bucket.name),
            ),
            opts=self.child(),
        )
        self.volume = WeightsVolume(
            storage_class="",
            volume_name=volume_name,
            capacity=BUCKET_CAPACITY,
            pod_annotations={FUSE_ANNOTATION: "true"},
            # Only new files that are written in sequence go straight to the bucket (gcsfuse docs/semantics.md).
            whole_files=True,
            after=(volume, grant),
        )
        self.register_outputs({"volume": volume_name})
