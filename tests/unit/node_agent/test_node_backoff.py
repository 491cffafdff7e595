"""Delays between restarts. Not proven here: that they are waited for (test_node_agent)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.node_agent.backoff import RestartBackoff

pytestmark = pytest.mark.unit


def delays(backoff: RestartBackoff, runs_for: float, count: int) -> list[float]:
    """Delays of a container that always ends after the same time."""
    now, result = 0.0, []
    for _ in range(count):
        now += runs_for
        delay = backoff.delay_after_end(now)
        result.append(delay)
        now += delay
        backoff.restarted(now)
    return result


def test_the_kubelets_delays() -> None:
    assert delays(RestartBackoff(), 1.0, 9) == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_shorter_first_delay_doubles_up_to_the_same_limit() -> None:
    assert delays(RestartBackoff(initial=1.0), 1.0, 11) == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


def test_ten_minutes_without_a_restart_and_all_is_forgotten() -> None:
    backoff = RestartBackoff()
    delays(backoff, 0.0, 4)  # the last restart is at 70 s
    assert backoff.delay_after_end(70 + 600) == 80
    assert backoff.delay_after_end(70 + 600.1) == 0
    backoff.restarted(70 + 600.1)
    assert backoff.delay_after_end(70 + 600.2) == 10


@given(st.floats(0.1, 100), st.lists(st.floats(0, 2000), max_size=30))
def test_delays_stay_within_the_limits(initial: float, runs: list[float]) -> None:
    backoff, now = RestartBackoff(initial=initial), 0.0
    for run in runs:
        now += run
        delay = backoff.delay_after_end(now)
        assert delay == 0 or initial <= delay <= 300
        now += delay
        backoff.restarted(now)
