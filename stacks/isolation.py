"""What surrounds an environment's workloads: namespace, Secrets, open network paths, limits, and its one entrance."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.cluster import ClusterHandle, WeightsVolume
from components.gateway.gateway import Gateway, GatewayArgs
from components.gateway.limits import ClientLimits
from components.gateway.tls import TlsArgs
from components.labels import EnvironmentLabels
from components.scheduling import GpuPool
from components.secrets import EnvironmentSecrets, EnvironmentSecretsArgs, ExternalArgs, SecretArgs
from components.serving.base import ModelDeploymentArgs
from components.tenancy import QuotaArgs, Tenancy, TenancyArgs
from stacks.config import EnvironmentConfig, ModelDeployment
from stacks.config.models_secrets import EnvironmentSecret
from stacks.config.pod_security import brings_pods, pod_security
from stacks.config.vocabulary import TopologyKind
from stacks.secret_values import SecretValues


def create_namespace(
    config: EnvironmentConfig, labels: EnvironmentLabels, cluster: ClusterHandle, after: Sequence[pulumi.Resource]
) -> Namespace:
    """The environment's namespace.

    It comes after the nodes and what is installed on them, and so goes before them: Pulumi waits until the last pod in
    it has ended, on a node that is still there to end it, and no custom resource in it outlives its controller.
    """
    level = pod_security(config).value
    return Namespace(
        labels.namespace,
        metadata=ObjectMetaArgs(
            name=labels.namespace,
            labels={
                **labels.shared,
                "pod-security.kubernetes.io/enforce": level,
                # A Deployment whose pods will be refused says so when it is applied, not when it scales.
                "pod-security.kubernetes.io/warn": level,
            },
        ),
        opts=pulumi.ResourceOptions(provider=cluster.provider, depends_on=list(after)),
    )


def create_secrets(
    config: EnvironmentConfig,
    values: SecretValues,
    labels: EnvironmentLabels,
    cluster: ClusterHandle,
    namespace: pulumi.Resource,
) -> tuple[pulumi.Resource, ...]:
    """The environment's Secrets.

    Args:
        config: checked.
        values: of those that are not brought from outside.
        labels: of the environment.
        cluster: where.
        namespace: of the environment.

    Returns:
        What pods that use them come after; empty without any.
    """
    elsewhere = config.observability.grafana_admin_secret
    secrets = [_secret(item, values) for item in config.secrets if item.name != elsewhere]
    if not secrets:
        return ()
    args = EnvironmentSecretsArgs(labels=labels, secrets=secrets)
    opts = pulumi.ResourceOptions(provider=cluster.provider)
    return EnvironmentSecrets("secrets", args, opts, after=(namespace,)).resources


def grafana_admin(config: EnvironmentConfig, values: SecretValues) -> SecretArgs | None:
    """Grafana's administrator, one of the environment's Secrets; None: the chart makes one."""
    wanted = config.observability.grafana_admin_secret
    return next((_secret(item, values) for item in config.secrets if item.name == wanted), None)


def _secret(item: EnvironmentSecret, values: SecretValues) -> SecretArgs:
    source = item.external
    return SecretArgs(
        name=item.name,
        keys=item.keys,
        values=values.get(item.name, {}) if source is None else {},
        external=ExternalArgs(store=source.store, store_kind=source.store_kind.value, entry=source.entry)
        if source
        else None,
    )


def create_tenancy(
    config: EnvironmentConfig,
    labels: EnvironmentLabels,
    cluster: ClusterHandle,
    pools: Sequence[GpuPool],
    *after: pulumi.Resource,
    volume: WeightsVolume | None,
) -> Tenancy:
    """The namespace's limits, and which ways into and out of it are open."""
    quota, tls = config.tenancy.quota, config.gateway.tls
    args = TenancyArgs(
        labels=labels,
        cluster=cluster,
        gpu_resources=tuple(dict.fromkeys(pool.resource_name for pool in pools)),
        quota=QuotaArgs(**quota.model_dump()) if quota else None,
        tls=tls is not None and tls.gateway_class is None,
        disaggregated=any(item.topology.kind is TopologyKind.DISAGGREGATED for item in config.model_deployments),
        preload=volume is not None and config.weights.preload,
        metadata_server=volume is not None and bool(volume.pod_annotations),
        extras=any(brings_pods(deployment) for deployment in config.model_deployments),
        kv_cache_ports=kv_cache_ports(config.model_deployments),
        trace_ports=trace_ports(config.model_deployments),
    )
    return Tenancy("tenancy", args, pulumi.ResourceOptions(provider=cluster.provider), after=after)


def kv_cache_ports(deployments: Sequence[ModelDeployment]) -> tuple[int, ...]:
    """Ports of the remote caches that engines use; those of a cache server of their own are open with its pods."""
    offloads = [item.engine.kv_offload for item in deployments]
    ports = {int(item.remote_url.rpartition(":")[2]) for item in offloads if item is not None and item.remote_url}
    return tuple(sorted(ports))


def trace_ports(deployments: Sequence[ModelDeployment]) -> tuple[int, ...]:
    """Ports of the receivers that engines send traces to."""
    endpoints = [item.engine.traces.endpoint for item in deployments if item.engine.traces is not None]
    return tuple(sorted({port for port in (urlsplit(endpoint).port for endpoint in endpoints) if port is not None}))


def create_gateway(
    config: EnvironmentConfig,
    labels: EnvironmentLabels,
    cluster: ClusterHandle,
    deployments: Sequence[ModelDeploymentArgs],
    *after: pulumi.Resource,
    secrets: tuple[pulumi.Resource, ...] = (),
) -> Gateway:
    """The gateway: as patient as the slowest model, draining for as long as the longest drain."""
    limits = config.gateway.limits
    return Gateway(
        "gateway",
        GatewayArgs(
            labels=labels,
            cluster=cluster,
            replicas=config.gateway.replicas,
            models=tuple(deployment.name for deployment in deployments),
            adapters={
                adapter.name: item.name
                for item in deployments
                for adapter in (item.engine.lora.adapters if item.engine.lora else ())
            },
            patience_seconds=max(deployment.timing.response_header_seconds for deployment in deployments),
            key_hashes=config.tenancy.api_key_hashes,
            limits=ClientLimits(**limits.model_dump()) if limits else ClientLimits(),
            tls=tls_args(config),
            image_pull_secrets=config.tenancy.image_pull_secrets,
            image_digests=config.image_digests,
            needs=secrets,
            drain_seconds=max(deployment.scaling.drain_seconds for deployment in deployments),
        ),
        pulumi.ResourceOptions(provider=cluster.provider),
        after=after,
    )


def tls_args(config: EnvironmentConfig) -> TlsArgs | None:
    """How clients' connections are encrypted, as the gateway wants it."""
    tls = config.gateway.tls
    if tls is None:
        return None
    return TlsArgs(
        host=config.gateway.host or "",
        secret=tls.secret or "",
        issuer=tls.issuer or "",
        issuer_kind=tls.issuer_kind.value,
        gateway_class=tls.gateway_class or "",
    )
