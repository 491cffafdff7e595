"""What NetworkPolicies mean: whether one pod may reach a port of another, worked out from the API's own objects.

The embedded cluster stores policies and enforces none; this says what a network that enforces them would do. It follows
networking.k8s.io/v1: a pod that no policy selects is open; one that is selected is closed but for what the union of its
policies' rules lets through; both ends must agree.

Limits: what implementations leave undefined is taken in its strict form: a pod's address matches an `ipBlock` as it is,
without translation, and a node is not let in to its own pods, though Kubernetes promises that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Object = Mapping[str, Any]
"""An object of the API as JSON."""

TCP: Final = "TCP"


@dataclass(frozen=True)
class Endpoint:
    """One end of a connection.

    Attributes:
        address: its IP.
        namespace: of the pod; "" outside the cluster.
        labels: of the pod.
        namespace_labels: of its namespace.
        ports: of the pod by name.
    """

    address: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of_pod(cls, pod: Object, namespaces: Iterable[Object]) -> Endpoint:
        """A pod of the API.

        Args:
            pod: the Pod; with an address.
            namespaces: all Namespaces.

        Raises:
            ValueError: the pod has no address yet, or its namespace is not among them.
        """
        metadata, address = pod["metadata"], pod.get("status", {}).get("podIP")
        own = next((item for item in namespaces if item["metadata"]["name"] == metadata["namespace"]), None)
        if not address or own is None:
            raise ValueError(f"pod {metadata['namespace']}/{metadata['name']} has no address or no namespace")
        return cls(
            address=address,
            namespace=metadata["namespace"],
            labels=metadata.get("labels") or {},
            namespace_labels=own["metadata"].get("labels") or {},
            ports={
                port["name"]: port["containerPort"]
                for container in pod["spec"]["containers"]
                for port in container.get("ports") or []
                if port.get("name")
            },
        )


def may_connect(
    policies: Sequence[Object], source: Endpoint, destination: Endpoint, port: int, protocol: str = TCP
) -> bool:
    """Whether a connection is let out at one end and in at the other.

    Args:
        policies: all NetworkPolicies of the cluster.
        source: who connects.
        destination: to whom.
        port: of the destination.
        protocol: TCP, UDP or SCTP.
    """
    asked = _Question(destination, port, protocol)
    out = _open(policies, "Egress", source, destination, asked)
    return out and _open(policies, "Ingress", destination, source, asked)


@dataclass(frozen=True)
class _Question:
    """Which port of whom."""

    destination: Endpoint
    port: int
    protocol: str


def _open(policies: Sequence[Object], direction: str, pod: Endpoint, peer: Endpoint, asked: _Question) -> bool:
    """Whether one end lets a connection through: it is not isolated in that direction, or a rule allows it."""
    if not pod.namespace:
        return True
    own = [policy for policy in policies if _isolates(policy, direction, pod)]
    if not own:
        return True
    key, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return any(
        _peer_matches(rule.get(peers), policy["metadata"]["namespace"], peer)
        and _port_matches(rule.get("ports"), asked)
        for policy in own
        for rule in policy["spec"].get(key) or []
    )


def _isolates(policy: Object, direction: str, pod: Endpoint) -> bool:
    spec = policy["spec"]
    # Without policyTypes a policy is about what comes in, and about what goes out if it has such rules.
    kinds = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    same = policy["metadata"]["namespace"] == pod.namespace
    return same and direction in kinds and selects(spec.get("podSelector") or {}, pod.labels)


def _peer_matches(peers: Sequence[Object] | None, namespace: str, peer: Endpoint) -> bool:
    if not peers:
        return True
    return any(_one_peer_matches(item, namespace, peer) for item in peers)


def _one_peer_matches(item: Object, namespace: str, peer: Endpoint) -> bool:
    block = item.get("ipBlock")
    if block is not None:
        address = ipaddress.ip_address(peer.address)
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(hole) for hole in block.get("except") or []
        )
    if not peer.namespace:
        return False
    of_namespace, of_pod = item.get("namespaceSelector"), item.get("podSelector")
    if of_namespace is None:
        return peer.namespace == namespace and selects(of_pod or {}, peer.labels)
    return selects(of_namespace, peer.namespace_labels) and (of_pod is None or selects(of_pod, peer.labels))


def _port_matches(ports: Sequence[Object] | None, asked: _Question) -> bool:
    if not ports:
        return True
    for item in ports:
        if item.get("protocol", TCP) != asked.protocol:
            continue
        first = item.get("port")
        if first is None:
            return True
        if isinstance(first, str):
            if asked.destination.ports.get(first) == asked.port:
                return True
        elif first <= asked.port <= item.get("endPort", first):
            return True
    return False


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels; an empty one selects everything.

    Raises:
        ValueError: an operator that Kubernetes does not have.
    """
    exact = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in exact.items()):
        return False
    return all(_expression_holds(item, labels) for item in selector.get("matchExpressions") or [])


def _expression_holds(item: Object, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(item["key"]), item.get("values") or []
    match item["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise ValueError(f"no operator of a label selector: {other}")
