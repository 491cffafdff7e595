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
    EnvVarArgs,
    KeyToPathArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    SecretVolumeSourceArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.core.v1.outputs import ServiceStatus
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget, PodDisruptionBudgetSpecArgs

from components.base import Component
from components.cluster import ClusterHandle
from components.gateway.haproxy import HaproxyConfig, render
from components.gateway.limits import ClientLimits
from components.gateway.renewal import SCRIPT_FILE, start_script
from components.gateway.tls import HTTPS_PORT, TlsArgs, create_certificate, create_entrance
from components.images import pin_images
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
from components.scheduling import on_system_nodes, spread_over_nodes, spread_over_zones
from components.timing import GRACE_MARGIN_SECONDS, PRE_STOP_SECONDS
from components.versions import HAPROXY

NAME: Final = str(Workload.GATEWAY)
PORT: Final = 8080
TLS_PORT: Final = 8443
METRICS_PORT: Final = 8404
CONFIG_FOLDER: Final = "/usr/local/etc/haproxy"
CONFIG_FILE: Final = "haproxy.cfg"
CERTIFICATE_FOLDER: Final = "/usr/local/etc/haproxy-certificate"
CERTIFICATE_VARIABLE: Final = "CERTIFICATE"
"""Path of the certificate: the local cloud rewrites paths of mounts in variables, not within files."""
CONFIG_HASH_ANNOTATION: Final = "inference.platform/config-hash"

API_KEYS_ANNOTATION: Final = "inference.platform/api-keys"
"""On what clients reach from outside: which object has the hashes of the keys that are asked for."""

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
        limits: of each key.
        tls: None: clients' connections are not encrypted here.
        image_pull_secrets: names of the Secrets that its image is fetched with.
        image_digests: by image with its tag; see `pinned`.
        needs: what must be there before its pods: the Secrets that it mounts.
    """

    labels: EnvironmentLabels
    cluster: ClusterHandle
    models: tuple[str, ...]
    patience_seconds: int
    drain_seconds: int
    replicas: int = 1
    adapters: Mapping[str, str] = field(default_factory=dict)
    key_hashes: tuple[str, ...] = ()
    limits: ClientLimits = field(default_factory=ClientLimits)
    tls: TlsArgs | None = None
    image_pull_secrets: tuple[str, ...] = ()
    image_digests: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[pulumi.Resource, ...] = ()

    @property
    def ends_tls(self) -> bool:
        """Whether HAProxy ends the encryption."""
        return self.tls is not None and self.tls.in_haproxy

    @property
    def port(self) -> int:
        """Of its pods, for clients."""
        return TLS_PORT if self.ends_tls else PORT

    @property
    def port_name(self) -> str:
        """Of its pods and its Service, for clients."""
        return "https" if self.ends_tls else "http"

    @property
    def service_port(self) -> int:
        """Of its Service."""
        return HTTPS_PORT if self.ends_tls else PORT

    @property
    def service_type(self) -> str:
        """Of its Service: nobody but the gateway before it comes from outside where there is one."""
        behind = self.tls is not None and not self.tls.in_haproxy
        return "ClusterIP" if behind else self.cluster.gateway.service_type


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
        files = config_files(args)
        account = service_account(self, name, _metadata(args), args.image_pull_secrets)
        config_map = ConfigMap(
            f"{name}-config",
            metadata=_metadata(args),
            data=files,
            opts=self.child(),
        )
        certificate = create_certificate(self, name, args.tls, _metadata(args)) if args.tls else None
        before = (account, config_map, *args.needs, *([certificate] if certificate else []))
        deployment = Deployment(
            name,
            metadata=_metadata(args),
            spec=gateway_deployment(args, files),
            opts=self.child(*before),
        )
        service = Service(
            name,
            metadata=_metadata(args, service_annotations(args)),
            spec=ServiceSpecArgs(
                type=args.service_type,
                selector=args.labels.selector(Workload.GATEWAY),
                ports=[ServicePortArgs(name=args.port_name, port=args.service_port, target_port=args.port_name)],
            ),
            # Where Pulumi waits for a Service's address, it must not do so before the Deployment has had its turn.
            opts=self.child(deployment),
        )
        if args.replicas > 1:
            # One pod has none: a budget that protects it would hold up the draining of its node for ever, and one that
            # lets it go says nothing.
            PodDisruptionBudget(
                name,
                metadata=_metadata(args),
                spec=PodDisruptionBudgetSpecArgs(
                    max_unavailable=1,
                    # A pod that is not ready serves nobody; it must not hold up the draining either.
                    unhealthy_pod_eviction_policy="AlwaysAllow",
                    selector=LabelSelectorArgs(match_labels=args.labels.selector(Workload.GATEWAY)),
                ),
                opts=self.child(),
            )
        if args.tls:
            metadata = _metadata(args, keys_annotation(args))
            create_entrance(self, name, args.tls, metadata, (NAME, args.service_port), service, *before)
        self.url = url_of(args, service)
        self.register_outputs({"url": self.url, "host": self.host})


def url_of(args: GatewayArgs, service: Service) -> pulumi.Output[str]:
    """Where clients reach it: by the name that its certificate has, where the cloud says, or at the Service."""
    given = args.cluster.gateway.url
    if given is not None:
        url = pulumi.Output.from_input(given)
        return url.apply(lambda text: text.replace("http://", "https://", 1)) if args.tls else url
    if args.tls is not None and args.tls.host:
        return pulumi.Output.from_input(f"https://{args.tls.host}")
    return address_of(service, args)


def address_of(service: Service, args: GatewayArgs) -> pulumi.Output[str]:
    """URL of a Service at its load balancer, or inside the cluster where it has none."""
    scheme = args.port_name
    port = "" if args.ends_tls else f":{args.service_port}"

    # One output at a time: `Output.all` hands on plain dictionaries instead of the SDK's types.
    def url(status: ServiceStatus | None) -> str:
        points = status.load_balancer.ingress if status and status.load_balancer else None
        for point in points or ():
            if point.hostname or point.ip:
                return f"{scheme}://{point.hostname or point.ip}{port}"
        return f"{scheme}://{gateway_host(args.labels)}{port}"

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
        limits=args.limits,
        certificate=f'"${{{CERTIFICATE_VARIABLE}}}"' if args.ends_tls else "",
        port=args.port,
        metrics_port=METRICS_PORT,
    )


def service_annotations(args: GatewayArgs) -> dict[str, str]:
    """The Service's annotations.

    Pulumi's wait for a Service takes ten seconds to be sure of its endpoints. The Deployment has
    been awaited already; only an address that a load balancer has yet to give is worth a wait.
    """
    awaited = args.service_type == "LoadBalancer"
    return {**args.cluster.gateway.annotations, **keys_annotation(args), **({} if awaited else SKIP_AWAIT)}


def keys_annotation(args: GatewayArgs) -> dict[str, str]:
    """Says on an object that clients reach that it asks for keys, and where their hashes are."""
    return {API_KEYS_ANNOTATION: f"configmap/{NAME}"} if args.key_hashes else {}


def config_files(args: GatewayArgs) -> dict[str, str]:
    """What its ConfigMap holds, by file."""
    script = {SCRIPT_FILE: start_script(CERTIFICATE_VARIABLE, args.drain_seconds)} if args.ends_tls else {}
    return {CONFIG_FILE: render(haproxy_config(args)), **script}


def gateway_deployment(args: GatewayArgs, files: Mapping[str, str]) -> DeploymentSpecArgs:
    """The Deployment's spec.

    Args:
        args: the gateway's.
        files: of its ConfigMap.
    """
    selector = args.labels.selector(Workload.GATEWAY)
    placement = on_system_nodes(cpu="250m", memory="1Gi", selector=args.cluster.system_nodes)
    # HAProxy reads its file once: a new file needs new pods.
    config_hash = hashlib.sha256("".join(files.values()).encode()).hexdigest()[:16]
    # Where the clients' port is encrypted, the metrics' port answers probes.
    probed = METRICS_PORT if args.ends_tls else PORT
    certificate = (
        [EnvVarArgs(name=CERTIFICATE_VARIABLE, value=f"{CERTIFICATE_FOLDER}/tls.crt")] if args.ends_tls else []
    )
    mounts = [("config", CONFIG_FOLDER), *([("certificate", CERTIFICATE_FOLDER)] if args.ends_tls else [])]
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
            spec=pin_images(
                PodSpecArgs(
                    service_account_name=NAME,
                    automount_service_account_token=False,
                    enable_service_links=False,
                    node_selector=placement.node_selector,
                    topology_spread_constraints=[spread_over_zones(selector), spread_over_nodes(selector)],
                    termination_grace_period_seconds=PRE_STOP_SECONDS + args.drain_seconds + GRACE_MARGIN_SECONDS,
                    containers=[
                        ContainerArgs(
                            name="haproxy",
                            image=HAPROXY,
                            # Without TLS the image's own entry point does: there is no file that changes.
                            command=["sh", f"{CONFIG_FOLDER}/{SCRIPT_FILE}"] if args.ends_tls else None,
                            args=["-f", f"{CONFIG_FOLDER}/{CONFIG_FILE}"],
                            env=[pod_ip(), *certificate],
                            ports=[
                                ContainerPortArgs(name=args.port_name, container_port=args.port),
                                ContainerPortArgs(name="metrics", container_port=METRICS_PORT),
                            ],
                            resources=placement.resources.as_requirements(),
                            security_context=confined(HAPROXY_USER),
                            startup_probe=http_probe("/healthz", probed, period=1, failures=60),
                            readiness_probe=http_probe("/healthz", probed, period=5),
                            liveness_probe=http_probe("/healthz", probed, period=10),
                            lifecycle=serve_on_after_deletion(),
                            volume_mounts=[
                                VolumeMountArgs(name=name, mount_path=path, read_only=True) for name, path in mounts
                            ],
                        )
                    ],
                    volumes=_volumes(args),
                ),
                args.image_digests,
            ),
        ),
    )


def _volumes(args: GatewayArgs) -> list[VolumeArgs]:
    volumes = [VolumeArgs(name="config", config_map=ConfigMapVolumeSourceArgs(name=NAME))]
    if args.tls is not None and args.tls.in_haproxy:
        # HAProxy looks for the key beside the certificate, under the same name with `.key` added.
        files = [KeyToPathArgs(key="tls.crt", path="tls.crt"), KeyToPathArgs(key="tls.key", path="tls.crt.key")]
        source = SecretVolumeSourceArgs(secret_name=args.tls.certificate_secret, items=files)
        volumes.append(VolumeArgs(name="certificate", secret=source))
    return volumes


def _metadata(args: GatewayArgs, annotations: dict[str, str] | None = None) -> ObjectMetaArgs:
    return ObjectMetaArgs(
        name=NAME,
        namespace=args.labels.namespace,
        labels=args.labels.of(Workload.GATEWAY),
        annotations=annotations or None,
    )
