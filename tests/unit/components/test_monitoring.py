"""Rules, alerts and dashboards as objects, and what each must have.

Does not prove that a query finds anything (tests/local/test_observability.py) nor that an alert fires
(test_rules_promtool.py).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from components import labels
from components.labels import EnvironmentLabels, Workload
from components.observability.alerts.faults import fault_alerts
from components.observability.alerts.slo import BURNS, WINDOWS, burn_alerts
from components.observability.dashboards import all_dashboards, choices
from components.observability.delivery import Monitoring, MonitoringArgs, rule_groups
from components.observability.objects import (
    FIRST_TOKEN_BOUNDS,
    OUTPUT_TOKEN_BOUNDS,
    AlertRule,
    EnvironmentFacts,
    ModelFacts,
    PoolFacts,
    RecordingRule,
    Slo,
)
from local.engine_simulator.stats import FIRST_TOKEN_BOUNDS as SIMULATED_FIRST_TOKEN
from local.engine_simulator.stats import TOKEN_LATENCY_BOUNDS as SIMULATED_TOKEN_LATENCY
from planner.cost import INPUT_WEIGHT
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
CHAT = ModelFacts(name="chat", node_pool="l4", price_per_replica_hour=1.2, startup_budget_seconds=600)
FACTS = EnvironmentFacts(
    namespace="inference-dev",
    models=[CHAT, replace(CHAT, name="code")],
    pools=[PoolFacts(name="l4", price_per_node_hour=4.8)],
)


def alerts() -> list[AlertRule]:
    return [rule for rule in (*burn_alerts(FACTS).rules, *fault_alerts(FACTS).rules) if isinstance(rule, AlertRule)]


def records(facts: EnvironmentFacts = FACTS) -> list[RecordingRule]:
    groups = [group for part in rule_groups(facts).values() for group in part]
    return [rule for group in groups for rule in group.rules if isinstance(rule, RecordingRule)]


def monitoring(engine: Engine, *, rules: bool) -> None:
    args = MonitoringArgs(facts=FACTS, labels=EnvironmentLabels("dev"), rules=rules)
    engine.run(lambda: Monitoring("monitoring", args))


def test_exactly_these_children(engine: Engine) -> None:
    monitoring(engine, rules=True)
    kind = "kubernetes:monitoring.coreos.com/v1:PrometheusRule"
    rules = {(kind, f"monitoring-{part}-rules"): 1 for part in ("serving", "gpu", "cost", "slo", "faults")}
    keys = ("fleet", "model", "gpu-node", "cost", "autoscaling")
    boards = {("kubernetes:core/v1:ConfigMap", f"monitoring-{key}-dashboard"): 1 for key in keys}
    assert engine.children() == Counter({**rules, **boards})


def test_no_rules_where_nobody_reads_them(engine: Engine) -> None:
    monitoring(engine, rules=False)
    assert {item.type for item in engine.seen if not item.is_component} == {"kubernetes:core/v1:ConfigMap"}


@pytest.mark.parametrize("router", [None, "chat"], ids=["shared", "of-the-model"])
def test_a_model_can_be_chosen_whoever_routes_to_it(router: str | None) -> None:
    """A router that all models share has no model's label."""
    kinds = re.search(r'inference_component=~"([^"]+)"', choices.MODEL[1])
    assert kinds is not None
    of = EnvironmentLabels("dev").of
    pods = [of(Workload.ROUTER, router), of(Workload.ENGINE, "chat"), of(Workload.GATEWAY), of(Workload.WEIGHTS, "old")]
    found = {pod.get(labels.MODEL) for pod in pods if re.fullmatch(kinds[1], pod[labels.COMPONENT])}
    assert found - {None} == {"chat"}


def test_grafana_finds_the_dashboards(engine: Engine) -> None:
    monitoring(engine, rules=True)
    for item in engine.seen:
        if item.type.endswith(":ConfigMap"):
            assert item.inputs["metadata"]["labels"]["grafana_dashboard"] == "1"
            ((name, text),) = item.inputs["data"].items()
            assert name.endswith(".json")
            assert json.loads(text)["uid"].startswith("inference-")


@pytest.mark.parametrize("alert", alerts(), ids=lambda rule: f"{rule.alert}-{rule.labels.get('inference_model', '')}")
def test_an_alert_says_what_to_do(alert: AlertRule) -> None:
    made = alert.render("docs/runbooks")
    assert made["labels"]["severity"] in {"page", "ticket"}
    runbook = ROOT / made["annotations"]["runbook_url"]
    text = runbook.read_text(encoding="utf-8")
    assert alert.alert.removesuffix("Fast") in text, f"{runbook.name} does not name {alert.alert}"
    for heading in ("## Meaning", "## Look", "## Do"):
        assert heading in text, runbook.name
    assert made["annotations"]["summary"]
    assert made["annotations"]["description"]
    assert alert.watches


def test_no_runbook_is_left_over() -> None:
    used = {alert.runbook for alert in alerts()}
    assert {path.name for path in (ROOT / "docs/runbooks").glob("*.md")} == used


def test_every_record_has_a_level_a_metric_and_an_operation() -> None:
    for rule in records():
        assert re.fullmatch(r"inference:[a-z_]+(:[a-z0-9_]+)?", rule.record), rule.record
    queries = " ".join(query.expr for board in all_dashboards() for panel in board.panels for query in panel.queries)
    used = set(re.findall(r"inference:[a-z_]+(?::[a-z0-9_]+)?", queries))
    assert used <= {rule.record for rule in records()}, "a dashboard asks for what nothing records"


def test_another_environments_series_do_not_count() -> None:
    """Every selector of a namespaced series names the namespace."""
    for rule in records():
        for series in re.findall(r"(?:vllm:|kube_pod|inference:|interceptor_)[a-z0-9_:]*\{[^}]*\}", rule.expr):
            assert 'namespace="inference-dev"' in series, f"{rule.record}: {series}"
        assert "vllm:" not in re.sub(r"vllm:[a-z0-9_]+\{", "", rule.expr), rule.record


def test_a_models_promise_is_its_own() -> None:
    rag = replace(CHAT, name="rag", slo=Slo(ttft_p95_seconds=5.0, error_ratio=0.01))
    facts = replace(FACTS, models=[CHAT, rag])
    texts = {
        rule.labels["inference_model"]: rule.expr
        for rule in records(facts)
        if "first_token_seconds_bucket" in rule.expr and rule.labels.get("slo")
    }
    assert 'le="0.5"' in texts["chat"]
    assert 'le="5.0"' in texts["rag"]
    burns = {
        rule.labels["inference_model"]: rule.expr
        for rule in burn_alerts(facts).rules
        if isinstance(rule, AlertRule) and rule.alert == "ModelErrorsFast"
    }
    assert "> 0.0144 " in burns["chat"]
    assert "> 0.144 " in burns["rag"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("ttft_p95_seconds", 0.6), ("tpot_p95_seconds", 0.04), ("error_ratio", 0.0), ("kv_cache_usage", 85.0)],
)
def test_a_promise_that_cannot_be_counted_is_an_error(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} {value}"):
        Slo(**{field: value})


def test_promises_are_counted_at_bounds_that_vllm_has() -> None:
    assert set(FIRST_TOKEN_BOUNDS) == set(SIMULATED_FIRST_TOKEN)
    assert set(OUTPUT_TOKEN_BOUNDS) == set(SIMULATED_TOKEN_LATENCY)


def test_every_window_is_used_and_recorded() -> None:
    assert set(WINDOWS) == {window for burn in BURNS for window in (burn.long, burn.short)}


def test_what_has_no_price_has_no_cost_rule() -> None:
    free = replace(
        FACTS,
        models=[replace(CHAT, price_per_replica_hour=None)],
        pools=[PoolFacts(name="l4", price_per_node_hour=None)],
    )
    assert not [rule for rule in records(free) if rule.record.endswith("price_dollars_per_hour")]


def test_input_tokens_weigh_what_they_weigh_in_the_plan() -> None:
    from components.observability.rules.cost import INPUT_WEIGHT as RECORDED

    assert RECORDED == INPUT_WEIGHT


def test_dashboards_are_generated_alike_every_time() -> None:
    for board in all_dashboards():
        assert board.to_json() == board.to_json()
        panels = json.loads(board.to_json())["panels"]
        assert [panel["title"] for panel in panels] == [panel.title for panel in board.panels]
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
        assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


def test_what_falls_a_thousandfold_has_a_logarithmic_axis() -> None:
    """A model that has just woken has cost much and made little; a straight axis would show that alone."""
    logarithmic = set()
    for board in all_dashboards():
        for panel in json.loads(board.to_json())["panels"]:
            field = panel["fieldConfig"]["defaults"]
            if field.get("custom", {}).get("scaleDistribution", {}).get("type") == "log":
                # A logarithm has no zero.
                assert "min" not in field
                logarithmic.add(panel["title"])
            elif panel["type"] == "timeseries":
                assert field["min"] == 0
    assert logarithmic == {
        "Per million output tokens",
        "Per million tokens, input and output alike",
        "Cost per million output tokens",
    }
