"""The configuration of an environment as types.

One JSON-able object under `inference-platform:environment` in `Pulumi.<stack>.yaml`. Unknown keys are errors,
nothing is coerced (a quoted number is not a number), and no secret belongs in it. Every default gives its
unit and its source. Checks that need more than one field are in `stacks/config/checks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from components.clouds.aws.settings import AwsSettings
from components.clouds.azure.settings import AzureSettings
from components.clouds.existing.settings import ExistingSettings
from components.clouds.gcp.settings import GcpSettings
from stacks.config.base import ImageDigest, Network, Number, Region, Strictly, TagName, TagValue
from stacks.config.models_deployment import (
    Engine,
    ModelDeployment,
    ModelSource,
    ScaleWhenIdle,
    Scaling,
    Simulation,
    SleepWhenIdle,
)
from stacks.config.models_gateway import Gateway, Limits, Tls
from stacks.config.models_observability import Observability
from stacks.config.models_pool import (
    MigSharing,
    MpsSharing,
    NodePool,
    NoSharing,
    Reservation,
    Sharing,
    TimeSlicing,
)
from stacks.config.models_secrets import EnvironmentSecret, ExternalSource, SecretReference
from stacks.config.models_tenancy import Quota, Tenancy
from stacks.config.models_topology import Aggregated, Disaggregated, LoraAdapter, Topology, WorkerScaling
from stacks.config.vocabulary import Cloud, RouterKind, ServingStack, WeightsStore

__all__ = [
    "Aggregated",
    "Cluster",
    "Disaggregated",
    "Engine",
    "EnvironmentConfig",
    "EnvironmentSecret",
    "ExternalSource",
    "Gateway",
    "Limits",
    "LoraAdapter",
    "MigSharing",
    "ModelDeployment",
    "ModelSource",
    "MpsSharing",
    "NoSharing",
    "NodePool",
    "ProductionStack",
    "Quota",
    "Reservation",
    "ScaleWhenIdle",
    "Scaling",
    "SecretReference",
    "Sharing",
    "Simulation",
    "SleepWhenIdle",
    "Tenancy",
    "TimeSlicing",
    "Tls",
    "Topology",
    "Weights",
    "WorkerScaling",
]


class Cluster(Strictly):
    """The cluster itself; on clouds that make one."""

    kubernetes_version: str | None = Field(
        default=None,
        pattern=r"^1\.[0-9]{2}$",
        description="Minor version.",
        json_schema_extra={"default_text": "the one that this release was tested with"},
    )
    private_endpoint: bool = Field(
        default=False, strict=True, description="The API server has no public address: run Pulumi inside the network."
    )
    authorized_networks: tuple[Network, ...] = Field(
        default=(),
        description="Networks (CIDR) that may reach the API server's public address.",
        json_schema_extra={"default_text": "all, with credentials"},
    )
    audit_logs: bool = Field(default=True, strict=True, description="Keep the API server's audit log.")
    deletion_protection: bool = Field(
        default=False, strict=True, description="The cloud refuses to delete the cluster until this is taken back."
    )


def _offline(data: dict[str, Any]) -> bool:
    return bool(data["preload"])


class Weights(Strictly):
    """Where model weights are kept and when they are loaded."""

    store: WeightsStore = Field(
        default=WeightsStore.NODE_DISK,
        description="node-disk: each pod downloads its own. shared-files: one file system for all pods (EFS, Azure "
        "Files, Filestore). object-store: a bucket that pods mount (S3, Azure Blob, Cloud Storage).",
    )
    preload: bool = Field(
        default=False,
        strict=True,
        description="A Job downloads each model into the store, and checks each file against the hub's checksum, "
        "before its first pod starts; not with node-disk.",
    )
    offline: bool = Field(
        default_factory=_offline,
        strict=True,
        description="Engines take weights from the store and ask Hugging Face for nothing (HF_HUB_OFFLINE). Needs "
        "preload, or a volume that is there (existing.weights_volume) and that somebody else has filled.",
        json_schema_extra={"default_text": "as preload"},
    )


class ProductionStack(Strictly):
    """The vLLM Production Stack's chart: where it comes from. Give one of repository, oci and folder, or none."""

    repository: str | None = Field(
        default=None,
        max_length=500,
        pattern=r"^https?://",
        description="URL of a chart repository.",
        json_schema_extra={"default_text": "the project's own"},
    )
    oci: str | None = Field(
        default=None,
        max_length=500,
        pattern=r"^oci://",
        description="Reference of the chart in an OCI registry, without a version: mirrors, air-gapped installs.",
    )
    folder: str | None = Field(
        default=None,
        max_length=500,
        description="Path of the unpacked chart.",
        json_schema_extra={"default_text": "the environment variable VLLM_STACK_CHART, if it is set"},
    )
    version: str | None = Field(
        default=None,
        pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$",
        description="Of the chart; not with folder.",
        json_schema_extra={"default_text": "the one that the types of chart_values were written for"},
    )
    digest: str | None = Field(
        default=None, pattern=r"^sha256:[0-9a-f]{64}$", description="Of the OCI artifact; only with oci."
    )


def _serving_stack(data: dict[str, Any]) -> ServingStack:
    return ServingStack.MANIFESTS if data["cloud"] is Cloud.LOCAL else ServingStack.PRODUCTION_STACK


class EnvironmentConfig(Strictly):
    """One environment: a cluster and all that runs on it."""

    cloud: Cloud = Field(description="Where the cluster runs.")
    serving_stack: ServingStack = Field(
        default_factory=_serving_stack,
        description="What turns model deployments into workloads.",
        json_schema_extra={"default_text": "manifests on local, production-stack elsewhere"},
    )
    region: Region | None = Field(
        default=None,
        description="Where, in the cloud's own words.",
        json_schema_extra={"default_text": "us-east-1, eastus, us-central1; none on local and existing"},
    )
    cluster: Cluster = Field(
        default_factory=Cluster, description="The cluster itself.", json_schema_extra={"default_text": "{}"}
    )
    node_pools: tuple[NodePool, ...] = Field(min_length=1, description="The GPU nodes.")
    model_deployments: tuple[ModelDeployment, ...] = Field(min_length=1, description="The served models.")
    gateway: Gateway = Field(
        default_factory=Gateway,
        description="The address.",
        json_schema_extra={"default_text": "{host_port: 8080}"},
    )
    weights: Weights = Field(
        default_factory=Weights,
        description="Where model weights are kept.",
        json_schema_extra={"default_text": "{store: node-disk}"},
    )
    production_stack: ProductionStack = Field(
        default_factory=ProductionStack,
        description="The chart of the serving stack production-stack.",
        json_schema_extra={"default_text": "{}"},
    )
    router: RouterKind = Field(
        default=RouterKind.PER_MODEL,
        description="per-model: each model has a router of its own, which holds requests while the model is at zero. "
        "shared: one router for all models, each of which then keeps at least one replica.",
    )
    tags: Mapping[TagName, TagValue] = Field(
        default_factory=dict,
        description="On everything that the cloud bills; in the form that all clouds take: lower case, digits, - and _",
        json_schema_extra={"default_text": "{}"},
    )
    paused: bool = Field(
        default=False,
        strict=True,
        description="Keep every model at zero, whatever is asked of it; nothing is deleted.",
    )
    tenancy: Tenancy = Field(
        default_factory=Tenancy,
        description="What keeps it apart from others on the same cluster.",
        json_schema_extra={"default_text": "{}"},
    )
    secrets: tuple[EnvironmentSecret, ...] = Field(
        default=(),
        description="Secrets that the platform makes in the environment's namespace; their values are not here.",
        json_schema_extra={"default_text": "[]"},
    )
    image_digests: Mapping[str, ImageDigest] = Field(
        default_factory=dict,
        description="Digest (sha256:...) of each image that is to be fetched by it, by the image with its tag, as "
        "components/versions.py has it. `crane digest IMAGE` prints it. A custom engine's is in its own image.",
        json_schema_extra={"default_text": "{}"},
    )
    observability: Observability = Field(
        default_factory=Observability,
        description="What watches it.",
        json_schema_extra={"default_text": "{}"},
    )
    aws: AwsSettings | None = Field(default=None, description="What only AWS can be told.")
    azure: AzureSettings | None = Field(default=None, description="What only Azure can be told.")
    gcp: GcpSettings | None = Field(default=None, description="What only Google Cloud can be told.")
    existing: ExistingSettings | None = Field(default=None, description="Which cluster; with cloud existing.")
    budget_per_hour: Number | None = Field(
        default=None,
        gt=0,
        description="US dollars per hour at list prices that the environment may cost with all its nodes: `plan` ends "
        "with status 2 where it may cost more, and the preview says so.",
        json_schema_extra={"default_text": "no limit"},
    )
