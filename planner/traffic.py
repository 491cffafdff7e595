"""What a traffic profile costs in a month: replicas and nodes hour by hour."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.cost import HOURS_PER_MONTH, replicas_needed
from planner.model_plan import ModelPlan
from planner.pool_plan import PoolPlan
from planner.request import EnvironmentRequest

MOST_STEPS = 24 * 366


class TrafficError(ValueError):
    """A traffic file cannot be read, or has no such form; one line that names file and key."""


@dataclass(frozen=True, kw_only=True)
class TrafficPlan:
    """A month of a profile, US dollars.

    Attributes:
        monthly: with the replicas and nodes that each step needs.
        monthly_always_on: with the most of them all the time.
        saved: share of the latter that scaling saves.
        requests_per_month: of all models.
        replicas_mean: by model, over the profile.
        unserved_share: share of the requests beyond what `max_replicas` serve.
    """

    monthly: float
    monthly_always_on: float
    saved: float
    requests_per_month: float
    replicas_mean: Mapping[str, float]
    unserved_share: float


def read_traffic(path: Path) -> dict[str, tuple[float, ...]]:
    """A profile: JSON, requests per second by model deployment, a list with one figure for each hour that repeats.

    Raises:
        TrafficError: it cannot be read, or is not such an object; all lists have to be of one length.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrafficError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise TrafficError(f"{path}: is not JSON: {error}") from None
    if not isinstance(document, dict) or not document:
        raise TrafficError(
            f'{path}: must be an object such as {{"chat": [0, 0, 1.5, ...]}}, requests per second by hour'
        )
    found = {str(name): _rates(path, str(name), values) for name, values in document.items()}
    if len({len(rates) for rates in found.values()}) > 1:
        sizes = ", ".join(f"{name} {len(rates)}" for name, rates in found.items())
        raise TrafficError(f"{path}: the profiles are of several lengths ({sizes}); give each the same hours")
    return found


def _rates(path: Path, name: str, values: object) -> tuple[float, ...]:
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_STEPS:
        raise TrafficError(f"{path}: {name} must be a list of 1 to {MOST_STEPS} figures, requests per second")
    for index, value in enumerate(values):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise TrafficError(f"{path}: {name}[{index}] is {value!r}; it must be requests per second, 0 or more")
    return tuple(float(value) for value in values)


def plan_traffic(
    request: EnvironmentRequest, pools: Sequence[PoolPlan], models: Sequence[ModelPlan]
) -> TrafficPlan | None:
    """The month of the request's profile; None without one, or where a price or a throughput is not known.

    Raises:
        TrafficError: a profile for a deployment that does not exist.
    """
    if not request.traffic:
        return None
    unknown = sorted(set(request.traffic) - {item.name for item in models})
    if unknown:
        known = ", ".join(item.name for item in models)
        raise TrafficError(f"traffic for {unknown[0]!r}, which is no model deployment; choose from {known}")
    served = [item for item in models if item.name in request.traffic]
    if any(item.tokens_per_s is None for item in served) or any(pool.price_per_hour is None for pool in pools):
        return None
    steps = len(next(iter(request.traffic.values())))
    output = {item.name: item.output_tokens for item in request.models}
    replicas: dict[str, list[int]] = {}
    asked = lost = 0.0
    for item in models:
        rates = request.traffic.get(item.name, (0.0,) * steps)
        # Throughput holds at `utilization` of a full batch: the rest is room for bursts.
        each = (item.tokens_per_s or math.inf) / output[item.name]
        replicas[item.name] = [replicas_needed(rate, each, item.replicas_min, item.replicas_max) for rate in rates]
        asked += sum(rates)
        lost += sum(max(0.0, rate - item.replicas_max * each) for rate in rates)
    dollars = [
        _dollars(pools, models, request, {name: counts[step] for name, counts in replicas.items()})
        for step in range(steps)
    ]
    flat = _dollars(pools, models, request, {name: max(counts) for name, counts in replicas.items()})
    mean = sum(dollars) / steps
    return TrafficPlan(
        monthly=round(mean * HOURS_PER_MONTH, 2),
        monthly_always_on=round(flat * HOURS_PER_MONTH, 2),
        saved=round(1 - mean / flat, 4) if flat else 0.0,
        requests_per_month=round(asked / steps * 3600 * HOURS_PER_MONTH),
        replicas_mean={name: round(sum(counts) / steps, 2) for name, counts in replicas.items()},
        unserved_share=round(lost / asked, 4) if asked else 0.0,
    )


def _dollars(
    pools: Sequence[PoolPlan], models: Sequence[ModelPlan], request: EnvironmentRequest, replicas: Mapping[str, int]
) -> float:
    """Dollars per hour of the nodes that these replicas need, within the pools' bounds."""
    slices = {pool.name: pool.slices_per_gpu for pool in request.pools}
    total = 0.0
    for pool in pools:
        used = sum(replicas[item.name] * item.gpus_per_replica for item in models if item.pool == pool.name)
        nodes = math.ceil(used / (pool.gpus_per_node * slices[pool.name]))
        total += max(pool.nodes_min, min(pool.nodes_max, nodes)) * (pool.price_per_hour or 0.0)
    return total
