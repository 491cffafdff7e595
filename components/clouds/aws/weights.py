"""Where model weights are kept on AWS: EFS or FSx for Lustre as shared files, or an S3 bucket that pods mount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_aws import ec2, efs, fsx, s3, vpc
from pulumi_kubernetes.core.v1 import CSIPersistentVolumeSourceArgs, PersistentVolume, PersistentVolumeSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.storage.v1 import StorageClass

from components.base import Component
from components.clouds.aws.addons import EFS, FSX, S3, AddonsArgs, create_driver
from components.clouds.aws.identity import PodRole, PodRoleArgs, Statement
from components.clouds.aws.names import BUCKET_PREFIX, prefix
from components.cluster import WeightsVolume

CLAIM_CAPACITY: Final = "500Gi"
"""What a claim asks for where the store has no size of its own."""

NFS: Final = ((2049, 2049),)
LUSTRE: Final = ((988, 988), (1018, 1023))
"""Ports of a store; first and last."""


@dataclass(frozen=True, kw_only=True)
class WeightsArgs:
    """A store of weights.

    Attributes:
        environment: whose.
        addons: of the cluster.
        cluster_name: of the EKS cluster.
        vpc_id: its network.
        subnets: private subnet of each zone.
        security_group_id: of control plane and nodes.
        lustre_gib: size of a Lustre file system.
        force_destroy: delete a bucket together with what is in it.
        tags: on everything.
    """

    environment: str
    addons: AddonsArgs
    cluster_name: str
    vpc_id: pulumi.Input[str]
    subnets: Mapping[str, pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    lustre_gib: int = 2400
    force_destroy: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StaticVolumeArgs:
    """A PersistentVolume of a store that is there.

    Attributes:
        volume: its name.
        capacity: what it says it has.
        driver: CSI driver.
        handle: by which the driver knows it.
        attributes: of the driver.
        mount_options: of the driver.
    """

    volume: str
    capacity: str
    driver: str
    handle: pulumi.Input[str]
    attributes: Mapping[str, pulumi.Input[str]]
    mount_options: Sequence[str]


class EfsWeights(Component):
    """A file system that grows by itself, with a way in from each zone.

    Attributes:
        volume: how pods mount it.
    """

    def __init__(
        self,
        name: str,
        args: WeightsArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        files = efs.FileSystem(
            name,
            encrypted=True,
            # Reads of a start come all at once: with bursting credits a small file system would starve it.
            throughput_mode="elastic",
            performance_mode="generalPurpose",
            tags={**args.tags, "Name": name},
            opts=self.child(),
        )
        door = open_ports(self, name, args, NFS)
        targets = [
            efs.MountTarget(
                f"{name}-{zone[-1]}",
                file_system_id=files.id,
                subnet_id=subnet,
                security_groups=[door],
                opts=self.child(),
            )
            for zone, subnet in args.subnets.items()
        ]
        driver = create_driver(self, name, EFS, args.addons)
        made = StorageClass(
            f"{name}-class",
            metadata=ObjectMetaArgs(name="weights"),
            provisioner="efs.csi.aws.com",
            parameters={
                "provisioningMode": "efs-ap",
                "fileSystemId": files.id,
                "directoryPerms": "755",
                "basePath": "/weights",
            },
            volume_binding_mode="Immediate",
            reclaim_policy="Delete",
            opts=self.child(driver, *targets),
        )
        self.volume = WeightsVolume(storage_class="weights", capacity=CLAIM_CAPACITY, after=(made,))
        self.register_outputs({"fileSystem": files.id})


class LustreWeights(Component):
    """A parallel file system in one zone, as a volume that is there already.

    Attributes:
        volume: how pods mount it.
    """

    def __init__(
        self,
        name: str,
        args: WeightsArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        files = fsx.LustreFileSystem(
            name,
            # Weights can be fetched again: scratch storage is a third of the price of storage that survives a disk.
            deployment_type="SCRATCH_2",
            storage_type="SSD",
            storage_capacity=args.lustre_gib,
            subnet_ids=next(iter(args.subnets.values())),
            security_group_ids=[open_ports(self, name, args, LUSTRE)],
            tags={**args.tags, "Name": name},
            opts=self.child(),
        )
        driver = create_driver(self, name, FSX, args.addons)
        volume = static_volume(
            self,
            f"{name}-volume",
            StaticVolumeArgs(
                volume=f"weights-{args.environment}",
                capacity=f"{args.lustre_gib}Gi",
                driver="fsx.csi.aws.com",
                handle=files.id,
                attributes={"dnsname": files.dns_name, "mountname": files.mount_name},
                mount_options=("flock",),
            ),
            driver,
        )
        self.volume = WeightsVolume(
            storage_class="",
            volume_name=f"weights-{args.environment}",
            capacity=f"{args.lustre_gib}Gi",
            after=(volume,),
        )
        self.register_outputs({"fileSystem": files.id})


class BucketWeights(Component):
    """A bucket that pods mount (Mountpoint for Amazon S3).

    Reading is fast, from any offset. Writing is only of new files, from first byte to last, and nothing can be renamed:
    a loader writes to a disk of its own first and then copies.

    Attributes:
        volume: how pods mount it.
    """

    def __init__(
        self,
        name: str,
        args: WeightsArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        bucket = s3.Bucket(
            name,
            bucket_prefix=prefix(f"{args.cluster_name}-weights", BUCKET_PREFIX),
            force_destroy=args.force_destroy,
            tags=dict(args.tags),
            opts=self.child(),
        )
        s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self.child(),
        )
        role = PodRole(
            f"{name}-driver",
            PodRoleArgs(
                region=args.addons.region,
                cluster_name=args.addons.cluster_name,
                namespace="kube-system",
                service_account=S3.service_account,
                statements=bucket.arn.apply(bucket_statements),
                associate=False,
                tags=args.tags,
            ),
            self.child(),
            after,
        )
        driver = create_driver(self, name, S3, args.addons, role)
        volume = static_volume(
            self,
            f"{name}-volume",
            StaticVolumeArgs(
                volume=f"weights-{args.environment}",
                capacity=CLAIM_CAPACITY,
                driver="s3.csi.aws.com",
                handle=f"weights-{args.environment}",
                attributes={"bucketName": bucket.id},
                mount_options=(f"region {args.addons.region}", "allow-delete", "allow-overwrite", "allow-other"),
            ),
            driver,
        )
        self.volume = WeightsVolume(
            storage_class="",
            volume_name=f"weights-{args.environment}",
            capacity=CLAIM_CAPACITY,
            whole_files=True,
            after=(volume,),
        )
        self.register_outputs({"bucket": bucket.id})


def open_ports(parent: Component, name: str, args: WeightsArgs, ports: Sequence[tuple[int, int]]) -> pulumi.Output[str]:
    """A security group that lets the cluster's nodes in, and among each other the servers of the store; its id."""
    group = ec2.SecurityGroup(
        f"{name}-group",
        name_prefix=prefix(name, BUCKET_PREFIX),
        description="Model weights, for the nodes of the cluster",
        vpc_id=args.vpc_id,
        tags={**args.tags, "Name": name},
        opts=parent.child(),
    )
    for first, last in ports:
        for origin, source in (("nodes", args.security_group_id), ("itself", group.id)):
            vpc.SecurityGroupIngressRule(
                f"{name}-{origin}-{first}",
                security_group_id=group.id,
                referenced_security_group_id=source,
                ip_protocol="tcp",
                from_port=first,
                to_port=last,
                tags=dict(args.tags),
                opts=parent.child(),
            )
    return group.id


def static_volume(parent: Component, name: str, args: StaticVolumeArgs, driver: pulumi.Resource) -> PersistentVolume:
    """A volume that is there before anyone claims it; deleting the claim leaves the store alone."""
    return PersistentVolume(
        name,
        metadata=ObjectMetaArgs(name=args.volume),
        spec=PersistentVolumeSpecArgs(
            capacity={"storage": args.capacity},
            access_modes=["ReadWriteMany"],
            persistent_volume_reclaim_policy="Retain",
            storage_class_name="",
            mount_options=list(args.mount_options),
            csi=CSIPersistentVolumeSourceArgs(
                driver=args.driver, volume_handle=args.handle, volume_attributes=args.attributes
            ),
        ),
        opts=parent.child(driver),
    )


def bucket_statements(arn: str) -> list[Statement]:
    """What the driver may do with the bucket, and with no other.

    Source: awslabs/mountpoint-s3 doc/CONFIGURATION.md, IAM permissions.
    """
    return [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": arn},
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:DeleteObject"],
            "Resource": f"{arn}/*",
        },
    ]
