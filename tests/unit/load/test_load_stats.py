"""Percentiles. Shows the arithmetic; not that a measured time is right."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.stats import percentile, spread_ms

pytestmark = pytest.mark.unit

VALUES = st.lists(st.floats(0, 1e6), min_size=2).map(sorted)


@given(VALUES)
def test_agrees_with_the_standard_librarys_inclusive_quantiles(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    assert [percentile(values, percent) for percent in range(1, 100)] == pytest.approx(cuts, rel=1e-9, abs=1e-6)


@given(VALUES, st.floats(0, 100), st.floats(0, 100))
def test_grows_with_the_percent_and_stays_within_the_values(values: list[float], one: float, other: float) -> None:
    low, high = sorted((percentile(values, one), percentile(values, other)))
    assert (percentile(values, min(one, other)), percentile(values, max(one, other))) == (low, high)
    assert values[0] <= low <= high <= values[-1]


def test_bad_arguments_are_errors() -> None:
    with pytest.raises(ValueError, match="percentile of no values"):
        percentile([], 50)
    with pytest.raises(ValueError, match="must lie within 0 and 100, got 101"):
        percentile([1.0], 101)


def test_spread_is_in_milliseconds() -> None:
    assert spread_ms([0.003, 0.001, 0.002]) == {"p50": 2.0, "p95": 2.9, "p99": 2.98, "max": 3.0, "mean": 2.0}


def test_spread_of_nothing_has_no_figures() -> None:
    assert spread_ms([]) == {"p50": None, "p95": None, "p99": None, "max": None, "mean": None}
