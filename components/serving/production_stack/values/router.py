"""`routerSpec`: the chart's own router. It answers 503 while a model is at zero, so it is for models that never are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.serving.production_stack.values.base import (
    Count,
    DisruptionBudget,
    Object,
    Objects,
    PinnedTag,
    Port,
    Probe,
    SecretRef,
    ServiceMonitor,
    Values,
)

RoutingLogic = Literal[
    "roundrobin", "session", "prefixaware", "kvaware", "disaggregated_prefill", "disaggregated_prefill_orchestrated"
]


class RouterAutoscaling(Values):
    """An HPA on the router's CPU."""

    enabled: bool
    min_replicas: Count | None = None
    max_replicas: Count | None = None
    target_cpu_utilization_percentage: Annotated[int | None, Field(alias="targetCPUUtilizationPercentage")] = None


class OpenTelemetry(Values):
    """Where traces go."""

    endpoint: str
    service_name: str | None = None
    secure: bool | None = None


class LmcacheLog(Values):
    """LMCache in the router."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class IngressHost(Values):
    """A host of the Ingress."""

    host: str
    paths: Objects


class Ingress(Values):
    """An Ingress to the router."""

    enabled: bool
    class_name: str | None = None
    annotations: Mapping[str, str] | None = None
    hosts: Sequence[IngressHost] | None = None
    tls: Objects | None = None


class Route(Values):
    """A route of the Gateway API to the router."""

    enabled: bool
    api_version: str | None = None
    kind: Literal["HTTPRoute", "GRPCRoute"] | None = None
    annotations: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    parent_refs: Objects | None = None
    hostnames: Sequence[str] | None = None
    matches: Objects | None = None
    filters: Objects | None = None
    https_redirect: bool | None = None
    additional_rules: Objects | None = None


class RouterSpec(Values):
    """The router. It has neither tolerations nor a nodeSelector: only nodeSelectorTerms and affinity place it."""

    enable_router: bool
    repository: str | None = None
    tag: PinnedTag | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: Objects | None = None
    service_account_name: str | None = None
    replica_count: Count | None = None
    env: Objects | None = None
    autoscaling: RouterAutoscaling | None = None
    pdb: DisruptionBudget | None = None
    priority_class_name: str | None = None
    container_port: Port | None = None
    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] | None = None
    node_port: Port | None = None
    service_port: Port | None = None
    service_annotations: Mapping[str, str] | None = None
    service_discovery: Literal["k8s", "static"] | None = None
    k8s_service_discovery_type: Annotated[
        Literal["pod-ip", "service-name"] | None, Field(alias="k8sServiceDiscoveryType")
    ] = None
    static_backends: str | None = None
    static_models: str | None = None
    routing_logic: RoutingLogic | None = None
    prefix_min_match_length: Count | None = None
    session_key: str | None = None
    root_path: str | None = None
    extra_args: Sequence[str] | None = None
    extra_ports: Objects | None = None
    engine_scrape_interval: Count | None = None
    request_stats_window: Count | None = None
    otel: OpenTelemetry | None = None
    strategy: Object | None = None
    vllm_api_key: SecretRef | None = None
    lmcache_config: LmcacheLog | None = None
    lmcache_controller_port: Port | None = None
    lmcache_controller_reply_port: Port | None = None
    lmcache_controller_heartbeat_port: Port | None = None
    resources: Object | None = None
    labels: Mapping[str, str] | None = None
    pod_annotations: Mapping[str, str] | None = None
    ingress: Ingress | None = None
    route: Mapping[str, Route] | None = None
    affinity: Object | None = None
    node_selector_terms: Objects | None = None
    security_context: Object | None = None
    container_security_context: Object | None = None
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    service_monitor: ServiceMonitor | None = None
    extra_volumes: Objects | None = None
    extra_volume_mounts: Objects | None = None

    @model_validator(mode="after")
    def _what_the_logic_needs(self) -> RouterSpec:
        if self.enable_router and (self.repository is None or self.tag is None):
            raise ValueError("the chart's default image is lmcache/lmstack-router:latest; set repository and tag")
        if self.routing_logic == "session" and not self.session_key:
            raise ValueError("routingLogic session needs sessionKey, the name of a header; set it")
        if self.session_key and self.routing_logic != "session":
            raise ValueError("sessionKey does nothing unless routingLogic is session; remove it")
        if self.service_discovery == "static" and not (self.static_backends and self.static_models):
            raise ValueError("serviceDiscovery static needs staticBackends and staticModels; set both")
        return self
