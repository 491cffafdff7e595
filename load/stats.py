"""Percentiles of measured times: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

MILLISECONDS = 1000.0


class Spread(TypedDict):
    """Distribution of a time in milliseconds; every figure is ``None`` when nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    mean: float | None


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Percentile by linear interpolation between the closest ranks (the rule that numpy uses by default).

    Args:
        ordered: values in ascending order, at least one.
        percent: 0 to 100.

    Raises:
        ValueError: no values, or ``percent`` outside 0 to 100.
    """
    if not ordered:
        raise ValueError("percentile of no values")
    if not 0 <= percent <= 100:  # noqa: PLR2004 - the definition of percent
        raise ValueError(f"percent must lie within 0 and 100, got {percent}")
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def spread_ms(seconds: Iterable[float]) -> Spread:
    """Distribution in milliseconds, to the microsecond, of times given in seconds."""
    ordered = sorted(seconds)
    if not ordered:
        return Spread(p50=None, p95=None, p99=None, max=None, mean=None)

    def milliseconds(value: float) -> float:
        return round(value * MILLISECONDS, 3)

    return Spread(
        p50=milliseconds(percentile(ordered, 50)),
        p95=milliseconds(percentile(ordered, 95)),
        p99=milliseconds(percentile(ordered, 99)),
        max=milliseconds(ordered[-1]),
        mean=milliseconds(sum(ordered) / len(ordered)),
    )
