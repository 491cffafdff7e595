"""Generated traces.

Shows: the stated distributions and the idle gaps. Does not show that a burst makes any cluster scale.
"""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.generate import OUTPUT_LENGTHS, PROMPT_LENGTHS, Pattern, generate

pytestmark = pytest.mark.unit

PATTERN = Pattern(duration=400.0, burst=40.0, gap=60.0, rate=8.0, cv=2.0)


def test_the_same_seed_gives_the_same_trace() -> None:
    assert generate(PATTERN, 3) == generate(PATTERN, 3) != generate(PATTERN, 4)


def test_each_burst_begins_at_its_time_and_a_gap_follows() -> None:
    times = [request.at for request in generate(PATTERN, 1)]
    openings = [at for before, at in zip([-math.inf, *times], times, strict=False) if at - before >= PATTERN.gap]
    assert openings == [0.0, 100.0, 200.0, 300.0]
    assert all(at % 100.0 < PATTERN.burst for at in times)


def test_rate_and_burstiness_within_a_burst_are_as_asked() -> None:
    requests = generate(Pattern(duration=20_000.0, burst=20_000.0, gap=0.0, rate=8.0, cv=2.0), 0)
    gaps = [after.at - before.at for before, after in itertools.pairwise(requests)]
    mean = statistics.fmean(gaps)
    # 160,000 draws: the standard errors are about 0.5 % of the mean and 1 % of the cv.
    assert mean == pytest.approx(1 / 8.0, rel=0.03)
    assert statistics.pstdev(gaps) / mean == pytest.approx(2.0, rel=0.05)


def test_lengths_follow_the_stated_lognormal() -> None:
    requests = generate(Pattern(duration=5_000.0, burst=5_000.0, gap=0.0), 0)
    for lengths, drawn in (
        (PROMPT_LENGTHS, [request.prompt_tokens for request in requests]),
        (OUTPUT_LENGTHS, [request.output_tokens for request in requests]),
    ):
        assert statistics.median(drawn) == pytest.approx(math.exp(lengths.mean_of_log), rel=0.05)
        assert max(drawn) <= lengths.longest


PATTERNS = st.builds(
    Pattern,
    duration=st.floats(0.1, 500),
    burst=st.floats(0.1, 100),
    gap=st.floats(0, 100),
    rate=st.floats(0.1, 20),
    cv=st.floats(0.2, 4),
)


@given(PATTERNS, st.integers(0, 100))
def test_any_pattern_gives_an_ordered_trace_within_its_duration(pattern: Pattern, seed: int) -> None:
    requests = generate(pattern, seed)
    times = [request.at for request in requests]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert times[-1] < pattern.duration
    assert min(min(r.prompt_tokens, r.output_tokens) for r in requests) >= 1
