"""What only this cloud can be told: the section `gcp` of the configuration."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, Strict, StringConstraints

from components.clouds.rules import CloudSettings

Int = Annotated[int, Strict()]
Network = Annotated[str, StringConstraints(pattern=r"^[0-9.]+/[0-9]{1,2}$")]
Project = Annotated[str, StringConstraints(pattern=r"^([a-z0-9.-]+:)?[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
ZoneName = Annotated[str, StringConstraints(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")]
MachineType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+-[a-z0-9-]+$", max_length=60)]
KmsKey = Annotated[
    str, StringConstraints(pattern=r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", max_length=400)
]
Image = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w./-]*$", max_length=300)]
Hour = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]

WEEK: Final = 7 * 24 * 3600
"""Longest life of a flex-start node, seconds."""


class ReleaseChannel(StrEnum):
    """How soon GKE brings versions to the cluster."""

    RAPID = "rapid"
    REGULAR = "regular"
    STABLE = "stable"
    EXTENDED = "extended"


class AutoscalingProfile(StrEnum):
    """How eagerly GKE takes nodes away."""

    BALANCED = "balanced"
    OPTIMIZE_UTILIZATION = "optimize-utilization"


class DriverVersion(StrEnum):
    """Which GPU driver GKE installs."""

    DEFAULT = "default"
    LATEST = "latest"


class FilestoreTier(StrEnum):
    """Service tiers of Filestore that keep their contents on SSD."""

    REGIONAL = "REGIONAL"
    ZONAL = "ZONAL"
    BASIC_SSD = "BASIC_SSD"


class GcpSettings(CloudSettings):
    """Settings of the cloud `gcp`."""

    project: Project | None = Field(
        default=None, description="Id of the project that everything is made in and billed to; required."
    )
    project_number: Int | None = Field(
        default=None,
        ge=1,
        description="Its number (`gcloud projects describe ID`): names the pods of the cluster, and GKE itself, in "
        "access policies. Needed with weights.store object-store and with kms_key.",
    )
    zone: ZoneName | None = Field(
        default=None,
        description="A zone of the region: the control plane and the system nodes are there alone.",
        json_schema_extra={"default_text": "a regional cluster: control plane and system nodes in three zones"},
    )
    release_channel: ReleaseChannel = Field(
        default=ReleaseChannel.REGULAR, description="How soon GKE brings new versions."
    )
    maintenance_start: Hour = Field(
        default="03:00",
        description="Begin of the daily four hours, UTC, in which GKE upgrades control plane and nodes.",
    )
    nodes_cidr: Network = Field(default="10.0.0.0/20", description="Addresses of nodes: 4,092 with /20.")
    pods_cidr: Network = Field(
        default="10.4.0.0/14", description="Addresses of pods; a node takes a /24, so that /14 holds 1,024 nodes."
    )
    services_cidr: Network = Field(default="10.8.0.0/20", description="Addresses of Services.")
    private_nodes: bool = Field(
        default=True,
        strict=True,
        description="Nodes have no public address; they reach the Internet through Cloud NAT.",
    )
    dns_endpoint: bool = Field(
        default=False,
        strict=True,
        description="Reach the API server by its DNS name, from anywhere, with IAM as the only gate: how to reach a "
        "private endpoint without a VPN.",
    )
    kms_key: KmsKey | None = Field(
        default=None,
        description="Cloud KMS key that encrypts Secrets in etcd, in the region: "
        "projects/P/locations/L/keyRings/R/cryptoKeys/K. It must be there: Google Cloud deletes no keys.",
        json_schema_extra={"default_text": "Google's own keys"},
    )
    system_machine_type: MachineType = Field(
        default="e2-standard-4", description="Of the CPU nodes: gateway, routers, operators."
    )
    system_min_nodes: Int = Field(default=1, ge=1, le=100, description="Fewest CPU nodes, all zones together.")
    system_max_nodes: Int = Field(default=5, ge=1, le=1000, description="Most CPU nodes, all zones together.")
    autoscaling_profile: AutoscalingProfile = Field(
        default=AutoscalingProfile.BALANCED,
        description="How eagerly GKE takes nodes away; optimize-utilization packs and removes sooner.",
    )
    driver: DriverVersion = Field(default=DriverVersion.DEFAULT, description="GPU driver that GKE installs.")
    managed_dcgm: bool = Field(
        default=True,
        strict=True,
        description="GKE runs the DCGM exporter, and its managed collection, which is billed by samples. Off: the "
        "environment's own exporter.",
    )
    flex_start_seconds: Int = Field(
        default=WEEK, ge=600, le=WEEK, description="Life of a flex-start node; a week at most."
    )
    provisioning_requests: bool = Field(
        default=False,
        strict=True,
        description="Something in the cluster, e.g. Kueue, makes ProvisioningRequests for the pods: allows "
        "reservation kind queued.",
    )
    image_cache_disk: Image | None = Field(
        default=None,
        description="Disk image with preloaded container images (global/images/NAME): a secondary boot disk of GPU "
        "nodes; turns image streaming on.",
    )
    public_gateway: bool = Field(
        default=False,
        strict=True,
        description="The gateway's load balancer has a public address; else one inside the network.",
    )
    filestore_tier: FilestoreTier = Field(
        default=FilestoreTier.REGIONAL,
        description="Of weights.store shared-files; ZONAL and BASIC_SSD are in `zone`, which they need.",
    )
    filestore_capacity_gib: Int = Field(
        default=1024, ge=1024, le=102_400, description="Of weights.store shared-files, GiB; BASIC_SSD needs 2560."
    )
    keep_weights: bool = Field(
        default=False,
        strict=True,
        description="The bucket of weights.store object-store may not be deleted while something is in it: "
        "destroy then fails until it is emptied.",
    )
