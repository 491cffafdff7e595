"""What keeps an environment's namespace apart from others on the same cluster: who may reach it, what it may ask for.

A NetworkPolicy holds where the cluster's network enforces it; the embedded cluster stores it and enforces none.
Which paths are open is in `components.network_paths`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pulumi
from pulumi_kubernetes.core.v1 import ResourceQuota, ResourceQuotaSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import NetworkPolicy

from components.base import Component
from components.cluster import ClusterHandle
from components.gateway import gateway
from components.labels import EnvironmentLabels
from components.network_paths import OpenPath, PathArgs, open_paths, policies
from components.pods import SKIP_AWAIT
from components.serving import engine, router


@dataclass(frozen=True, kw_only=True)
class QuotaArgs:
    """Most that the namespace may ask for; None: no limit.

    Attributes:
        gpus: GPUs or slices, of each resource name.
        cpu: CPUs.
        memory_gib: GiB.
        pods: pods.
    """

    gpus: int | None = None
    cpu: int | None = None
    memory_gib: int | None = None
    pods: int | None = None

    def hard(self, gpu_resources: Sequence[str]) -> dict[str, str]:
        """As a ResourceQuota's `hard`."""
        given = {
            **{f"requests.{name}": self.gpus for name in gpu_resources},
            "requests.cpu": self.cpu,
            "requests.memory": None if self.memory_gib is None else f"{self.memory_gib}Gi",
            "pods": self.pods,
        }
        return {name: str(value) for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class TenancyArgs:
    """Isolation of an environment.

    Attributes:
        labels: of the environment.
        cluster: where; its KEDA and Prometheus must reach the pods.
        gpu_resources: extended resources of its pools.
        quota: None: no limits.
        tls: the gateway itself ends TLS.
        disaggregated: engines hand blocks of the KV cache to each other.
        preload: a Job fills a store with model weights.
        metadata_server: pods ask the cloud's metadata server for their identity, to mount a bucket.
        extras: a chart's own values bring pods.
        kv_cache_ports: of remote caches that engines use.
        trace_ports: of receivers of traces.
    """

    labels: EnvironmentLabels
    cluster: ClusterHandle
    gpu_resources: Sequence[str] = field(default_factory=tuple)
    quota: QuotaArgs | None = None
    tls: bool = False
    disaggregated: bool = False
    preload: bool = False
    metadata_server: bool = False
    extras: bool = False
    kv_cache_ports: tuple[int, ...] = ()
    trace_ports: tuple[int, ...] = ()


class Tenancy(Component):
    """Closes the namespace and limits it."""

    def __init__(
        self,
        name: str,
        args: TenancyArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: tuple[pulumi.Resource, ...] = (),
    ) -> None:
        super().__init__("tenancy", name, opts, after)
        for policy, spec in policies(environment_paths(args), args.labels).items():
            NetworkPolicy(f"{name}-{policy}", metadata=_metadata(args, policy), spec=spec, opts=self.child())
        hard = args.quota.hard(args.gpu_resources) if args.quota else {}
        if hard:
            ResourceQuota(
                f"{name}-quota",
                # The controller counts before it is ready; there is nothing to wait for.
                metadata=_metadata(args, "environment", SKIP_AWAIT),
                spec=ResourceQuotaSpecArgs(hard=hard),
                opts=self.child(),
            )
        self.register_outputs({"quota": hard})


def environment_paths(args: TenancyArgs) -> list[OpenPath]:
    """Every way that is open into and out of the environment's pods."""
    return open_paths(
        PathArgs(
            gateway_ports=(gateway.TLS_PORT,) if args.tls else (gateway.PORT,),
            gateway_metrics_port=gateway.METRICS_PORT,
            router_port=router.PORT,
            router_metrics_port=router.METRICS_PORT,
            engine_port=engine.PORT,
            interceptor_port=args.cluster.interceptor.port,
            keda_namespace=args.cluster.keda_namespace,
            prometheus_namespace=prometheus_namespace(args.cluster.prometheus_address),
            disaggregated=args.disaggregated,
            preload=args.preload,
            metadata_server=args.metadata_server,
            extras=args.extras,
            kv_cache_ports=args.kv_cache_ports,
            trace_ports=args.trace_ports,
        )
    )


def prometheus_namespace(address: str) -> str:
    """Namespace of a Service's URL; "" if Prometheus is outside the cluster."""
    parts = (urlsplit(address).hostname or "").split(".")
    return parts[1] if len(parts) > 2 and parts[2] == "svc" else ""  # noqa: PLR2004


def _metadata(args: TenancyArgs, name: str, annotations: Mapping[str, str] | None = None) -> ObjectMetaArgs:
    return ObjectMetaArgs(
        name=name, namespace=args.labels.namespace, labels=args.labels.shared, annotations=annotations
    )
