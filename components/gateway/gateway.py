"""The gateway as a component: HAProxy, its configuration, and the Service that clients reach."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    ContainerPortArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.core.v1.outputs import ServiceStatus
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.base import Component
from components.cluster import ClusterHandle
from components.gateway.haproxy import HaproxyConfig, render
from components.labels import EnvironmentLabels, Workload
from components.pods import (
    SKIP_AWAIT,
    confined,
    http_probe,
    pod_ip,
    scraped,
    serve_on_after_deletion,
    service_account,
)
from components.scheduling import on_system_nodes, spread_over_nodes
from components.timing import GRACE_MARGIN_SECONDS, PRE_STOP_SECONDS
from components.versions import HAPROXY

NAME: Final = str(Workload.GATEWAY)
PORT: Final = 8080
METRICS_PORT: Final = 8404
CONFIG_FOLDER: Final = "/usr/local/etc/haproxy"
CONFIG_HASH_ANNOTATION: Final = "inference.platform/config-hash"

HAPROXY_USER: Final = 99
"""The image's user `haproxy`; Kubernetes can check a number only."""


def gateway_host(labels: EnvironmentLabels) -> str:
    """Host header of the requests that this environment's gateway sends on; no other environment's routes match it."""
    return f"{NAME}.{labels.namespace}.svc"


@dataclass(frozen=True, kw_only=True)
class GatewayArgs:
    """The gateway of an environment.

    Attributes:
        labels: of the environment.
        cluster: where.
        models: names of the served models.
        adapters: LoRA adapters, each with the model that serves it.
        patience_seconds: until the first byte of the slowest answer of any model.
        drain_seconds: what requests get when the gateway is replaced.
        replicas: gateway pods.
        key_hashes: SHA-256 in hexadecimal of the API keys that it accepts; empty: it asks for none.
    """

    labels: EnvironmentLabels
    cluster: ClusterHandle
    models: tuple[str, ...]
    patience_seconds: int
    drain_seconds: int
    replicas: int = 1
    adapters: Mapping[str, str] = field(default_factory=dict)
    key_hashes: tuple[str, ...] = ()


class Gateway(Component):
    """One stable address for all models.

    Attributes:
        url: of the gateway; the OpenAI API is below /v1 of it.
        host: Host header that requests carry from here on.
    """

    url: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        args: GatewayArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: tuple[pulumi.Resource, ...] = (),
    ) -> None:
        super().__init__("gateway", name, opts, after)
        self.host = gateway_host(args.labels)
        exposure = args.cluster.gateway
        config = render(haproxy_config(args))
        account = service_account(self, name, _metadata(args))
        config_map = ConfigMap(
            f"{name}-config",
            metadata=_metadata(args),
            data={"haproxy.cfg": config},
            opts=self.child(),
        )
        deployment = Deployment(
            name,
            metadata=_metadata(args),
            spec=gateway_deployment(args, config),
            opts=self.child(account, config_map),
        )
        service = Service(
            name,
            metadata=_metadata(args, service_annotations(args)),
            spec=ServiceSpecArgs(
                type=exposure.service_type,
                selector=args.labels.selector(Workload.GATEWAY),
                ports=[ServicePortArgs(name="http", port=PORT, target_port="http")],
            ),
            # Where Pulumi waits for a Service's address, it must not do so before the Deployment has had its turn.
            opts=self.child(deployment),
        )
        self.url = address_of(service, args.labels) if exposure.url is None else pulumi.Output.from_input(exposure.url)
        self.register_outputs({"url": self.url, "host": self.host})


def address_of(service: Service, labels: EnvironmentLabels) -> pulumi.Output[str]:
    """URL of a Service at its load balancer, or inside the cluster where it has none."""

    # One output at a time: `Output.all` hands on plain dictionaries instead of the SDK's types.
    def url(status: ServiceStatus | None) -> str:
        points = status.load_balancer.ingress if status and status.load_balancer else None
        for point in points or ():
            if point.hostname or point.ip:
                return f"http://{point.hostname or point.ip}:{PORT}"
        return f"http://{gateway_host(labels)}:{PORT}"

    return service.status.apply(url)


def haproxy_config(args: GatewayArgs) -> HaproxyConfig:
    """What the configuration file is rendered from."""
    return HaproxyConfig(
        models=args.models,
        adapters=args.adapters,
        host=gateway_host(args.labels),
        interceptor_host=args.cluster.interceptor.host,
        interceptor_port=args.cluster.interceptor.port,
        patience_seconds=args.patience_seconds,
        drain_seconds=args.drain_seconds,
        key_hashes=args.key_hashes,
        port=PORT,
        metrics_port=METRICS_PORT,
    )


def service_annotations(args: GatewayArgs) -> dict[str, str]:
    """The Service's annotations.

    Pulumi's wait for a Service takes ten seconds to be sure of its endpoints. The Deployment has
    been awaited already; only an address that a load balancer has yet to give is worth a wait.
    """
    awaited = args.cluster.gateway.service_type == "LoadBalancer"
    return {**args.cluster.gateway.annotations, **({} if awaited else SKIP_AWAIT)}


def gateway_deployment(args: GatewayArgs, config: str) -> DeploymentSpecArgs:
    """The Deployment's spec."""
    selector = args.labels.selector(Workload.GATEWAY)
    placement = on_system_nodes(cpu="250m", memory="1Gi", selector=args.cluster.system_nodes)
    # HAProxy reads its file once: a new file needs new pods.
    config_hash = hashlib.sha256(config.encode()).hexdigest()[:16]
    return DeploymentSpecArgs(
        replicas=args.replicas,
        selector=LabelSelectorArgs(match_labels=selector),
        strategy=DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=RollingUpdateDeploymentArgs(max_surge=1, max_unavailable=0),
        ),
        revision_history_limit=2,
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(
                labels=args.labels.of(Workload.GATEWAY),
                annotations={**scraped(METRICS_PORT), CONFIG_HASH_ANNOTATION: config_hash},
            ),
            spec=PodSpecArgs(
                service_account_name=NAME,
                automount_service_account_token=False,
                enable_service_links=False,
                node_selector=placement.node_selector,
                topology_spread_constraints=[spread_over_nodes(selector)],
                termination_grace_period_seconds=PRE_STOP_SECONDS + args.drain_seconds + GRACE_MARGIN_SECONDS,
                containers=[
                    ContainerArgs(
                        name="haproxy",
                        image=HAPROXY,
                        args=["-f", f"{CONFIG_FOLDER}/haproxy.cfg"],
                        env=[pod_ip()],
                        ports=[
                            ContainerPortArgs(name="http", container_port=PORT),
                            ContainerPortArgs(name="metrics", container_port=METRICS_PORT),
                        ],
                        resources=placement.resources.as_requirements(),
                        security_context=confined(HAPROXY_USER),
                        startup_probe=http_probe("/healthz", PORT, period=1, failures=60),
                        readiness_probe=http_probe("/healthz", PORT, period=5),
                        liveness_probe=http_probe("/healthz", PORT, period=10),
                        lifecycle=serve_on_after_deletion(),
                        volume_mounts=[VolumeMountArgs(name="config", mount_path=CONFIG_FOLDER, read_only=True)],
                    )
                ],
                volumes=[
                    VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=NAME)),
                ],
            ),
        ),
    )


def _metadata(args: GatewayArgs, annotations: dict[str, str] | None = None) -> ObjectMetaArgs:
    return ObjectMetaArgs(
        name=NAME,
        namespace=args.labels.namespace,
        labels=args.labels.of(Workload.GATEWAY),
        annotations=annotations or None,
    )
