"""A node pool of the plan: its price, what spot saves and risks, what quotas leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.catalog import Instance, gpus, instances
from planner.prices import market, price
from planner.quotas import Quota, nodes_allowed
from planner.request import EnvironmentRequest, PoolRequest


@dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """A node pool, worked out; prices in US dollars per hour, null where no source has them.

    Attributes:
        nodes_now: nodes that are there, null where that is not known.
        spot_saving_per_hour: with the most nodes, while spot is to be had.
        spot_saving_expected: the least and most that is left of it where on-demand steps in while spot is away.
        spot_interruptions_per_day: the least and most of public traces, per zone.
        quota_nodes: further nodes that the quotas of a preflight leave; null where none is known.
    """

    name: str
    instance_type: str
    gpu: str
    gpus_per_node: int
    sharing: str
    capacity_type: str
    nodes_min: int
    nodes_max: int
    nodes_now: int | None
    price_per_hour: float | None
    price_is_estimate: bool
    hourly_min: float | None
    hourly_max: float | None
    region: str
    source: str
    as_of: str
    spot_saving_per_hour: float | None
    spot_saving_expected: tuple[float, float] | None
    spot_interruptions_per_day: tuple[float, float] | None
    spot_note: str
    quota_nodes: int | None


def plan_pool(pool: PoolRequest, request: EnvironmentRequest) -> PoolPlan:
    """Work out a pool.

    Raises:
        KeyError: an instance type that the catalogue does not have.
    """
    row = instances()[pool.instance_type]
    found = price(row, pool.capacity_type, request.prices)
    saving, expected, often, note = _spot(row, pool, request)
    return PoolPlan(
        name=pool.name,
        instance_type=row.key,
        gpu=gpus()[row.gpu].name,
        gpus_per_node=row.gpus,
        sharing=pool.sharing,
        capacity_type=pool.capacity_type,
        nodes_min=pool.min_nodes,
        nodes_max=pool.max_nodes,
        nodes_now=None if request.nodes_now is None else request.nodes_now.get(pool.name, 0),
        price_per_hour=found.per_hour,
        price_is_estimate=found.estimate,
        hourly_min=None if found.per_hour is None else round(found.per_hour * pool.min_nodes, 4),
        hourly_max=None if found.per_hour is None else round(found.per_hour * pool.max_nodes, 4),
        region=row.region,
        source=found.source,
        as_of=found.as_of,
        spot_saving_per_hour=saving,
        spot_saving_expected=expected,
        spot_interruptions_per_day=often,
        spot_note=note,
        quota_nodes=nodes_allowed(row, request.quotas),
    )


Pair = tuple[float, float]


def _spot(
    row: Instance, pool: PoolRequest, request: EnvironmentRequest
) -> tuple[float | None, Pair | None, Pair | None, str]:
    if not row.spot:
        return None, None, None, "not to be had as spot"
    full, spot = price(row, "on-demand", request.prices).per_hour, price(row, "spot", request.prices).per_hour
    if full is None or spot is None:
        return None, None, None, "no price"
    table = market()["spot"]
    saving = (full - spot) * pool.max_nodes
    low, high = table["availability_low"], table["availability_high"]
    # Every second transition of a trace takes capacity away.
    often = tuple(table[f"transitions_{end}"] / 2 / table["days"] for end in ("low", "high"))
    notice = table["notice_seconds"].get(row.cloud, 30)
    note = (
        f"taken away with {notice} s notice, {often[0]:.0f} to {often[1]:.0f} times a day and zone; available "
        f"{low * 100:.0f} to {high * 100:.0f} % of the time (public traces)"
    )
    kept = round(saving * low, 4), round(saving * high, 4)
    return round(saving, 4), kept, (round(often[0], 1), round(often[1], 1)), note


def over_quota(pools: Sequence[PoolRequest], quotas: Sequence[Quota], now: dict[str, int]) -> tuple[str, ...]:
    """Pools whose most nodes, together with those of other pools under the same limit, are more than it leaves.

    Args:
        pools: as asked for.
        quotas: what a preflight found.
        now: nodes that are there by pool: the limit counts them as used already.
    """
    over: set[str] = set()
    for quota in quotas:
        under = [pool for pool in pools if quota.covers(instances()[pool.instance_type])]
        wanted = 0.0
        for pool in under:
            row = instances()[pool.instance_type]
            each = {"vcpu": row.vcpu, "instances": 1, "gpus": row.gpus}[quota.unit]
            wanted += each * max(0, pool.max_nodes - now.get(pool.name, 0))
        if wanted > quota.limit - quota.used:
            over |= {pool.name for pool in under}
    return tuple(pool.name for pool in pools if pool.name in over)
