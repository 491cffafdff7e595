"""What keeps an environment's namespace apart from others on the same cluster: who may reach it, what it may ask for.

A NetworkPolicy holds where the cluster's network enforces it; the embedded cluster stores it and enforces none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import pulumi
from pulumi_kubernetes.core.v1 import ResourceQuota, ResourceQuotaSpecArgs
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.networking.v1 import (
    NetworkPolicy,
    NetworkPolicyIngressRuleArgs,
    NetworkPolicyPeerArgs,
    NetworkPolicyPortArgs,
    NetworkPolicySpecArgs,
)

from components.base import Component
from components.cluster import ClusterHandle
from components.gateway import gateway
from components.labels import EnvironmentLabels, Workload
from components.pods import SKIP_AWAIT

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
"""Kubernetes gives every namespace its name as this label."""


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
    """

    labels: EnvironmentLabels
    cluster: ClusterHandle
    gpu_resources: Sequence[str] = field(default_factory=tuple)
    quota: QuotaArgs | None = None


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
        NetworkPolicy(
            f"{name}-closed",
            metadata=_metadata(args, "closed-to-others"),
            spec=closed_to_others(args),
            opts=self.child(),
        )
        NetworkPolicy(
            f"{name}-gateway",
            metadata=_metadata(args, "gateway-open"),
            spec=gateway_open(args.labels),
            opts=self.child(),
        )
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


def closed_to_others(args: TenancyArgs) -> NetworkPolicySpecArgs:
    """Into any pod only from the environment itself, from KEDA's interceptor and from Prometheus."""
    namespaces = [args.cluster.keda_namespace, prometheus_namespace(args.cluster.prometheus_address)]
    peers = [NetworkPolicyPeerArgs(pod_selector=LabelSelectorArgs())]
    peers += [
        NetworkPolicyPeerArgs(namespace_selector=LabelSelectorArgs(match_labels={NAMESPACE_LABEL: namespace}))
        for namespace in dict.fromkeys(namespaces)
        if namespace
    ]
    return NetworkPolicySpecArgs(
        pod_selector=LabelSelectorArgs(),
        policy_types=["Ingress"],
        ingress=[NetworkPolicyIngressRuleArgs(from_=peers)],
    )


def gateway_open(labels: EnvironmentLabels) -> NetworkPolicySpecArgs:
    """To the gateway's port from everywhere: where clients are is the load balancer's business."""
    return NetworkPolicySpecArgs(
        pod_selector=LabelSelectorArgs(match_labels=labels.selector(Workload.GATEWAY)),
        policy_types=["Ingress"],
        ingress=[NetworkPolicyIngressRuleArgs(ports=[NetworkPolicyPortArgs(port=gateway.PORT, protocol="TCP")])],
    )


def prometheus_namespace(address: str) -> str:
    """Namespace of a Service's URL; "" if Prometheus is outside the cluster."""
    parts = (urlsplit(address).hostname or "").split(".")
    return parts[1] if len(parts) > 2 and parts[2] == "svc" else ""  # noqa: PLR2004


def _metadata(args: TenancyArgs, name: str, annotations: Mapping[str, str] | None = None) -> ObjectMetaArgs:
    return ObjectMetaArgs(
        name=name, namespace=args.labels.namespace, labels=args.labels.shared, annotations=annotations
    )
