"""When probes run and what their results mean, in virtual time.

Not proven here: what an attempt does (test_node_actions), and what a restart looks like (test_node_agent).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import Probe

from local.node_agent.probes import ContainerProbe, Outcome, ProbeKind, Prober, ProbeTiming, Verdict
from tests.unit.node_agent.node_doubles import in_virtual_time

pytestmark = pytest.mark.unit

STARTUP, LIVENESS, READINESS = ProbeKind.STARTUP, ProbeKind.LIVENESS, ProbeKind.READINESS


class Diary:
    """Notes what the prober says, and when (seconds)."""

    def __init__(self) -> None:
        self.notes: list[tuple[float, str]] = []

    def note(self, what: str) -> None:
        self.notes.append((round(asyncio.get_running_loop().time(), 3), what))

    def on_started(self) -> None:
        self.note("started")

    def on_ready(self, ready: bool) -> None:
        self.note("ready" if ready else "not ready")

    def on_attempt_failed(self, kind: ProbeKind, message: str) -> None:
        assert message == "no"
        self.note(f"{kind.value} failed")

    def on_unhealthy(self, kind: ProbeKind) -> None:
        self.note(f"{kind.value} unhealthy")


def probe(
    diary: Diary, name: str, ok: Callable[[float], bool], timing: ProbeTiming, *, takes: float = 0.0
) -> ContainerProbe:
    """A probe that notes each attempt and asks ``ok`` with the time of its beginning."""

    async def check() -> Outcome:
        begin = asyncio.get_running_loop().time()
        diary.note(name)
        await asyncio.sleep(takes)
        return Outcome(ok(begin), "" if ok(begin) else "no")

    return ContainerProbe(timing, check)


def history(
    make: Callable[[Diary], dict[ProbeKind, ContainerProbe]],
    *,
    seconds: float,
    running_for: float = 0.0,
    started: bool = False,
    ready: bool = False,
) -> list[tuple[float, str]]:
    """What happens within so many seconds."""

    async def work() -> list[tuple[float, str]]:
        diary = Diary()
        prober = Prober(make(diary), diary, running_for=running_for, started=started, ready=ready)
        task = asyncio.create_task(prober.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return diary.notes

    return in_virtual_time(work())


def test_without_probes_a_container_is_started_and_ready_at_once() -> None:
    assert history(lambda _: {}, seconds=60) == [(0, "started"), (0, "ready")]


def test_startup_gates_the_others_and_its_success_asks_for_readiness_at_once() -> None:
    def make(diary: Diary) -> dict[ProbeKind, ContainerProbe]:
        return {
            STARTUP: probe(diary, "s", lambda t: t >= 4, ProbeTiming(period=2, failure_threshold=10)),
            LIVENESS: probe(diary, "l", lambda _: True, ProbeTiming(period=10)),
            READINESS: probe(diary, "r", lambda _: True, ProbeTiming(period=5)),
        }

    assert history(make, seconds=11) == [
        (0, "s"),
        (0, "Startup failed"),
        (2, "s"),
        (2, "Startup failed"),
        (4, "s"),
        (4, "started"),
        (4, "r"),
        (4, "l"),
        (4, "ready"),
        (9, "r"),
    ]


def test_an_exec_startup_probe_that_blocks_until_healthy_succeeds_in_one_attempt() -> None:
    def make(diary: Diary) -> dict[ProbeKind, ContainerProbe]:
        slow = ProbeTiming(period=1, timeout=600, failure_threshold=1)
        return {
            STARTUP: probe(diary, "s", lambda _: True, slow, takes=42.5),
            READINESS: probe(diary, "r", lambda _: True, ProbeTiming(period=60)),
        }

    assert history(make, seconds=50) == [(0, "s"), (42.5, "started"), (42.5, "r"), (42.5, "ready")]


def test_startup_that_never_succeeds_ends_the_container_and_nothing_else_runs() -> None:
    def make(diary: Diary) -> dict[ProbeKind, ContainerProbe]:
        return {
            STARTUP: probe(diary, "s", lambda _: False, ProbeTiming(period=1, failure_threshold=2)),
            READINESS: probe(diary, "r", lambda _: True, ProbeTiming()),
        }

    assert history(make, seconds=60) == [
        (0, "s"),
        (0, "Startup failed"),
        (1, "s"),
        (1, "Startup failed"),
        (1, "Startup unhealthy"),
    ]


def test_liveness_needs_its_failures_in_a_row_and_leaves_readiness_running() -> None:
    failures = {2.0, 4.0, 6.0}

    def make(diary: Diary) -> dict[ProbeKind, ContainerProbe]:
        return {
            LIVENESS: probe(diary, "l", lambda t: t not in failures, ProbeTiming(period=1, failure_threshold=1)),
            READINESS: probe(diary, "r", lambda _: True, ProbeTiming(period=3)),
        }

    assert history(make, seconds=3.5) == [
        (0, "started"),
        (0, "r"),
        (0, "l"),
        (0, "ready"),
        (1, "l"),
        (2, "l"),
        (2, "Liveness failed"),
        (2, "Liveness unhealthy"),
        (3, "r"),
    ]


def test_readiness_changes_after_its_thresholds_only() -> None:
    def make(diary: Diary) -> dict[ProbeKind, ContainerProbe]:
        timing = ProbeTiming(initial_delay=2, period=1, success_threshold=2, failure_threshold=3)
        return {READINESS: probe(diary, "r", lambda t: not 5 <= t <= 8, timing)}

    changes = [note for note in history(make, seconds=13) if "ready" in note[1]]
    # First attempt after the delay; ready with the second success (3), not with the third failure (7), again (10).
    assert changes == [(3, "ready"), (7, "not ready"), (10, "ready")]


def test_an_attempt_that_outlasts_its_period_lets_periods_pass_and_delays_nobody_else() -> None:
    def make(diary: Diary) -> dict[ProbeKind, ContainerProbe]:
        return {
            LIVENESS: probe(diary, "l", lambda _: True, ProbeTiming(period=2), takes=2.5),
            READINESS: probe(diary, "r", lambda _: True, ProbeTiming(period=2)),
        }

    notes = history(make, seconds=9)
    assert [time for time, what in notes if what == "l"] == [0, 4, 8]
    assert [time for time, what in notes if what == "r"] == [0, 2, 4, 6, 8]


def test_a_container_of_an_earlier_agent_stays_started_and_ready() -> None:
    def make(diary: Diary) -> dict[ProbeKind, ContainerProbe]:
        return {
            STARTUP: probe(diary, "s", lambda _: False, ProbeTiming(failure_threshold=1)),
            LIVENESS: probe(diary, "l", lambda _: True, ProbeTiming(initial_delay=30, period=10)),
            READINESS: probe(diary, "r", lambda t: t < 1, ProbeTiming(period=1, failure_threshold=2)),
        }

    notes = history(make, seconds=5.5, running_for=25, started=True, ready=True)
    # The initial delay counts from the container's start, 25 s ago.
    assert [note for note in notes if note[1] in ("s", "l")] == [(5, "l")]
    assert [note for note in notes if "ready" in note[1]] == [(2, "not ready")]


def test_the_defaults_are_those_of_the_api() -> None:
    assert ProbeTiming.of(Probe()) == ProbeTiming(0, 10, 1, 1, 3)
    given_numbers = Probe(
        initialDelaySeconds=1, periodSeconds=2, timeoutSeconds=3, successThreshold=4, failureThreshold=5
    )
    assert ProbeTiming.of(given_numbers) == ProbeTiming(1, 2, 3, 4, 5)


def replayed(outcomes: Sequence[bool], needed: dict[bool, int], start: bool | None) -> bool | None:
    """The result by its definition: changed by the last run of equal outcomes that was long enough."""
    result, index = start, 0
    while index < len(outcomes):
        value, run = outcomes[index], 0
        while index < len(outcomes) and outcomes[index] == value:
            run, index = run + 1, index + 1
        if run >= needed[value]:
            result = value
    return result


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4), st.sampled_from([None, True, False]))
def test_the_verdict_agrees_with_its_definition(
    outcomes: list[bool], success: int, failure: int, start: bool | None
) -> None:
    verdict = Verdict(ProbeTiming(success_threshold=success, failure_threshold=failure), passing=start)
    for count, outcome in enumerate(outcomes, 1):
        before = verdict.passing
        changed = verdict.observe(outcome)
        assert changed == (verdict.passing != before)
        assert verdict.passing == replayed(outcomes[:count], {True: success, False: failure}, start)
