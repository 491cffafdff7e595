"""The plan of an environment: what it needs, costs and will do, worked out without touching anything.

Inputs are plain data (`planner/request.py`); `stacks/plan.py` makes them from a configuration.
`EnvironmentPlan.to_json` is the documented form (docs/plan-schema.md); it holds plain numbers only, so that a stack
output and a file are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from planner.cost import HOURS_PER_MONTH
from planner.model_plan import ModelPlan, plan_model
from planner.pool_plan import PoolPlan, over_quota, plan_pool
from planner.prices import OWN
from planner.request import (
    DEFAULT_UTILIZATION,
    MEAN_INPUT_TOKENS,
    MEAN_OUTPUT_TOKENS,
    EnvironmentRequest,
    ModelRequest,
    PoolRequest,
)
from planner.traffic import TrafficPlan, plan_traffic

__all__ = [
    "DEFAULT_UTILIZATION",
    "MEAN_INPUT_TOKENS",
    "MEAN_OUTPUT_TOKENS",
    "EnvironmentPlan",
    "EnvironmentRequest",
    "ModelPlan",
    "ModelRequest",
    "PoolPlan",
    "PoolRequest",
    "plan_environment",
]

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class EnvironmentPlan:
    """What an environment needs, costs and will do.

    Attributes:
        hourly_now: dollars per hour of the nodes that are there; where nobody said how many, of the fewest
            (`hourly_now_known` says which).
        over_quota: pools that the quotas of a preflight do not let reach their most nodes.
        quotas_checked: whether a preflight's quotas were there to be checked.
        traffic: a month of the traffic profile; null without one.
    """

    environment: str
    cloud: str
    models: tuple[ModelPlan, ...]
    pools: tuple[PoolPlan, ...]
    hourly_min: float
    hourly_max: float
    hourly_now: float
    hourly_now_known: bool
    monthly_min: float
    monthly_max: float
    utilization: float
    budget_per_hour: float | None
    within_budget: bool
    quotas_checked: bool
    over_quota: tuple[str, ...]
    unpriced_pools: tuple[str, ...]
    traffic: TrafficPlan | None
    notes: tuple[str, ...]
    simulated: bool
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain data: what `json.dumps` writes and `json.loads` gives back unchanged."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def lines(self) -> list[str]:
        """The summary in a few lines, for the preview."""
        first = f"{self.environment}: ${self.hourly_min:.2f} to ${self.hourly_max:.2f} per hour (list prices)"
        shown = [first + (", simulated here" if self.simulated else "")]
        if not self.within_budget:
            shown.append(f"over the budget of ${self.budget_per_hour:.2f} per hour")
        for item in self.models:
            if item.tpot_ms is None or item.tokens_per_s is None or item.cold_start_s is None:
                shown.append(f"{item.name}: {item.model} is not in the catalogue, so its size is unknown")
                continue
            cost = item.cost_per_million_output_tokens
            shown.append(
                f"{item.name}: {item.gpus_per_replica} x {item.gpu}, {item.kv_cache_tokens:,} KV tokens, "
                f"{item.tpot_ms:.1f} ms per token (+-{(item.latency_error or 0) * 100:.0f} %"
                f"{', estimate' if item.estimate else ''}), cold start {item.cold_start_s:.0f} s"
                + ("" if cost is None else f", ${cost:.2f} per million output tokens")
            )
        return shown


def _notes(request: EnvironmentRequest, pools: Sequence[PoolPlan]) -> Iterator[str]:
    unpriced = [pool.name for pool in pools if pool.price_per_hour is None]
    if unpriced:
        names = ", ".join(unpriced)
        yield f"no source has a price for {names}: no sum and no budget counts it; give your own (--prices)"
    elsewhere = sorted({pool.region for pool in pools if pool.price_per_hour is not None} - {request.region})
    if request.region and elsewhere and any(pool.source != OWN for pool in pools):
        prices = ", ".join(elsewhere)
        yield f"list prices are those of {prices}, the environment runs in {request.region}: give your own (--prices)"


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def plan_environment(request: EnvironmentRequest) -> EnvironmentPlan:
    """Work out the plan.

    Raises:
        KeyError: a pool or an instance type that does not exist.
        DoesNotFitError: a model does not fit its pool.
        TrafficError: a profile for a deployment that does not exist.
        ValueError: a figure out of range.
    """
    rows = {pool.name: pool for pool in request.pools}
    pools = tuple(plan_pool(pool, request) for pool in request.pools)
    models = tuple(plan_model(item, rows[item.pool], request) for item in request.models)
    low = sum(pool.hourly_min or 0.0 for pool in pools)
    high = sum(pool.hourly_max or 0.0 for pool in pools)
    there = {pool.name: pool.nodes_now for pool in pools if pool.nodes_now is not None}
    now = sum(there[pool.name] * (pool.price_per_hour or 0.0) for pool in pools if pool.name in there)
    known = request.nodes_now is not None
    return EnvironmentPlan(
        environment=request.name,
        cloud=request.cloud,
        models=models,
        pools=pools,
        hourly_min=round(low, 4),
        hourly_max=round(high, 4),
        hourly_now=round(now if known else low, 4),
        hourly_now_known=known,
        monthly_min=round(low * HOURS_PER_MONTH, 2),
        monthly_max=round(high * HOURS_PER_MONTH, 2),
        utilization=request.utilization,
        budget_per_hour=request.budget_per_hour,
        within_budget=request.budget_per_hour is None or high <= request.budget_per_hour,
        quotas_checked=bool(request.quotas),
        over_quota=over_quota(request.pools, request.quotas, there),
        unpriced_pools=tuple(pool.name for pool in pools if pool.price_per_hour is None),
        traffic=plan_traffic(request, pools, models),
        notes=tuple(_notes(request, pools)),
        simulated=request.cloud == "local",
    )
