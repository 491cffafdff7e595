"""Promises as budgets: how fast each burns, and whom that wakes.

A promise of 95 % leaves a budget of 5 % of the requests, in 30 days. It is burnt at rate 1 when exactly that share is
bad. Four pairs of windows, each a long one that says that it matters and a short one that says that it still goes on:
Google's Site Reliability Workbook, chapter 5, table 5-8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from components.observability.objects import AlertRule, EnvironmentFacts, ModelFacts, RecordingRule, RuleGroup, Severity
from components.observability.rules.serving import metric
from components.observability.scraping import MODEL


@dataclass(frozen=True)
class Burn:
    """Two windows and how fast the budget must burn in both.

    Attributes:
        long: window, Prometheus' notation.
        short: window.
        rate: budgets per 30 days.
        severity: whom it wakes.
    """

    long: str
    short: str
    rate: float
    severity: Severity


BURNS: Final = (
    Burn("1h", "5m", 14.4, Severity.PAGE),  # 2 % of the budget in an hour
    Burn("6h", "30m", 6.0, Severity.PAGE),  # 5 % in six
    Burn("1d", "2h", 3.0, Severity.TICKET),  # 10 % in a day
    Burn("3d", "6h", 1.0, Severity.TICKET),  # 10 % in three
)
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
LATENCY_BUDGET: Final = 0.05
"""A 95th percentile allows for so much."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One promise of one model.

    Attributes:
        slo: name, the value of the label `slo`.
        alert: beginning of the alerts' names.
        budget: share of requests that may be bad.
        bad: query of the share that is bad, with `{window}` for the window.
        text: what is promised, for people.
        runbook: file name.
    """

    slo: str
    alert: str
    budget: float
    bad: str
    text: str
    runbook: str


def promises(model: ModelFacts, namespace: str) -> list[Promise]:
    """A model's promises about each request: first token, further tokens, errors."""
    slo = model.slo
    front = f'interceptor_request_count_total{{route_namespace="{namespace}",route_name="{model.name}"'
    return [
        Promise(
            slo="time-to-first-token",
            alert="ModelFirstTokenLate",
            budget=LATENCY_BUDGET,
            bad=_slower_than("vllm:time_to_first_token_seconds", slo.ttft_p95_seconds, model, namespace),
            text=f"95 % of first tokens within {slo.ttft_p95_seconds:g} s",
            runbook="time-to-first-token.md",
        ),
        Promise(
            slo="time-per-output-token",
            alert="ModelTokensSlow",
            budget=LATENCY_BUDGET,
            bad=_slower_than("vllm:request_time_per_output_token_seconds", slo.tpot_p95_seconds, model, namespace),
            text=f"95 % of requests at {slo.tpot_p95_seconds:g} s per token or faster",
            runbook="time-per-output-token.md",
        ),
        Promise(
            slo="errors",
            alert="ModelErrors",
            budget=slo.error_ratio,
            # As the client sees them: the interceptor counts what it answered, whoever failed.
            bad=f'(sum(rate({front},code=~"5.."}}[{{window}}])) or vector(0)) / sum(rate({front}}}[{{window}}]))',
            text=f"at most {slo.error_ratio:.2%} of the requests end with an error of ours",
            runbook="errors.md",
        ),
    ]


def _slower_than(histogram: str, seconds: float, model: ModelFacts, namespace: str) -> str:
    """Share of requests above a bucket's bound."""

    def rate(part: str, label: str = "") -> str:
        selector = metric(f"{histogram}_{part}", namespace).removesuffix("}")
        return f'sum(rate({selector},{MODEL}="{model.name}"{label}}}[{{window}}]))'

    bound = f',le="{seconds!r}"'
    return f"1 - {rate('bucket', bound)} / {rate('count')}"


def bad_ratio(promise: Promise, model: ModelFacts, namespace: str, window: str) -> str:
    """The recorded share of bad requests."""
    labels = f'namespace="{namespace}",{MODEL}="{model.name}",slo="{promise.slo}"'
    return f"inference:bad_requests:ratio_rate{window}{{{labels}}}"


def ratio_rules(facts: EnvironmentFacts) -> RuleGroup:
    """The share of bad requests, per promise and window."""
    return RuleGroup(
        name="inference.slo",
        rules=[
            RecordingRule(
                record=f"inference:bad_requests:ratio_rate{window}",
                expr=promise.bad.replace("{window}", window),
                labels={"namespace": facts.namespace, MODEL: model.name, "slo": promise.slo},
            )
            for model in facts.models
            for promise in promises(model, facts.namespace)
            for window in WINDOWS
        ],
    )


def burn_alerts(facts: EnvironmentFacts) -> RuleGroup:
    """Two alerts per promise: one that pages, one that becomes a ticket."""
    return RuleGroup(
        name="inference.slo.alerts",
        rules=[
            _burn_alert(promise, model, facts.namespace, severity)
            for model in facts.models
            for promise in promises(model, facts.namespace)
            for severity in Severity
        ],
    )


def _burn_alert(promise: Promise, model: ModelFacts, namespace: str, severity: Severity) -> AlertRule:
    burns = [burn for burn in BURNS if burn.severity is severity]

    def above(window: str, rate: float) -> str:
        # No more digits than the figures have: 14.4 * 0.001 is not a short number in binary.
        return f"{bad_ratio(promise, model, namespace, window)} > {rate * promise.budget:.10g}"

    expr = " or ".join(f"({above(burn.long, burn.rate)} and {above(burn.short, burn.rate)})" for burn in burns)
    return AlertRule(
        alert=f"{promise.alert}{'Fast' if severity is Severity.PAGE else ''}",
        expr=expr,
        watches=[bad_ratio(promise, model, namespace, window) for burn in burns for window in (burn.long, burn.short)],
        severity=severity,
        summary=f"{model.name} breaks its promise: {promise.text}",
        description="{{ $value | humanizePercentage }} of the requests are bad; "
        f"{promise.budget:.2%} may be. At this rate the budget of 30 days is gone in "
        f"{'hours' if severity is Severity.PAGE else 'days'}.",
        runbook=promise.runbook,
        # Alerts of two models differ by these alone.
        labels={"namespace": namespace, MODEL: model.name},
    )
