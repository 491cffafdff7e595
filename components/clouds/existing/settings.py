"""What only this cloud can be told: the section `existing` of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from components.clouds.rules import CloudSettings

LabelName = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$", max_length=253)
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([\w.-]*[A-Za-z0-9])?)?$", max_length=63)]
ResourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?$")]
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Provided(StrEnum):
    """The words of `components.cluster.Capability`, which cannot be imported here: it needs Pulumi."""

    DEVICE_PLUGIN = "device-plugin"
    DCGM_EXPORTER = "dcgm-exporter"
    PROMETHEUS = "prometheus"
    GRAFANA = "grafana"
    KEDA = "keda"
    KEDA_HTTP_ADD_ON = "keda-http-add-on"
    CERT_MANAGER = "cert-manager"
    PROMETHEUS_OPERATOR = "prometheus-operator"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    NO_EXECUTE = "NoExecute"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"


class ServiceType(StrEnum):
    """How a Service is reached."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


SYSTEM: Final = "system"


class NodeTaint(CloudSettings):
    """A taint of a pool's nodes, which its pods will tolerate."""

    key: LabelName = Field(description="Key.")
    value: LabelValue = Field(default="", description="Value.")
    effect: TaintEffect = Field(default=TaintEffect.NO_SCHEDULE, description="Effect.")


class PoolNodes(CloudSettings):
    """How the nodes of one pool are found, where they do not carry the platform's own label and taint."""

    name: Text = Field(description=f"A pool of node_pools, or `{SYSTEM}` for the CPU nodes.")
    node_selector: Mapping[LabelName, LabelValue] = Field(
        default_factory=dict,
        description="Labels that the pool's nodes carry, and no other pool's.",
        json_schema_extra={"default_text": "inference.platform/node-pool: <pool>"},
    )
    taints: tuple[NodeTaint, ...] | None = Field(
        default=None,
        description="Taints that its nodes carry; [] for none.",
        json_schema_extra={"default_text": "nvidia.com/gpu=present:NoSchedule; none on the CPU nodes"},
    )
    gpu_resource: ResourceName | None = Field(
        default=None,
        description="Extended resource that the cluster's device plugin registers on its nodes.",
        json_schema_extra={
            "default_text": "nvidia.com/gpu, nvidia.com/gpu.shared with time-slicing and MPS, nvidia.com/mig-<profile>"
        },
    )


class ExistingSettings(CloudSettings):
    """Settings of the cloud `existing`: which cluster it is, what it brings, how its nodes are found.

    The cluster is named by `kubeconfig` (a file, its current context), by `context` (of that file, or of the user's
    own kubeconfig), or by `stack` (another Pulumi stack's output).
    """

    kubeconfig: Text | None = Field(default=None, description="Path of a kubeconfig; ~ is the home folder.")
    context: Text | None = Field(
        default=None,
        description="A context of `kubeconfig`, or else of $KUBECONFIG or ~/.kube/config.",
        json_schema_extra={"default_text": "the current context of `kubeconfig`"},
    )
    stack: Text | None = Field(
        default=None,
        description="Another Pulumi stack, organisation/project/stack, of which an output has a kubeconfig's contents.",
    )
    stack_output: Text = Field(default="kubeconfig", description="That output's name; with `stack`.")
    provides: tuple[Provided, ...] = Field(
        default=(),
        description="What the cluster brings, which the environment therefore does not install. A second environment "
        "on the same cluster names what the first has installed.",
    )
    node_pools: tuple[PoolNodes, ...] = Field(
        default=(), description="Pools whose nodes do not carry the platform's own label and taint."
    )
    keda_namespace: ObjectName = Field(
        default="keda", description="Where the cluster's KEDA and its HTTP add-on run; if it provides them."
    )
    prometheus_address: Text = Field(
        default="http://prometheus-operated.monitoring.svc:9090",
        description="URL of the cluster's Prometheus inside the cluster; if it provides one.",
    )
    gateway_service_type: ServiceType = Field(
        default=ServiceType.CLUSTER_IP,
        description="Type of the gateway's Service; ClusterIP is reached from inside the cluster.",
    )
    gateway_annotations: Mapping[LabelName, str] = Field(
        default_factory=dict, description="Annotations of the gateway's Service, e.g. for an internal load balancer."
    )
    gateway_url: Text | None = Field(
        default=None,
        description="Where clients reach the gateway, for the stack's output; e.g. of an ingress of your own.",
        json_schema_extra={"default_text": "the address of the gateway's Service"},
    )
    storage_class: ObjectName | None = Field(
        default=None, description="Storage class with ReadWriteMany; with weights.store shared-files."
    )
    weights_volume: ObjectName | None = Field(
        default=None,
        description="PersistentVolume that holds the weights; with weights.store shared-files or object-store.",
    )

    @model_validator(mode="after")
    def _names_one_cluster(self) -> ExistingSettings:
        if self.stack is not None and (self.kubeconfig is not None or self.context is not None):
            raise PydanticCustomError("two_clusters", "names two clusters: give `stack`, or `kubeconfig` and `context`")
        if self.stack is None and self.kubeconfig is None and self.context is None:
            raise PydanticCustomError("no_cluster", "names no cluster: give `kubeconfig`, `context` or `stack`")
        return self
