"""What it costs: per hour, per million tokens, per month, against managed APIs and against always-on."""

from __future__ import annotations

import math
from dataclasses import dataclass

HOURS_PER_MONTH = 730.0
"""365 days * 24 hours / 12, as the clouds' calculators have it."""

INPUT_WEIGHT = 0.25
"""Price of an input token over that of an output token when a bill is split between the two. A convention: managed APIs
charge a third to a fifth for input (public price tables, 2025)."""


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """Own GPUs against a managed API.

    Attributes:
        tokens_per_day: output tokens (and their input) above which own GPUs cost less.
        utilization: share of the replica's throughput that this is; above 1 own GPUs never pay.
    """

    tokens_per_day: float
    utilization: float


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


def paid_hours_per_day(busy_hours: float, cooldown_s: float, wakes: float, cold_start_s: float = 0.0) -> float:
    """Hours a day that a replica which scales to zero is paid for: busy, and loading and cooling down at each wake."""
    return min(24.0, busy_hours + wakes * (cooldown_s + cold_start_s) / 3600)


def scale_to_zero_savings(
    hourly: float, busy_hours_per_day: float, cooldown_s: float, wakes_per_day: float, cold_start_s: float = 0.0
) -> float:
    """Dollars per month that scaling to zero saves against one replica that is always on; never negative."""
    on = paid_hours_per_day(busy_hours_per_day, cooldown_s, wakes_per_day, cold_start_s)
    return hourly * (24.0 - on) / 24 * HOURS_PER_MONTH


def always_on_break_even_hours(cooldown_s: float, wakes_per_day: float, cold_start_s: float = 0.0) -> float:
    """Busy hours a day above which a replica that is always on costs no more than one that scales to zero."""
    return max(0.0, 24.0 - paid_hours_per_day(0.0, cooldown_s, wakes_per_day, cold_start_s))


def replicas_needed(requests_per_s: float, requests_each: float, fewest: int, most: int) -> int:
    """Replicas for a rate, within the bounds of the scaling; none for no requests where none is allowed.

    Args:
        requests_per_s: of all replicas.
        requests_each: per second that one replica serves.
        fewest: replicas.
        most: replicas.
    """
    wanted = math.ceil(requests_per_s / requests_each) if requests_per_s > 0 else 0
    return max(fewest, min(most, wanted))


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
