"""Prometheus' rules as types, and what they are about.

Source of the form: prometheus/prometheus model/rulefmt; a PrometheusRule's groups have the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

FIRST_TOKEN_BOUNDS: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""Buckets of vllm:time_to_first_token_seconds, seconds (vLLM v0.32, vllm/v1/metrics/loggers.py)."""

OUTPUT_TOKEN_BOUNDS: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""Buckets of vllm:request_time_per_output_token_seconds, seconds (same source)."""


class Severity(StrEnum):
    """Whom an alert wakes."""

    PAGE = "page"
    """Somebody, now."""
    TICKET = "ticket"
    """Nobody; it is looked at in working hours."""


@dataclass(frozen=True, kw_only=True)
class Slo:
    """What a model promises. The defaults are those of a chat service.

    Attributes:
        ttft_p95_seconds: 95 % of first tokens come sooner; RAG: 5.0. One of FIRST_TOKEN_BOUNDS: requests can be counted
            at a bucket's bound only.
        tpot_p95_seconds: 95 % of requests need less per further token; one of OUTPUT_TOKEN_BOUNDS.
        error_ratio: share of requests that may end with a 5xx.
        queue_per_engine: waiting requests per engine.
        kv_cache_usage: share of an engine's KV cache, 0 to 1.
        gpu_low: GPU utilisation below which a busy model has too many GPUs, 0 to 1.
        gpu_high: above which it has too few.

    Raises:
        ValueError: a time that is no bucket's bound, or a share outside 0 to 1.
    """

    ttft_p95_seconds: float = 0.5
    tpot_p95_seconds: float = 0.05
    error_ratio: float = 0.001
    queue_per_engine: float = 10.0
    kv_cache_usage: float = 0.85
    gpu_low: float = 0.6
    gpu_high: float = 0.8

    def __post_init__(self) -> None:
        for name, bounds in (("ttft_p95_seconds", FIRST_TOKEN_BOUNDS), ("tpot_p95_seconds", OUTPUT_TOKEN_BOUNDS)):
            if getattr(self, name) not in bounds:
                raise ValueError(f"{name} {getattr(self, name)} must be one of {', '.join(map(str, bounds))}")
        for name in ("error_ratio", "kv_cache_usage", "gpu_low", "gpu_high"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What rules need to know of a model deployment.

    Attributes:
        name: of the deployment.
        node_pool: that its engines run on.
        price_per_replica_hour: US dollars, the pool's price times its share of a node's GPUs; None: unknown.
        startup_budget_seconds: longest start of a replica.
        slo: what it promises.
    """

    name: str
    node_pool: str
    price_per_replica_hour: float | None
    startup_budget_seconds: int
    slo: Slo = field(default_factory=Slo)


@dataclass(frozen=True, kw_only=True)
class PoolFacts:
    """What rules need to know of a node pool; price in US dollars per node and hour, None: unknown."""

    name: str
    price_per_node_hour: float | None


@dataclass(frozen=True, kw_only=True)
class EnvironmentFacts:
    """What rules need to know of an environment.

    Attributes:
        namespace: of its workloads.
        models: all of them.
        pools: all GPU pools.
        runbooks: where the runbooks are; an alert's link is this and the runbook's file name.
    """

    namespace: str
    models: Sequence[ModelFacts]
    pools: Sequence[PoolFacts]
    runbooks: str = "docs/runbooks"


@dataclass(frozen=True, kw_only=True)
class RecordingRule:
    """A query whose answer is kept as a series of its own.

    Attributes:
        record: name of the series, `level:metric:operations`.
        expr: the query.
        labels: added to the answer.
    """

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def render(self) -> dict[str, Any]:
        """As in a rule file."""
        return {"record": self.record, "expr": self.expr, **({"labels": dict(self.labels)} if self.labels else {})}


@dataclass(frozen=True, kw_only=True)
class AlertRule:
    """A query that should have no answer.

    Attributes:
        alert: its name.
        expr: the query.
        watches: what the query looks at, without the conditions; it always has an answer where the part that is
            watched exists, so that a query that looks at nothing is found out.
        severity: whom it wakes.
        summary: one line; templates of Prometheus may be used.
        description: what it means and what happens if nobody acts.
        runbook: file name.
        pending: how long the query must have an answer, in Prometheus' notation.
        labels: added to the answer's.
    """

    alert: str
    expr: str
    watches: Sequence[str]
    severity: Severity
    summary: str
    description: str
    runbook: str
    pending: str = "0s"
    labels: Mapping[str, str] = field(default_factory=dict)

    def render(self, runbooks: str) -> dict[str, Any]:
        """As in a rule file."""
        return {
            "alert": self.alert,
            "expr": self.expr,
            "for": self.pending,
            "labels": {"severity": str(self.severity), **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks}/{self.runbook}",
            },
        }


@dataclass(frozen=True, kw_only=True)
class RuleGroup:
    """Rules that are evaluated one after the other, at the same time stamp.

    Attributes:
        name: of the group, unique within its object.
        rules: in order; a rule may use what one before it has recorded.
        interval: between evaluations; "": Prometheus' own.
    """

    name: str
    rules: Sequence[RecordingRule | AlertRule]
    interval: str = ""

    def render(self, runbooks: str) -> dict[str, Any]:
        """As in a rule file."""
        rules = [rule.render(runbooks) if isinstance(rule, AlertRule) else rule.render() for rule in self.rules]
        return {"name": self.name, **({"interval": self.interval} if self.interval else {}), "rules": rules}


def rule_file(groups: Sequence[RuleGroup], runbooks: str) -> dict[str, Any]:
    """A rule file's contents, which are a PrometheusRule's spec."""
    return {"groups": [group.render(runbooks) for group in groups]}
