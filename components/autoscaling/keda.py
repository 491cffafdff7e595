"""KEDA and its HTTP add-on, installed where a cluster does not bring them, with the settings of the embedded cluster.

Sources: values and templates of the charts named in `components.versions`; the tuned figures are those that
`local/processes_keda.py` runs with, and why is said there and in docs/adr/0003.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pydantic import Field

from components.base import Component
from components.charts import SYSTEM_NODES, ContainerResources, Values, create_namespace, install
from components.cluster import ServiceReference
from components.pods import scraped
from components.timing import GENERATION_SECONDS
from components.versions import KEDA_CHART, KEDA_HTTP_ADD_ON_CHART

OPERATOR_METRICS_PORT: Final = 8080
ADD_ON_METRICS_PORT: Final = 2223
"""The add-on's OpenTelemetry exporter, of interceptor and scaler alike; the chart declares no port for the former."""

API_CALLS_PER_SECOND: Final = 200
API_BURST: Final = 400
"""Each message of a push trigger costs KEDA several calls. At the default of 20 a second the messages of a busy model
pile up, and are taken for activity long after it has ended."""

STREAM_INTERVAL_MS: Final = 200
"""How often the add-on pushes. Shorter than KEDA can work through, messages would pile up."""

QUEUE_TICK: Final = "50ms"
"""How often the scaler looks at the interceptors: what a wake-up waits for at most before it begins."""

RESPONSE_HEADER_TIMEOUT: Final = "3600s"
"""Default of routes that set none; a long prompt behind a queue may take longer than the add-on's own 300 s."""

SHUTDOWN_DELAY_SECONDS: Final = 5
"""An interceptor that ends goes on accepting for so long, until its Service has heard of it; the chart's default."""

INSTALL_SECONDS: Final = 600
KEDA: Final = "keda"
"""Namespace."""


@dataclass(frozen=True, kw_only=True)
class KedaArgs:
    """What of KEDA is installed and how large.

    Attributes:
        keda: install KEDA itself; False where the cluster brings it.
        http_add_on: install the HTTP add-on.
        interceptor_replicas: fewest interceptors; all requests pass through one.
        most_interceptors: KEDA adds them with the requests in flight.
        system_nodes: selects the nodes of operators.
        labels: of the namespace.

    Raises:
        ValueError: fewer than two interceptors (a drained node would stop all requests), or more at least than at most.
    """

    keda: bool = True
    http_add_on: bool = True
    interceptor_replicas: int = 2
    most_interceptors: int = 10
    system_nodes: Mapping[str, str] = field(default_factory=lambda: dict(SYSTEM_NODES))
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least = 2
        if not least <= self.interceptor_replicas <= self.most_interceptors:
            raise ValueError(
                f"interceptor_replicas {self.interceptor_replicas} and most_interceptors {self.most_interceptors} "
                f"must be {least} <= interceptor_replicas <= most_interceptors"
            )


class Replicas(Values):
    """Of one part of KEDA."""

    replica_count: int


class OperatorArguments(Values):
    """Flags without their dashes, by component."""

    keda: Mapping[str, str]


class OperatorMetrics(Values):
    """Of the operator."""

    enabled: bool = True
    port: int = OPERATOR_METRICS_PORT


class KedaMetrics(Values):
    """Which parts show metrics."""

    operator: OperatorMetrics = OperatorMetrics()


class KedaAnnotations(Values):
    """Of the pods, by component."""

    keda: Mapping[str, str]


class DisruptionBudget(Values):
    """Of one component."""

    max_unavailable: int = 1


class DisruptionBudgets(Values):
    """By component."""

    operator: DisruptionBudget = DisruptionBudget()
    metric_server: DisruptionBudget = DisruptionBudget()
    webhooks: DisruptionBudget = DisruptionBudget()


class KedaValues(Values):
    """Values of the chart `keda`."""

    node_selector: Mapping[str, str]
    operator: Replicas = Replicas(replica_count=2)
    metrics_server: Replicas = Replicas(replica_count=2)
    webhooks: Replicas = Replicas(replica_count=2)
    extra_args: OperatorArguments = OperatorArguments(
        keda={"kube-api-qps": str(API_CALLS_PER_SECOND), "kube-api-burst": str(API_BURST)}
    )
    prometheus: KedaMetrics = KedaMetrics()
    pod_annotations: KedaAnnotations = KedaAnnotations(keda=scraped(OPERATOR_METRICS_PORT))
    pod_disruption_budget: DisruptionBudgets = DisruptionBudgets()


class InterceptorReplicas(Values):
    """Bounds of the interceptors' own ScaledObject."""

    min: int
    max: int


class Interceptor(Values):
    """The proxy that all requests pass through.

    Its drain covers the longest answer. `readiness_timeout` stays off: one that fires ends the activity, and KEDA
    takes the loading pod away.
    """

    node_selector: Mapping[str, str]
    replicas: InterceptorReplicas
    response_header_timeout: str = RESPONSE_HEADER_TIMEOUT
    shutdown_delay: str = f"{SHUTDOWN_DELAY_SECONDS}s"
    drain_timeout: str = f"{GENERATION_SECONDS}s"
    termination_grace_period_seconds: int = SHUTDOWN_DELAY_SECONDS + GENERATION_SECONDS + 5
    pod_annotations: Mapping[str, str] = Field(default_factory=lambda: scraped(ADD_ON_METRICS_PORT))
    # The chart's 64 MiB and half a core are for requests that are not held; here a body waits for a model to load.
    resources: ContainerResources = ContainerResources(
        requests={"cpu": "250m", "memory": "256Mi"}, limits={"cpu": "2", "memory": "1Gi"}
    )


class Scaler(Values):
    """Tells KEDA of the requests in flight."""

    node_selector: Mapping[str, str]
    replicas: int = 2
    stream_interval: int = STREAM_INTERVAL_MS
    extra_envs: Mapping[str, str] = Field(default_factory=lambda: {"KEDA_HTTP_QUEUE_TICK_DURATION": QUEUE_TICK})
    pod_annotations: Mapping[str, str] = Field(default_factory=lambda: scraped(ADD_ON_METRICS_PORT))
    resources: ContainerResources = ContainerResources(
        requests={"cpu": "100m", "memory": "64Mi"}, limits={"cpu": "1", "memory": "256Mi"}
    )


class AddOnOperator(Values):
    """Sets the conditions of InterceptorRoutes."""

    node_selector: Mapping[str, str]


class SeccompProfile(Values):
    """How system calls are filtered."""

    type: str = "RuntimeDefault"


class PodSecurity(Values):
    """What Pod Security `restricted` asks for and the chart leaves out."""

    run_as_non_root: bool = True
    run_as_user: int = 1000
    fs_group: int = 1000
    seccomp_profile: SeccompProfile = SeccompProfile()


class PodSecurityByPart(Values):
    """One for each Deployment of the add-on."""

    operator: PodSecurity = PodSecurity()
    scaler: PodSecurity = PodSecurity()
    interceptor: PodSecurity = PodSecurity()


class HttpAddOnValues(Values):
    """Values of the chart `keda-add-ons-http`."""

    interceptor: Interceptor
    scaler: Scaler
    operator: AddOnOperator
    pod_security_context: PodSecurityByPart = PodSecurityByPart()


def add_on_values(args: KedaArgs) -> HttpAddOnValues:
    """The add-on's values."""
    nodes = dict(args.system_nodes)
    replicas = InterceptorReplicas(min=args.interceptor_replicas, max=args.most_interceptors)
    return HttpAddOnValues(
        interceptor=Interceptor(node_selector=nodes, replicas=replicas),
        scaler=Scaler(node_selector=nodes),
        operator=AddOnOperator(node_selector=nodes),
    )


class Keda(Component):
    """KEDA and its HTTP add-on.

    Attributes:
        interceptor: the proxy's Service.
        external_scaler: the scaler's Service.
        releases: custom resources come after them and go before them; a ScaledObject whose operator is gone keeps its
            finalizer, and its namespace with it.
    """

    def __init__(
        self,
        name: str,
        args: KedaArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("autoscaling", name, opts, after)
        namespace = create_namespace(self, f"{name}-namespace", KEDA, pod_security="restricted", labels=args.labels)
        self.releases: tuple[pulumi.Resource, ...] = ()
        if args.keda:
            keda = install(
                self,
                f"{name}-release",
                KEDA_CHART,
                KedaValues(node_selector=dict(args.system_nodes)),
                namespace=namespace,
                timeout_seconds=INSTALL_SECONDS,
            )
            self.releases = (keda,)
        if args.http_add_on:
            # It scales its interceptors by a ScaledObject: KEDA first.
            add_on = install(
                self,
                f"{name}-http-add-on",
                KEDA_HTTP_ADD_ON_CHART,
                add_on_values(args),
                namespace=namespace,
                timeout_seconds=INSTALL_SECONDS,
                after=self.releases,
            )
            self.releases = (*self.releases, add_on)
        self.interceptor = ServiceReference(f"{KEDA_HTTP_ADD_ON_CHART.name}-interceptor-proxy", KEDA, 8080)
        self.external_scaler = ServiceReference(f"{KEDA_HTTP_ADD_ON_CHART.name}-external-scaler", KEDA, 9090)
        self.register_outputs({"interceptor": self.interceptor.address})
