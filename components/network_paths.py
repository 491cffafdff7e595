"""Every way into and out of an environment's pods, as data: NetworkPolicies and the table of the docs are made of it.

All pods of the namespace are closed in both directions; what is listed here is open. A policy holds where the cluster's
network enforces it. Kubernetes itself always lets a node reach its own pods: probes need no path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, LabelSelectorRequirementArgs
from pulumi_kubernetes.networking.v1 import (
    IPBlockArgs,
    NetworkPolicyEgressRuleArgs,
    NetworkPolicyIngressRuleArgs,
    NetworkPolicyPeerArgs,
    NetworkPolicyPortArgs,
    NetworkPolicySpecArgs,
)

from components.labels import COMPONENT, EnvironmentLabels, Workload

NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
"""Kubernetes gives every namespace its name as this label."""

API_SERVER_PORTS: Final = (443, 6443)
"""Of the API server: as its Service has it, and as its own process may listen. Its address is the cluster's secret."""

DNS_PORT: Final = 53
HTTPS_PORT: Final = 443

METADATA_NETWORK: Final = "169.254.169.0/24"
METADATA_PORTS: Final = (80, 988)
"""Of the metadata server that gives Google Cloud's mounting container its identity (GKE: Workload Identity with network
policies: 169.254.169.252:988 and 169.254.169.254:80)."""


@dataclass(frozen=True)
class Party:
    """Who is at one end of a path.

    Attributes:
        name: in the table.
        workload: of the environment; None: not one of its own workloads.
        namespace: all pods of another namespace; "" otherwise.
        network: addresses, as CIDR; "" otherwise.
        extras: pods of the namespace that are no workload of ours: what a chart's own values add.
    """

    name: str
    workload: Workload | None = None
    namespace: str = ""
    network: str = ""
    extras: bool = False

    @property
    def inside(self) -> bool:
        """Whether it is pods of the environment."""
        return self.workload is not None or self.extras

    def selector(self, labels: EnvironmentLabels) -> LabelSelectorArgs:
        """Selects its pods within the namespace."""
        if self.workload is None:
            unknown = LabelSelectorRequirementArgs(key=COMPONENT, operator="DoesNotExist")
            return LabelSelectorArgs(match_expressions=[unknown])
        return LabelSelectorArgs(match_labels=labels.selector(self.workload))

    def peers(self, labels: EnvironmentLabels) -> list[NetworkPolicyPeerArgs]:
        """As the other end of a rule; empty: anybody."""
        if self.inside:
            return [NetworkPolicyPeerArgs(pod_selector=self.selector(labels))]
        if self.namespace:
            chosen = LabelSelectorArgs(match_labels={NAMESPACE_LABEL: self.namespace})
            return [NetworkPolicyPeerArgs(namespace_selector=chosen)]
        return [NetworkPolicyPeerArgs(ip_block=IPBlockArgs(cidr=self.network))] if self.network else []


GATEWAY: Final = Party("gateway", Workload.GATEWAY)
ROUTER: Final = Party("router", Workload.ROUTER)
ENGINE: Final = Party("engine", Workload.ENGINE)
WEIGHTS: Final = Party("weights download", Workload.WEIGHTS)
EXTRAS: Final = Party("pods of the chart's own values", extras=True)
ANYBODY: Final = Party("anybody")


@dataclass(frozen=True)
class OpenPath:
    """A way that is open.

    Attributes:
        source: who connects.
        destination: to whom.
        ports: of the destination's pods; empty: all.
        why: what it is for.
        protocols: TCP, UDP.
    """

    source: Party
    destination: Party
    ports: tuple[int, ...]
    why: str
    protocols: tuple[str, ...] = ("TCP",)

    def port_args(self) -> list[NetworkPolicyPortArgs]:
        """As a rule has them."""
        return [NetworkPolicyPortArgs(port=port, protocol=name) for port in self.ports for name in self.protocols]


@dataclass(frozen=True, kw_only=True)
class PathArgs:
    """What the paths of an environment depend on.

    Attributes:
        gateway_ports: that clients use.
        gateway_metrics_port: of the gateway.
        router_port: that requests come to.
        router_metrics_port: of routers.
        engine_port: of engines: requests, probes, metrics.
        interceptor_port: of the interceptor's pods.
        keda_namespace: where the interceptor runs.
        prometheus_namespace: "": Prometheus is outside the cluster.
        disaggregated: engines hand blocks of the KV cache to each other.
        preload: a Job fills a store with model weights.
        metadata_server: pods ask the cloud's metadata server for their identity, to mount a bucket.
        extras: a chart's own values bring pods.
        kv_cache_ports: of remote caches that engines use.
        trace_ports: of receivers of traces.
    """

    gateway_ports: tuple[int, ...]
    gateway_metrics_port: int
    router_port: int
    router_metrics_port: int
    engine_port: int
    interceptor_port: int
    keda_namespace: str
    prometheus_namespace: str
    disaggregated: bool = False
    preload: bool = False
    metadata_server: bool = False
    extras: bool = False
    kv_cache_ports: tuple[int, ...] = ()
    trace_ports: tuple[int, ...] = ()


def open_paths(args: PathArgs) -> list[OpenPath]:
    """All of them, in the order of a request."""
    keda = Party(f"KEDA (namespace {args.keda_namespace})", namespace=args.keda_namespace)
    paths = [
        OpenPath(ANYBODY, GATEWAY, args.gateway_ports, "clients, through the load balancer if there is one"),
        OpenPath(GATEWAY, keda, (args.interceptor_port,), "requests, to the interceptor"),
        OpenPath(keda, ROUTER, (args.router_port,), "requests, from the interceptor"),
        OpenPath(ROUTER, ENGINE, (args.engine_port,), "requests, and the router's health checks"),
        OpenPath(ROUTER, ANYBODY, API_SERVER_PORTS, "the API server: which engines there are"),
    ]
    if args.disaggregated:
        # NIXL's side channel has a known port; the transfer (UCX) takes any, and on RDMA none that a policy sees.
        paths.append(OpenPath(ENGINE, ENGINE, (), "blocks of the KV cache, from prefill to decode workers"))
    if args.kv_cache_ports:
        paths.append(OpenPath(ENGINE, ANYBODY, args.kv_cache_ports, "keys and values, to and from a remote cache"))
    if args.trace_ports:
        paths.append(OpenPath(ENGINE, ANYBODY, args.trace_ports, "traces, to OpenTelemetry's collector"))
    loaders = (ENGINE, WEIGHTS) if args.preload else (ENGINE,)
    paths += [OpenPath(party, ANYBODY, (HTTPS_PORT,), "model weights: Hugging Face, a bucket") for party in loaders]
    paths += [_dns(party) for party in (GATEWAY, ROUTER, *loaders)]
    if args.prometheus_namespace:
        prometheus = Party(f"Prometheus (namespace {args.prometheus_namespace})", namespace=args.prometheus_namespace)
        paths += [
            OpenPath(prometheus, GATEWAY, (args.gateway_metrics_port,), "metrics"),
            OpenPath(prometheus, ROUTER, (args.router_metrics_port,), "metrics"),
            OpenPath(prometheus, ENGINE, (args.engine_port,), "metrics"),
        ]
    if args.metadata_server:
        server = Party("metadata server", network=METADATA_NETWORK)
        paths += [OpenPath(party, server, METADATA_PORTS, "who may read the bucket") for party in loaders]
    return paths + (list(_of_extras()) if args.extras else [])


def _dns(party: Party) -> OpenPath:
    # The cluster's DNS may be a cache on the node, which no selector of pods finds.
    return OpenPath(party, ANYBODY, (DNS_PORT,), "names: the cluster's DNS", ("TCP", "UDP"))


def _of_extras() -> Iterator[OpenPath]:
    """What a chart's own values bring talks to the engines and to itself; nobody else is let in."""
    everything = "what the chart's own values bring: not known here"
    yield OpenPath(ENGINE, EXTRAS, (), everything)
    yield OpenPath(EXTRAS, ENGINE, (), everything)
    yield OpenPath(EXTRAS, EXTRAS, (), everything)
    yield _dns(EXTRAS)
    yield OpenPath(EXTRAS, ANYBODY, API_SERVER_PORTS, "the API server")


def policies(paths: Sequence[OpenPath], labels: EnvironmentLabels) -> dict[str, NetworkPolicySpecArgs]:
    """NetworkPolicies by name: one that closes everything, and one for each party of the environment.

    Args:
        paths: what is open.
        labels: of the environment.
    """
    made = {"closed": NetworkPolicySpecArgs(pod_selector=LabelSelectorArgs(), policy_types=["Ingress", "Egress"])}
    parties = dict.fromkeys(party for path in paths for party in (path.source, path.destination) if party.inside)
    for party in parties:
        into = [path for path in paths if path.destination == party]
        out_of = [path for path in paths if path.source == party]
        made["extras" if party.extras else str(party.workload)] = NetworkPolicySpecArgs(
            pod_selector=party.selector(labels),
            policy_types=["Ingress", "Egress"],
            ingress=[
                NetworkPolicyIngressRuleArgs(from_=path.source.peers(labels) or None, ports=path.port_args() or None)
                for path in into
            ],
            egress=[
                NetworkPolicyEgressRuleArgs(to=path.destination.peers(labels) or None, ports=path.port_args() or None)
                for path in out_of
            ],
        )
    return made


def table(paths: Sequence[OpenPath]) -> str:
    """The paths as a table in Markdown, those of equal purpose in one row."""
    rows: list[OpenPath] = []
    for path in paths:
        same = next((row for row in rows if _purpose(row) == _purpose(path)), None)
        if same is None:
            rows.append(path)
        else:
            both = Party(f"{same.source.name}, {path.source.name}")
            rows[rows.index(same)] = replace(same, source=both)
    lines = ["| from | to | port | for |", "| --- | --- | --- | --- |"]
    for row in rows:
        protocols = "" if row.protocols == ("TCP",) else f" {' and '.join(row.protocols)}"
        ports = ", ".join(map(str, row.ports)) or "all"
        lines.append(f"| {row.source.name} | {row.destination.name} | {ports}{protocols} | {row.why} |")
    return "\n".join(lines)


def _purpose(path: OpenPath) -> tuple[object, ...]:
    return path.destination, path.ports, path.why, path.protocols
