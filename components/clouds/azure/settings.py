"""What only this cloud can be told: the section `azure` of the configuration."""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, Strict, StringConstraints
from pydantic_core import PydanticCustomError

from components.clouds.rules import CloudSettings

VmSize = Annotated[str, StringConstraints(pattern=r"^Standard_[A-Za-z0-9_]+$", max_length=80)]
Guid = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]
ArmId = Annotated[
    str,
    StringConstraints(pattern=r"^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/[^/]+(/[^/]+/[^/]+)+$"),
]
SMALLEST_VNET: Final = 24
"""Prefix length: 251 nodes, since Azure keeps five addresses."""

ZoneNumber = Annotated[str, StringConstraints(pattern=r"^[1-3]$")]


def _network(value: str) -> str:
    try:
        ipaddress.IPv4Network(value)
    except ValueError as error:
        raise PydanticCustomError("network", "must be an IPv4 network (CIDR), e.g. 10.224.0.0/16") from error
    return value


def _with_room(value: str) -> str:
    if ipaddress.IPv4Network(value).prefixlen > SMALLEST_VNET:
        raise PydanticCustomError("network", "must have room for nodes: /24 or larger")
    return value


Ipv4Network = Annotated[str, AfterValidator(_network)]
VnetNetwork = Annotated[str, AfterValidator(_network), AfterValidator(_with_room)]


class Tier(StrEnum):
    """Price tier of the control plane."""

    FREE = "free"
    STANDARD = "standard"
    PREMIUM = "premium"


class OperatingSystem(StrEnum):
    """Of the GPU nodes."""

    UBUNTU = "ubuntu"
    AZURE_LINUX = "azure-linux"


class Outbound(StrEnum):
    """How nodes reach the internet."""

    LOAD_BALANCER = "load-balancer"
    NAT_GATEWAY = "nat-gateway"


class UpgradeChannel(StrEnum):
    """Which Kubernetes versions AKS installs by itself."""

    NONE = "none"
    PATCH = "patch"


class NodeImageChannel(StrEnum):
    """Which node images AKS installs by itself."""

    NONE = "none"
    NODE_IMAGE = "node-image"
    SECURITY_PATCH = "security-patch"


class SystemPool(CloudSettings):
    """The CPU nodes for gateway, routers and operators.

    Part of the cluster itself at Azure, so what is set here counts when the cluster is made; later changes are made
    with `az aks nodepool`, since a change of this list sends every pool of the cluster into an update
    (pulumi-azure-native issue 4264).
    """

    vm_size: VmSize = Field(default="Standard_D8s_v5", description="VM size without GPU.")
    min_nodes: Annotated[int, Strict()] = Field(
        default=2, ge=1, le=100, description="Fewest nodes; the number of nodes with node auto-provisioning."
    )
    max_nodes: Annotated[int, Strict()] = Field(default=6, ge=1, le=100, description="Most nodes.")
    zones: tuple[ZoneNumber, ...] = Field(
        default=(),
        description="Availability zones, 1 to 3.",
        json_schema_extra={"default_text": "Azure's choice"},
    )


class AzureSettings(CloudSettings):
    """Settings of the cloud `azure`; facts: MicrosoftDocs/azure-aks-docs, 2026-08."""

    tier: Tier = Field(
        default=Tier.STANDARD,
        description="Of the control plane: free has no service level, standard has 99.9 or 99.95 percent, premium adds "
        "long-term support.",
    )
    system_pool: SystemPool = Field(
        default_factory=SystemPool,
        description="The CPU nodes.",
        json_schema_extra={"default_text": "2 to 6 Standard_D8s_v5"},
    )
    os: OperatingSystem = Field(default=OperatingSystem.UBUNTU, description="Of the GPU nodes.")
    install_gpu_driver: bool = Field(
        default=True, strict=True, description="AKS installs the NVIDIA driver; false where the GPU Operator does."
    )
    spot_max_price: Annotated[float, Strict()] | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Most that a spot node may cost, US dollars per hour; cannot be changed on a live pool.",
        json_schema_extra={"default_text": "the on-demand price"},
    )
    vnet_cidr: VnetNetwork = Field(
        default="10.224.0.0/16", description="Addresses of the virtual network; nodes take one each."
    )
    pod_cidr: Ipv4Network = Field(
        default="10.128.0.0/14", description="Addresses of pods (overlay); each node takes a /24."
    )
    service_cidr: Ipv4Network = Field(default="10.0.0.0/16", description="Addresses of Services.")
    outbound: Outbound = Field(
        default=Outbound.LOAD_BALANCER,
        description="How nodes reach the internet: by the cluster's load balancer, or by a NAT gateway of their own "
        "with one fixed address and 64,512 ports.",
    )
    public_gateway: bool = Field(
        default=False, strict=True, description="The gateway's load balancer has a public address."
    )
    admin_group_ids: tuple[Guid, ...] = Field(
        default=(),
        description="Microsoft Entra groups (object ids) whose members administer the cluster.",
        json_schema_extra={"default_text": "none"},
    )
    azure_rbac: bool = Field(
        default=False, strict=True, description="Azure role assignments decide who may do what in the cluster."
    )
    local_accounts: bool = Field(
        default=True,
        strict=True,
        description="The cluster has an administrator with a client certificate, which Pulumi uses; false: Pulumi "
        "signs in with Microsoft Entra through kubelogin, which must be on the PATH.",
    )
    encrypt_secrets: bool = Field(
        default=True,
        strict=True,
        description="Kubernetes secrets are encrypted with a key of the environment's own key vault.",
    )
    disk_encryption_set_id: ArmId | None = Field(
        default=None,
        description="Disk encryption set whose key encrypts the nodes' disks; only when the cluster is made.",
        json_schema_extra={"default_text": "a key of the platform"},
    )
    encryption_at_host: bool = Field(
        default=False,
        strict=True,
        description="Temporary disks and caches are encrypted too; the subscription needs the feature "
        "Microsoft.Compute/EncryptionAtHost, and each VM size must have it.",
    )
    upgrade_channel: UpgradeChannel = Field(
        default=UpgradeChannel.PATCH, description="Kubernetes versions that AKS installs by itself."
    )
    node_image_channel: NodeImageChannel = Field(
        default=NodeImageChannel.NODE_IMAGE, description="Node images that AKS installs by itself."
    )
    keda_add_on: bool = Field(
        default=False,
        strict=True,
        description="Use the KEDA of AKS, whose version goes with that of Kubernetes, instead of installing one.",
    )
    weights_gib: Annotated[int, Strict()] = Field(
        default=512,
        ge=100,
        le=102_400,
        description="Size of the file share with weights.store shared-files, GiB: Azure bills what is provisioned, and "
        "throughput grows with it (110 MiB/s and 0.1 MiB/s more per GiB).",
    )
    log_retention_days: Annotated[int, Strict()] = Field(
        default=30, ge=30, le=730, description="How long audit logs are kept, days; 30 are free of charge."
    )
