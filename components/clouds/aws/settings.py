"""What only this cloud can be told: the section `aws` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import Field, Strict, StringConstraints

from components.clouds.rules import CloudSettings

Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9][a-z]$", max_length=40)]
PrincipalArn = Annotated[
    str, StringConstraints(pattern=r"^arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:(role|user)/[\w+=,.@/-]+$", max_length=300)
]
AddonName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=63)]
AddonVersion = Annotated[str, StringConstraints(pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+-eksbuild\.[0-9]+$")]
Int = Annotated[int, Strict()]


class NatGateways(StrEnum):
    """How nodes reach the internet."""

    ONE = "one"
    PER_ZONE = "per-zone"


class SharedFiles(StrEnum):
    """What `weights.store: shared-files` is."""

    EFS = "efs"
    FSX_LUSTRE = "fsx-lustre"


class AwsSettings(CloudSettings):
    """Settings of the cloud `aws`."""

    availability_zones: tuple[Zone, ...] = Field(
        default=(),
        max_length=3,
        description="Two or three zones of the region for the network and all nodes. EKS asks for two at least.",
        json_schema_extra={"default_text": "the region's first three, see docs/clouds/aws.md"},
    )
    vpc_cidr: str = Field(
        default="10.64.0.0/16",
        pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}/(1[6-9]|20)$",
        description="Addresses of the network, /16 to /20: each pod takes one (Amazon VPC CNI).",
    )
    nat_gateways: NatGateways = Field(
        default=NatGateways.ONE,
        description="one: cheaper, and without its zone no node reaches the internet. per-zone: each zone has its own.",
    )
    public_gateway: bool = Field(
        default=False,
        strict=True,
        description="The gateway's load balancer has a public address; else it answers inside the network only.",
    )
    system_instance_type: str = Field(
        default="m7i.xlarge",
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$",
        description="Machine (x86) of the CPU nodes, which run the gateway, the routers and the operators.",
    )
    system_min_nodes: Int = Field(default=2, ge=1, le=100, description="Fewest CPU nodes.")
    system_max_nodes: Int = Field(default=6, ge=1, le=100, description="Most CPU nodes.")
    admins: tuple[PrincipalArn, ...] = Field(
        default=(),
        max_length=50,
        description="IAM roles and users that administer the cluster, besides the one that Pulumi runs as.",
    )
    addon_versions: Mapping[AddonName, AddonVersion] = Field(
        default_factory=dict,
        description="Versions of EKS add-ons, by name, e.g. coredns: v1.13.1-eksbuild.1.",
        json_schema_extra={"default_text": "{}, EKS' default for the Kubernetes version"},
    )
    log_retention_days: Int = Field(
        default=90,
        description="How long the control plane's logs are kept, days; a number that CloudWatch knows.",
    )
    node_repair: bool = Field(
        default=True,
        strict=True,
        description="EKS replaces nodes whose GPU or kubelet is found broken (node monitoring agent).",
    )
    scale_down_minutes: Int = Field(
        default=10,
        ge=1,
        le=1440,
        description="A GPU node without a pod is given back after so many minutes. 10 is the cluster autoscaler's own "
        "default; longer keeps a machine for the next wake-up.",
    )
    shared_files: SharedFiles = Field(
        default=SharedFiles.EFS,
        description="What weights.store: shared-files is. efs: grows by itself, all zones, billed by use. fsx-lustre: "
        "one zone, faster, billed by size.",
    )
    lustre_gib: Int = Field(
        default=2400,
        ge=1200,
        le=100_800,
        description="Size of the FSx for Lustre file system, GiB: 1,200 or a multiple of 2,400.",
    )
