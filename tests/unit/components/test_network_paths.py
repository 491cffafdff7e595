"""The open paths: the policies mean exactly what the table says, and the documentation has the table.

What policies mean is worked out by `local.network_policy`; that a network enforces them is not proven.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.labels import COMPONENT, ENVIRONMENT, EnvironmentLabels, Workload
from components.network_paths import OpenPath, Party, PathArgs, open_paths, policies, table
from components.tenancy import environment_paths
from local.network_policy import Endpoint, may_connect
from tests.unit.components.test_tenancy import built_policies, tenancy
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[3] / "docs" / "security.md"
ALL = PathArgs(
    gateway_ports=(8080,),
    gateway_metrics_port=8404,
    router_port=8000,
    router_metrics_port=29000,
    engine_port=8000,
    interceptor_port=8080,
    keda_namespace="keda",
    prometheus_namespace="monitoring",
    disaggregated=True,
    preload=True,
    metadata_server=True,
    extras=True,
    kv_cache_ports=(6379,),
    trace_ports=(4317,),
)
PORTS = (53, 80, 443, 988, 4317, 6379, 6443, 8000, 8080, 8404, 9999, 29000)
OURS = [str(workload) for workload in Workload]


def pod(namespace: str, address: str, environment: str = "", component: str = "") -> Endpoint:
    labels = {ENVIRONMENT: environment, COMPONENT: component} if component else {}
    return Endpoint(address, namespace, labels, {"kubernetes.io/metadata.name": namespace})


WORLD = {
    **{name: pod("inference-dev", f"10.0.0.{i}", "dev", name) for i, name in enumerate(OURS, 1)},
    "extras": pod("inference-dev", "10.0.0.20"),
    **{f"other {name}": pod("inference-other", f"10.0.1.{i}", "other", name) for i, name in enumerate(OURS, 1)},
    "keda": pod("keda", "10.0.2.1"),
    "monitoring": pod("monitoring", "10.0.3.1"),
    "default": pod("default", "10.0.4.1"),
    "internet": Endpoint("93.184.216.34"),
    "metadata": Endpoint("169.254.169.254"),
}


def is_party(party: Party, name: str) -> bool:
    """Whether somebody of the world is meant, told apart by name alone."""
    if party.extras:
        return name == "extras"
    if party.workload is not None:
        return name == str(party.workload)
    if party.namespace:
        return name == party.namespace
    return name == "metadata" if party.network else True


def expected(paths: list[OpenPath], source: str, destination: str, port: int, protocol: str) -> bool:
    """By the table alone: open if a row says so, or if no end of it is the environment's."""
    inside = {*OURS, "extras"}
    if source not in inside and destination not in inside:
        return True

    def row_for(end: str) -> bool:
        return any(
            is_party(path.source, source)
            and is_party(path.destination, destination)
            and (not path.ports or (port in path.ports and protocol in path.protocols))
            and (path.source.inside if end == "source" else path.destination.inside)
            for path in paths
        )

    return (source not in inside or row_for("source")) and (destination not in inside or row_for("destination"))


def as_json(engine: Engine, **changes: Any) -> list[dict[str, Any]]:
    made = built_policies(engine, **changes)
    return [{"metadata": {"name": name, "namespace": "inference-dev"}, "spec": spec} for name, spec in made.items()]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tls": True},
        {"disaggregated": True},
        {"preload": True, "metadata_server": True, "extras": True},
        {"kv_cache_ports": (6379,), "trace_ports": (4317,)},
    ],
)
def test_open_is_what_the_table_says_and_nothing_else(engine: Engine, changes: dict[str, Any]) -> None:
    """Every pair of a world with a second environment, KEDA, Prometheus, others and the internet, at every port."""
    made = as_json(engine, **changes)
    paths: list[OpenPath] = []
    engine.run(lambda: paths.extend(environment_paths(tenancy(**changes))))
    wrong = [
        (source, destination, port, protocol)
        for source in WORLD
        for destination in WORLD
        for port in (*PORTS, 8443)
        for protocol in ("TCP", "UDP")
        if may_connect(made, WORLD[source], WORLD[destination], port, protocol)
        is not expected(paths, source, destination, port, protocol)
    ]
    assert wrong == []


def test_the_way_of_a_request_is_open_and_its_shortcuts_are_not(engine: Engine) -> None:
    """By hand, so that the table itself is held to something."""
    made = as_json(engine)

    def reach(source: str, destination: str, port: int) -> bool:
        return may_connect(made, WORLD[source], WORLD[destination], port)

    for source, destination, port in [
        ("internet", "gateway", 8080),
        ("gateway", "keda", 8080),
        ("keda", "router", 8000),
        ("router", "engine", 8000),
        ("monitoring", "gateway", 8404),
        ("monitoring", "router", 29000),
        ("monitoring", "engine", 8000),
        ("engine", "internet", 443),
    ]:
        assert reach(source, destination, port), (source, destination, port)
    for source, destination, port in [
        ("internet", "engine", 8000),
        ("internet", "router", 8000),
        ("internet", "gateway", 8404),
        ("gateway", "router", 8000),
        ("gateway", "engine", 8000),
        ("gateway", "internet", 443),
        ("keda", "engine", 8000),
        ("engine", "engine", 8000),
        ("engine", "router", 8000),
        ("engine", "internet", 80),
        ("engine", "metadata", 80),
        ("other engine", "engine", 8000),
        ("other gateway", "router", 8000),
        ("default", "router", 8000),
        ("default", "engine", 8000),
        ("monitoring", "router", 8000),
        ("extras", "engine", 8000),
    ]:
        assert not reach(source, destination, port), (source, destination, port)


def test_engines_reach_each_other_where_they_hand_blocks_over(engine: Engine) -> None:
    """A second engine of the same environment; never one of another."""
    neighbour = pod("inference-dev", "10.0.0.30", "dev", "engine")
    for disaggregated in (False, True):
        made = as_json(engine, disaggregated=disaggregated)
        assert may_connect(made, neighbour, WORLD["engine"], 5600) is disaggregated
        assert not may_connect(made, WORLD["other engine"], WORLD["engine"], 5600)


def test_each_workload_has_one_policy_beside_the_one_that_closes() -> None:
    labels = EnvironmentLabels("dev")
    assert list(policies(open_paths(ALL), labels)) == ["closed", "gateway", "router", "engine", "weights", "extras"]


def test_prometheus_outside_the_cluster_opens_nothing() -> None:
    outside = PathArgs(**{**vars(ALL), "prometheus_namespace": ""})
    assert not [path for path in open_paths(outside) if path.why == "metrics"]


def test_the_documentation_has_the_table() -> None:
    assert table(open_paths(ALL)) in DOCS.read_text(encoding="utf-8"), table(open_paths(ALL))
