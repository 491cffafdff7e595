"""What a model promises, from the configuration to the rules; not that an alert fires (test_rules_promtool.py)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.labels import EnvironmentLabels
from components.observability.alerts.faults import fault_alerts
from components.observability.alerts.slo import burn_alerts, ratio_rules
from components.observability.objects import (
    FIRST_TOKEN_BOUNDS,
    OUTPUT_TOKEN_BOUNDS,
    AlertRule,
    EnvironmentFacts,
    RecordingRule,
    Slo,
)
from stacks.config import load_environment
from stacks.monitoring import environment_facts
from stacks.plan import plan_config
from tests.unit.stacks.config_samples import errors, sample

pytestmark = pytest.mark.unit

SLO = "model_deployments__0__slo"


def facts(slo: dict[str, Any] | None) -> EnvironmentFacts:
    config = load_environment(sample(**({} if slo is None else {SLO: slo})), "dev")
    return environment_facts(config, plan_config(config, "dev"), EnvironmentLabels("dev"))


def promised(slo: dict[str, Any] | None) -> Slo:
    return facts(slo).models[0].slo


@pytest.mark.parametrize(
    ("slo", "expected"),
    [
        (None, Slo()),
        ({"preset": "chat"}, Slo(ttft_p95_seconds=0.5)),
        ({"preset": "rag"}, Slo(ttft_p95_seconds=5.0)),
        ({"preset": "rag", "ttft_p95_seconds": 10}, Slo(ttft_p95_seconds=10.0)),
        (
            {"tpot_p95_seconds": 0.1, "error_ratio": 0.01, "queue_per_engine": 20, "kv_cache_usage": 0.9},
            replace(Slo(tpot_p95_seconds=0.1, error_ratio=0.01), queue_per_engine=20.0, kv_cache_usage=0.9),
        ),
        ({"gpu_low": 0.2, "gpu_high": 0.95}, Slo(gpu_low=0.2, gpu_high=0.95)),
    ],
)
def test_presets_and_what_overrides_them(slo: dict[str, Any] | None, expected: Slo) -> None:
    assert promised(slo) == expected


def test_a_promise_reaches_its_rules() -> None:
    made = facts({"preset": "rag", "error_ratio": 0.01, "queue_per_engine": 25})
    counted = [rule.expr for rule in ratio_rules(made).rules if isinstance(rule, RecordingRule)]
    assert any('le="5.0"' in expr for expr in counted)
    assert not any('le="0.5"' in expr and "first_token" in expr for expr in counted)
    burns = {rule.alert: rule for rule in burn_alerts(made).rules if isinstance(rule, AlertRule)}
    assert "within 5 s" in burns["ModelFirstTokenLateFast"].summary
    assert "> 0.144 " in burns["ModelErrorsFast"].expr
    (queue,) = (r for r in fault_alerts(made).rules if isinstance(r, AlertRule) and r.alert == "ModelQueueLong")
    assert queue.expr.endswith("> 25")


@pytest.mark.parametrize(
    ("slo", "line"),
    [
        (
            {"ttft_p95_seconds": 0.6},
            "model_deployments[0].slo.ttft_p95_seconds: no bound of a bucket of vllm:time_to_first_token_seconds: "
            "requests are counted there and nowhere between (got 0.6); choose from 0.5, 0.75, 0.25, 1, 0.1, 0.08, "
            "0.06, 0.04, 0.02 and 13 more. Set it to 0.5.",
        ),
        (
            {"tpot_p95_seconds": 200},
            "model_deployments[0].slo.tpot_p95_seconds: no bound of a bucket of "
            "vllm:request_time_per_output_token_seconds: requests are counted there and nowhere between (got 200.0); "
            "choose from 80, 40, 20, 10, 7.5, 5, 2.5, 1, 0.75 and 10 more. Set it to 80.",
        ),
        (
            {"gpu_low": 0.9},
            "model_deployments[0].slo.gpu_low: is not less than gpu_high, 0.8: every utilisation would be an alert "
            "(got 0.9). Lower gpu_low or raise gpu_high.",
        ),
    ],
)
def test_what_cannot_be_counted_is_an_error(slo: dict[str, Any], line: str) -> None:
    assert errors(sample(**{SLO: slo})) == [line]


def test_a_preset_that_is_none_hides_no_other_mistake() -> None:
    """The time that it would have decided is not reported as missing."""
    found = errors(sample(**{SLO: {"preset": "rga", "error_ratio": 1.5}}))
    assert [line.split(":")[0] for line in found] == [
        "model_deployments[0].slo.preset",
        "model_deployments[0].slo.error_ratio",
    ]
    assert "Did you mean rag?" in found[0]


@pytest.mark.parametrize("bound", FIRST_TOKEN_BOUNDS)
def test_every_bound_can_be_promised(bound: float) -> None:
    assert promised({"ttft_p95_seconds": bound}).ttft_p95_seconds == bound


@pytest.mark.parametrize("bound", OUTPUT_TOKEN_BOUNDS)
def test_every_bound_of_token_times_can_be_promised(bound: float) -> None:
    assert promised({"tpot_p95_seconds": bound}).tpot_p95_seconds == bound
