"""Rules, alerts and dashboards on the embedded cluster under load: every query has an answer, and the cost is right.

GPUs are simulated, and so are the series about them (`simulated="true"`): what they show of a real GPU is not proven.
Nor is that Grafana draws the dashboards: there is no Grafana here.
"""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lightkube import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta

from components.labels import EnvironmentLabels
from components.observability.alerts.faults import fault_alerts
from components.observability.alerts.slo import burn_alerts
from components.observability.dashboards import all_dashboards
from components.observability.dashboards.panels import Dashboard, Panel
from components.observability.delivery import rule_groups
from components.observability.objects import AlertRule, EnvironmentFacts
from local import cluster
from stacks.config import load_environment
from stacks.monitoring import environment_facts
from stacks.plan import plan_config
from tests.local.conftest import CONFIG, NAME, NAMESPACE, Environment, until
from tests.local.traffic import Traffic

pytestmark = pytest.mark.local

PrometheusRule = create_namespaced_resource("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules")
LOAD_SECONDS = 120
"""Rates reach half a second beyond an engine's last token: little, against two minutes."""


def facts() -> EnvironmentFacts:
    config = load_environment(CONFIG, NAME)
    return environment_facts(config, plan_config(config, NAME), EnvironmentLabels(NAME))


@dataclass(frozen=True)
class Prometheus:
    """The cluster's, over its HTTP API."""

    port: int

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}") as reply:
            return json.load(reply)["data"]

    def ask(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series that answer a query now, or at a time."""
        moment = {} if at is None else {"time": str(at)}
        found: list[dict[str, Any]] = self.get("query", query=expr, **moment)["result"]
        return found

    def value(self, expr: str, at: float | None = None) -> float:
        (series,) = self.ask(expr, at)
        return float(series["value"][1])


@pytest.fixture(scope="module")
def prometheus(environment: Environment) -> Prometheus:
    return Prometheus(cluster.ports(environment.files).prometheus)


def test_cost_per_million_tokens_is_the_one_by_hand(environment: Environment, prometheus: Prometheus) -> None:
    """A run from start to end, wake-up and cooldown included, by the rules and from raw samples: within 1 %.

    By hand: seconds that engines were on a node (kube-state-metrics, one sample per second) times the plan's price of a
    replica, over the output tokens that the clients got and the prompt tokens that the engines counted.
    """
    with (
        Traffic(environment.url, "chat", per_second=4.0, tokens=60) as chat,
        Traffic(environment.url, "code", per_second=2.0, tokens=90) as code,
    ):
        began = time.time()
        until(lambda: time.time() - began > LOAD_SECONDS, LOAD_SECONDS + 30, "a minute of load")
    ended = time.time()
    assert all(sent.answer is not None and sent.answer.complete for sent in (*chat.sent, *code.sent))
    traffic = {"chat": chat, "code": code}
    environment.await_zero()
    # Tokens are billed as a rate over a minute: then the last one has been counted.
    until(lambda: time.time() - ended > 65, 80, "the minute after the load")
    for model, at in (("chat", time.time()), ("code", time.time())):
        of_model = f'namespace="{NAMESPACE}",inference_model="{model}"'
        (price,) = (item.price_per_replica_hour for item in facts().models if item.name == model)
        assert price is not None
        seconds = prometheus.value(
            f'sum(count_over_time(kube_pod_info{{namespace="{NAMESPACE}",pod=~"{model}-engine-.*",node!=""}}[5m]))', at
        )
        # An engine's first sample is not zero: it woke with requests to answer.
        counted = f"vllm:prompt_tokens_total{{{of_model}}}"
        before = f"(sum(last_over_time({counted}[1m] offset 5m)) or vector(0))"
        prompt = prometheus.value(f"sum(max_over_time({counted}[5m])) - {before}", at)
        generation = sum(sent.answer.tokens for sent in traffic[model].sent if sent.answer is not None)
        dollars = seconds * price / 3600
        by_hand = {
            "all": dollars / (prompt + generation) * 1e6,
            "output": dollars / (generation + 0.25 * prompt) * 1e6,
            "input": 0.25 * dollars / (generation + 0.25 * prompt) * 1e6,
        }
        for tokens, expected in by_hand.items():
            selector = f'{{{of_model},tokens="{tokens}"}}'
            recorded = prometheus.value(f"inference:cost_dollars_per_million_tokens:5m{selector}", at)
            print(f"{model} {tokens}: recorded ${recorded:.4f}, by hand ${expected:.4f} per million tokens")
            assert recorded == pytest.approx(expected, rel=0.01)


@dataclass(frozen=True)
class Loaded:
    """What the load was: when the first request went out, and what came back."""

    began: float
    prometheus: Prometheus


@pytest.fixture(scope="module")
def loaded(environment: Environment, prometheus: Prometheus) -> Iterator[Loaded]:
    """Both models busy for long enough that all rules have something to say."""
    began = time.time()
    until(lambda: {rule["health"] for rule in rules(prometheus)} == {"ok"}, 30, "all rules loaded and evaluated once")
    with (
        Traffic(environment.url, "chat", per_second=4.0, tokens=60) as chat,
        Traffic(environment.url, "code", per_second=4.0, tokens=60) as code,
    ):
        until(lambda: time.time() - began > LOAD_SECONDS, LOAD_SECONDS + 30, "a minute of load")
        yield Loaded(began, prometheus)
    for traffic in (chat, code):
        assert all(sent.answer is not None and sent.answer.complete for sent in traffic.sent)


def rules(prometheus: Prometheus) -> list[dict[str, Any]]:
    """Every rule that Prometheus has loaded, with its health."""
    return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]


def test_every_rule_is_loaded_and_healthy(loaded: Loaded) -> None:
    """The PrometheusRule objects passed their real schema, and Prometheus evaluates each rule without an error."""
    expected = sum(len(group.rules) for groups in rule_groups(facts()).values() for group in groups)
    found = rules(loaded.prometheus)
    assert len(found) == expected
    assert [rule for rule in found if rule["health"] != "ok"] == []


def test_every_recording_rule_records(loaded: Loaded) -> None:
    recorded = {rule["name"] for rule in rules(loaded.prometheus) if rule["type"] == "recording"}
    silent = sorted(name for name in recorded if not loaded.prometheus.ask(name))
    assert silent == []


@pytest.mark.parametrize(
    "alert", [*burn_alerts(facts()).rules, *fault_alerts(facts()).rules], ids=lambda rule: rule.alert
)
def test_every_alert_watches_something(loaded: Loaded, alert: AlertRule) -> None:
    """A query that looks at nothing would never fire."""
    for expr in alert.watches:
        assert loaded.prometheus.ask(expr), expr


def panels() -> list[tuple[Dashboard, Panel]]:
    return [(dashboard, panel) for dashboard in all_dashboards() for panel in dashboard.panels]


@pytest.mark.parametrize(("dashboard", "panel"), panels(), ids=[f"{d.key}: {p.title}" for d, p in panels()])
def test_no_panel_is_empty(loaded: Loaded, dashboard: Dashboard, panel: Panel) -> None:
    node = loaded.prometheus.ask('up{inference_component="engine"}')[0]["metric"]["node"]
    for query in panel.queries:
        expr = query.expr.replace("$namespace", NAMESPACE).replace("$model", "chat").replace("$node", node)
        assert "$" not in expr
        assert loaded.prometheus.ask(expr), f"{dashboard.key}: {expr}"


def test_a_dashboards_choices_are_there(loaded: Loaded) -> None:
    for dashboard in all_dashboards():
        for name, query in dashboard.variables:
            selector, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            found = loaded.prometheus.ask(selector.replace("$namespace", NAMESPACE))
            assert {series["metric"][label] for series in found}, (name, query)


def test_simulated_gpus_say_so(loaded: Loaded) -> None:
    for name in ("GPU_UTIL", "FB_USED", "XID_ERRORS", "POWER_USAGE", "GPU_TEMP"):
        series = loaded.prometheus.ask(f"DCGM_FI_DEV_{name}")
        assert series
        assert {item["metric"]["simulated"] for item in series} == {"true"}


def test_a_rule_that_is_none_is_refused_by_the_api(environment: Environment) -> None:
    """The objects are checked against the Prometheus operator's own definition."""
    wrong = PrometheusRule(
        metadata=ObjectMeta(name="wrong", namespace=NAMESPACE),
        spec={"groups": [{"name": "g", "rules": [{"expr": 1.5}]}]},
    )
    with pytest.raises(ApiError, match="expr"):
        environment.client.create(wrong)
