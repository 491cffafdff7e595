"""The bounds of scaling. Does not prove that KEDA accepts a ScaledObject: the API server checks its schema."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.components.samples import SCALING

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"min_replicas": 6}, "min_replicas 6 and max_replicas 5"),
        ({"min_replicas": -1}, "min_replicas -1"),
        ({"max_replicas": 0}, "max_replicas at least 1"),
        ({"queue_depth": 0}, "queue_depth 0 must be at least 1"),
        ({"concurrency": 0}, "concurrency 0 must be at least 1"),
        ({"polling_interval_seconds": 0}, "polling_interval_seconds 0 must be at least 1"),
        ({"startup_budget_seconds": 0}, "startup_budget_seconds 0 must be at least 1"),
        ({"drain_seconds": -1}, "drain_seconds -1 must not be negative"),
        ({"scale_down_stabilization_seconds": -1}, "scale_down_stabilization_seconds -1 must not be negative"),
        ({"cooldown_seconds": 599}, "cooldown_seconds 599 is shorter than startup_budget_seconds 600"),
    ],
)
def test_impossible_scaling_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SCALING, **changes)


def test_the_cooldown_may_be_as_long_as_the_start() -> None:
    assert replace(SCALING, cooldown_seconds=600).cooldown_seconds == 600


def test_without_zero_the_cooldown_does_not_matter() -> None:
    assert replace(SCALING, min_replicas=1, cooldown_seconds=1).cooldown_seconds == 1
