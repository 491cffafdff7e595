"""What NetworkPolicies mean: the examples of Kubernetes' documentation as a table, and laws that hold for any policies.

Does not prove that a cluster's network does the same.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.network_policy import Endpoint, may_connect, selects

pytestmark = pytest.mark.unit


def pod(namespace: str, address: str, **labels: str) -> Endpoint:
    return Endpoint(address, namespace, labels, {"kubernetes.io/metadata.name": namespace}, {"web": 8080})


def policy(spec: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": spec}


DB = pod("default", "10.0.0.1", role="db")
FRONT = pod("default", "10.0.0.2", role="frontend")
BACK = pod("default", "10.0.0.3", role="backend")
ALICE = pod("alice", "10.1.0.1", role="client")
OUTSIDE = Endpoint("172.17.1.9")
NEAR = Endpoint("172.17.9.9")

DOCUMENTED = policy(
    {
        "podSelector": {"matchLabels": {"role": "db"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [
                    {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}},
                    {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "alice"}}},
                    {"podSelector": {"matchLabels": {"role": "frontend"}}},
                ],
                "ports": [{"protocol": "TCP", "port": 6379}],
            }
        ],
        "egress": [
            {
                "to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}],
                "ports": [{"protocol": "TCP", "port": 32000, "endPort": 32768}],
            }
        ],
    }
)
"""The example of kubernetes.io/docs/concepts/services-networking/network-policies, and its range of ports."""


@pytest.mark.parametrize(
    ("source", "destination", "port", "expected"),
    [
        (FRONT, DB, 6379, True),
        (BACK, DB, 6379, False),
        (FRONT, DB, 6380, False),
        (ALICE, DB, 6379, True),
        (NEAR, DB, 6379, True),
        (OUTSIDE, DB, 6379, False),
        (DB, FRONT, 32500, True),
        (DB, FRONT, 32769, False),
        (DB, ALICE, 32500, False),
        (FRONT, BACK, 1, True),
        (BACK, OUTSIDE, 1, True),
    ],
)
def test_the_documented_example(source: Endpoint, destination: Endpoint, port: int, expected: bool) -> None:
    assert may_connect([DOCUMENTED], source, destination, port) is expected


def test_both_selectors_in_one_peer_must_hold() -> None:
    """The trap of the documentation: a dash more or less decides between "and" and "or"."""
    of_alice = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "alice"}}}
    of_frontends = {"podSelector": {"matchLabels": {"role": "frontend"}}}
    both = policy({"podSelector": {}, "ingress": [{"from": [{**of_alice, **of_frontends}]}]})
    either = policy({"podSelector": {}, "ingress": [{"from": [of_alice, of_frontends]}]})
    assert [may_connect([both], source, DB, 1) for source in (ALICE, FRONT)] == [False, False]
    assert [may_connect([either], source, DB, 1) for source in (ALICE, FRONT)] == [True, True]


def test_default_policies() -> None:
    """Deny all, allow all, and what a policy without types is about."""
    deny = policy({"podSelector": {}, "policyTypes": ["Ingress"]})
    allow = policy({"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]})
    assert not may_connect([deny], FRONT, DB, 1)
    assert may_connect([deny, allow], FRONT, DB, 1)
    assert may_connect([deny], DB, ALICE, 1)
    closed = policy({"podSelector": {}, "policyTypes": ["Egress"]})
    assert not may_connect([closed], DB, ALICE, 1)
    assert may_connect([closed], ALICE, DB, 1)
    no_types = policy({"podSelector": {}, "egress": [{"ports": [{"port": 53, "protocol": "UDP"}]}]})
    assert may_connect([policy({"podSelector": {}, "ingress": [{}]})], DB, ALICE, 1)
    assert may_connect([no_types], DB, ALICE, 53, "UDP")
    assert not may_connect([no_types], DB, ALICE, 53)
    assert not may_connect([no_types], ALICE, DB, 53, "UDP")


def test_a_ports_name_is_the_destinations() -> None:
    named = policy({"podSelector": {}, "ingress": [{"ports": [{"port": "web"}]}]})
    assert may_connect([named], FRONT, DB, 8080)
    assert not may_connect([named], FRONT, DB, 8081)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, False),
        ({"key": "b", "operator": "NotIn", "values": ["1"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "b", "operator": "Exists"}, False),
        ({"key": "b", "operator": "DoesNotExist"}, True),
    ],
)
def test_expressions(expression: dict[str, Any], expected: bool) -> None:
    assert selects({"matchExpressions": [expression]}, {"a": "1"}) is expected


ENDS = [DB, FRONT, BACK, ALICE, OUTSIDE, NEAR]
SELECTORS = st.sampled_from([{}, {"matchLabels": {"role": "db"}}, {"matchLabels": {"role": "frontend"}}])
PEERS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    SELECTORS.map(lambda chosen: {"podSelector": chosen}),
    st.just({"namespaceSelector": {}}),
    st.sampled_from(["10.0.0.0/8", "172.17.0.0/16"]).map(lambda cidr: {"ipBlock": {"cidr": cidr}}),
)
PORTS = st.lists(st.sampled_from([{"port": 1}, {"port": 2, "endPort": 9}, {"port": "web"}, {}]), max_size=2)
TYPES = st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]])
POLICIES = st.builds(
    lambda namespace, selector, types, peers, ports: policy(
        {
            "podSelector": selector,
            "policyTypes": types,
            "ingress": [{"from": peers, "ports": ports}],
            "egress": [{"to": peers, "ports": ports}],
        },
        namespace,
    ),
    st.sampled_from(["default", "alice"]),
    SELECTORS,
    TYPES,
    st.lists(PEERS, max_size=2),
    PORTS,
)
QUESTIONS = st.tuples(st.sampled_from(ENDS), st.sampled_from(ENDS), st.sampled_from([1, 2, 5, 8080]))


@given(st.lists(POLICIES, max_size=4), POLICIES, QUESTIONS)
@settings(max_examples=300, deadline=None)
def test_order_and_repetition_do_not_matter(
    some: list[dict[str, Any]], more: dict[str, Any], question: tuple[Endpoint, Endpoint, int]
) -> None:
    answer = may_connect([*some, more], *question)
    assert may_connect([more, *reversed(some), more], *question) is answer


@given(st.lists(POLICIES, max_size=4), POLICIES, QUESTIONS)
@settings(max_examples=300, deadline=None)
def test_policies_only_add_up(
    some: list[dict[str, Any]], more: dict[str, Any], question: tuple[Endpoint, Endpoint, int]
) -> None:
    """Behind a policy that closes everything, another one can only open; without one, only close."""
    closed = [policy({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, name) for name in ("default", "alice")]
    if may_connect([*closed, *some], *question):
        assert may_connect([*closed, *some, more], *question)
    if not some:
        assert may_connect([], *question)
        assert not may_connect(closed, *question) or not (question[0].namespace or question[1].namespace)
