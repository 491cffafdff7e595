"""What it costs: per hour, per million tokens, per month, against managed APIs and against always-on."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog import CATALOG_FOLDER, Instance

HOURS_PER_MONTH = 730.0
"""365 days * 24 hours / 12, as the clouds' calculators have it."""

INPUT_WEIGHT = 0.25
"""Price of an input token over that of an output token when a bill is split between the two. A convention: managed APIs
charge a third to a fifth for input (public price tables, 2025)."""


class PriceError(ValueError):
    """A price file cannot be read, or has no such form; one line that names file and key."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """The price of an instance, US dollars per hour, None where no source has it."""

    per_hour: float | None
    source: str
    as_of: str
    estimate: bool = False


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """Own GPUs against a managed API.

    Attributes:
        tokens_per_day: output tokens (and their input) above which own GPUs cost less.
        utilization: share of the replica's throughput that this is; above 1 own GPUs never pay.
    """

    tokens_per_day: float
    utilization: float


@cache
def market() -> Mapping[str, Any]:
    """Spot discounts and managed prices, from catalog/market.toml."""
    return tomllib.loads((CATALOG_FOLDER / "market.toml").read_text(encoding="utf-8"))


def read_prices(path: Path) -> dict[str, float]:
    """A user's own price file: TOML, `[prices]` with `"instance type" = dollars per hour`.

    Raises:
        PriceError: it cannot be read, or a value is not a number of 0 or more.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("prices", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PriceError(f"{path}: {error}") from None
    if not isinstance(table, dict) or not table:
        raise PriceError(f'{path}: has no table [prices] with lines such as "g6.xlarge" = 0.5')
    for key, value in table.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise PriceError(f"{path}: prices.{key} is {value!r}; it must be dollars per hour, 0 or more")
    return {str(key): float(value) for key, value in table.items()}


def price(instance: Instance, capacity_type: str = "on-demand", own: Mapping[str, float] | None = None) -> Price:
    """What an hour of an instance costs.

    Args:
        instance: the catalogue's row.
        capacity_type: `on-demand`, `spot`, `spot-with-fallback` (priced as spot) or `reserved` (as on-demand, unless
            the user's own prices have it).
        own: a user's prices by instance type; they override the catalogue.
    """
    as_of = instance.as_of.isoformat()
    if own and instance.key in own:
        return Price(per_hour=own[instance.key], source="own price file", as_of="own")
    listed = instance.price_per_hour
    if not capacity_type.startswith("spot"):
        return Price(per_hour=listed, source=instance.source, as_of=as_of, estimate=capacity_type == "reserved")
    spot = market()["spot"]
    if instance.key in spot["prices"]:
        return Price(per_hour=spot["prices"][instance.key], source=spot["source"], as_of=spot["as_of"].isoformat())
    guess = None if listed is None else round(listed * (1 - spot["discount_typical"]), 4)
    return Price(per_hour=guess, source=spot["source"], as_of=spot["as_of"].isoformat(), estimate=True)


def per_million(hourly: float, tokens_per_s: float, utilization: float = 1.0) -> float:
    """Dollars per million tokens: hourly / 3600 / (tokens per second * utilization) * 10^6.

    Raises:
        ValueError: no tokens, or a utilization outside 0 to 1.
    """
    if tokens_per_s <= 0 or not 0 < utilization <= 1:
        raise ValueError(
            f"tokens_per_s {tokens_per_s} and utilization {utilization} must be above 0, the latter at most 1"
        )
    return hourly / 3600 / (tokens_per_s * utilization) * 1e6


def split(cost_per_output: float, input_tokens: float, output_tokens: float) -> tuple[float, float]:
    """A cost that is all put on output tokens, split into dollars per million input and output tokens."""
    share = output_tokens / (output_tokens + INPUT_WEIGHT * input_tokens)
    return cost_per_output * share * INPUT_WEIGHT, cost_per_output * share


def monthly(hourly_by_replicas: float, replicas_by_hour: Sequence[float]) -> float:
    """Dollars per month for a day's profile of replicas.

    Args:
        hourly_by_replicas: dollars per hour of one replica.
        replicas_by_hour: replicas in each hour of a day (or of a week: any number of hours that repeats).
    """
    if not replicas_by_hour:
        return 0.0
    return hourly_by_replicas * sum(replicas_by_hour) / len(replicas_by_hour) * HOURS_PER_MONTH


def scale_to_zero_savings(hourly: float, busy_hours_per_day: float, cooldown_s: float, wakes_per_day: float) -> float:
    """Dollars per month that scaling to zero saves against one replica that is always on; never negative."""
    on = min(24.0, busy_hours_per_day + wakes_per_day * cooldown_s / 3600)
    return hourly * (24.0 - on) / 24 * HOURS_PER_MONTH


def break_even(
    hourly: float, tokens_per_s: float, managed_input: float, managed_output: float, input_per_output: float
) -> BreakEven:
    """Where own GPUs and a managed API cost the same.

    Args:
        hourly: dollars per hour of a replica that is always on.
        tokens_per_s: its output tokens per second under full load.
        managed_input: dollars per million input tokens.
        managed_output: dollars per million output tokens.
        input_per_output: input tokens for each output token.

    Raises:
        ValueError: the managed API is free.
    """
    each = (managed_output + managed_input * input_per_output) / 1e6
    if each <= 0:
        raise ValueError("a managed price of 0 has no break-even")
    tokens = hourly * 24 / each
    return BreakEven(tokens_per_day=tokens, utilization=tokens / (tokens_per_s * 86_400))
