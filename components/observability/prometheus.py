"""Prometheus, Alertmanager and Grafana (the kube-prometheus-stack chart), where a cluster does not bring them.

Sources: values of the chart named in `components.versions`; the Service `prometheus-operated` is the operator's own, in
the namespace of the Prometheus object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pydantic import Field

from components.base import Component
from components.charts import SYSTEM_NODES, ContainerResources, Values, create_namespace, install
from components.observability.scraping import OBJECT_LABELS, pod_scrape_job
from components.secrets import SecretArgs, create_secret
from components.versions import PROMETHEUS_STACK_CHART

MONITORING: Final = "monitoring"
"""Namespace."""

PROMETHEUS_ADDRESS: Final = f"http://prometheus-operated.{MONITORING}.svc:9090"
POD_SCRAPE_INTERVAL: Final = "5s"
"""Of engines, routers and the gateway: KEDA asks Prometheus for queue lengths, so a scrape is part of the reaction."""

INSTALL_SECONDS: Final = 900


@dataclass(frozen=True, kw_only=True)
class PrometheusStackArgs:
    """How much is kept, and where.

    Attributes:
        retention: how long series are kept, in Prometheus' notation.
        storage_gib: size of the volume.
        storage_class: "" for the cluster's default.
        grafana: install Grafana too.
        grafana_admin: Secret with the keys admin-user and admin-password, made in the namespace `monitoring`; None: the
            chart makes one with a random password. A password is never one of our values.
        system_nodes: selects the nodes of all this.
        labels: of the namespace.

    Raises:
        ValueError: no storage.
    """

    retention: str = "15d"
    storage_gib: int = 100
    storage_class: str = ""
    grafana: bool = True
    grafana_admin: SecretArgs | None = None
    system_nodes: Mapping[str, str] = field(default_factory=lambda: dict(SYSTEM_NODES))
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.storage_gib < 1:
            raise ValueError(f"storage_gib {self.storage_gib} must be at least 1")


class Switch(Values):
    """A part of the chart that is on or off."""

    enabled: bool


class StorageRequest(Values):
    """Of a claim."""

    requests: Mapping[str, str]


class ClaimSpec(Values):
    """A claim's."""

    resources: StorageRequest
    access_modes: Sequence[str] = Field(default_factory=lambda: ["ReadWriteOnce"])
    storage_class_name: str | None = None


class ClaimTemplate(Values):
    """A claim as a template."""

    spec: ClaimSpec


class StorageSpec(Values):
    """Where Prometheus keeps its series."""

    volume_claim_template: ClaimTemplate


class PrometheusSpec(Values):
    """Of the Prometheus object.

    The four `..._nil_uses_helm_values` are False so that monitors and rules of all namespaces count, not only the
    chart's own.
    """

    node_selector: Mapping[str, str]
    retention: str
    retention_size: str
    storage_spec: StorageSpec
    additional_scrape_configs: Sequence[dict[str, Any]]
    scrape_interval: str = "15s"
    evaluation_interval: str = "15s"
    service_monitor_selector_nil_uses_helm_values: bool = False
    pod_monitor_selector_nil_uses_helm_values: bool = False
    rule_selector_nil_uses_helm_values: bool = False
    scrape_config_selector_nil_uses_helm_values: bool = False
    resources: ContainerResources = ContainerResources(
        requests={"cpu": "500m", "memory": "2Gi"}, limits={"memory": "4Gi"}
    )


class Prometheus(Values):
    """The Prometheus part."""

    prometheus_spec: PrometheusSpec


class AlertmanagerSpec(Values):
    """Of the Alertmanager object."""

    node_selector: Mapping[str, str]


class Alertmanager(Values):
    """The Alertmanager part."""

    alertmanager_spec: AlertmanagerSpec


class OperatorPart(Values):
    """The Prometheus operator."""

    node_selector: Mapping[str, str]


class KubeStateMetrics(Values):
    """What Kubernetes' objects say, as metrics; with the labels that cost and capacity are told apart by."""

    node_selector: Mapping[str, str]
    metric_labels_allowlist: Sequence[str] = Field(default_factory=lambda: list(OBJECT_LABELS))


class GrafanaAdmin(Values):
    """By reference only."""

    existing_secret: str


class Grafana(Values):
    """The Grafana part; its sidecar loads dashboards from ConfigMaps with the label `grafana_dashboard`."""

    enabled: bool
    admin: GrafanaAdmin | None = None
    node_selector: Mapping[str, str] | None = None


class PrometheusStackValues(Values):
    """Values of the chart `kube-prometheus-stack`.

    No managed cloud lets anyone scrape its control plane: those monitors would be alerts that never end.
    """

    prometheus: Prometheus
    grafana: Grafana
    alertmanager: Alertmanager
    prometheus_operator: OperatorPart
    kube_state_metrics: KubeStateMetrics = Field(serialization_alias="kube-state-metrics")
    kube_controller_manager: Switch = Switch(enabled=False)
    kube_scheduler: Switch = Switch(enabled=False)
    kube_etcd: Switch = Switch(enabled=False)
    kube_proxy: Switch = Switch(enabled=False)


def values(args: PrometheusStackArgs) -> PrometheusStackValues:
    """The chart's values."""
    nodes = dict(args.system_nodes)
    claim = ClaimSpec(
        resources=StorageRequest(requests={"storage": f"{args.storage_gib}Gi"}),
        storage_class_name=args.storage_class or None,
    )
    return PrometheusStackValues(
        prometheus=Prometheus(
            prometheus_spec=PrometheusSpec(
                node_selector=nodes,
                retention=args.retention,
                # Prometheus deletes its oldest blocks before the volume is full; the write-ahead log needs the rest.
                retention_size=f"{args.storage_gib * 4 // 5}GiB" if args.storage_gib > 1 else "800MiB",
                storage_spec=StorageSpec(volume_claim_template=ClaimTemplate(spec=claim)),
                additional_scrape_configs=[
                    pod_scrape_job(scrape_interval=POD_SCRAPE_INTERVAL, scrape_timeout=POD_SCRAPE_INTERVAL)
                ],
            )
        ),
        grafana=Grafana(
            enabled=args.grafana,
            admin=GrafanaAdmin(existing_secret=args.grafana_admin.name) if args.grafana_admin else None,
            node_selector=nodes if args.grafana else None,
        ),
        alertmanager=Alertmanager(alertmanager_spec=AlertmanagerSpec(node_selector=nodes)),
        prometheus_operator=OperatorPart(node_selector=nodes),
        kube_state_metrics=KubeStateMetrics(node_selector=nodes),
    )


class PrometheusStack(Component):
    """Prometheus with its operator, Alertmanager and Grafana.

    Attributes:
        address: of Prometheus, inside the cluster.
        release: brings the CRDs ServiceMonitor and PrometheusRule; their objects come after it.
    """

    def __init__(
        self,
        name: str,
        args: PrometheusStackArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("observability", name, opts, after)
        # The node exporter looks at the host.
        namespace = create_namespace(
            self, f"{name}-namespace", MONITORING, pod_security="privileged", labels=args.labels
        )
        needs = [] if args.grafana_admin is None else [self._admin(name, args.grafana_admin, args, namespace)]
        self.release = install(
            self,
            f"{name}-release",
            PROMETHEUS_STACK_CHART,
            values(args),
            namespace=namespace,
            timeout_seconds=INSTALL_SECONDS,
            after=needs,
        )
        self.address = PROMETHEUS_ADDRESS
        self.register_outputs({"address": self.address})

    def _admin(
        self, name: str, secret: SecretArgs, args: PrometheusStackArgs, namespace: pulumi.Resource
    ) -> pulumi.Resource:
        metadata = ObjectMetaArgs(name=secret.name, namespace=MONITORING, labels=args.labels)
        return create_secret(f"{name}-admin", secret, metadata, self.child(namespace))
