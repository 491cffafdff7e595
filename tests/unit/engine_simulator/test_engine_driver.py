"""The core in real time: computed durations are kept exactly, and a slow machine is noticed.

Not proven here: that a client sees its tokens on time; timers tick in milliseconds.
"""

from __future__ import annotations

import asyncio
import time

import pytest

from local.engine_simulator import driver as driver_module
from local.engine_simulator.core import EngineCore, EngineLimits
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.latency import StepCost
from local.engine_simulator.sequence import EngineSequence

pytestmark = pytest.mark.unit

STEP_SECONDS = 0.0013
STEPS = 50
DEADLINE_SECONDS = 20.0


async def run_one(engine: EngineDriver) -> float:
    """Serve one request of STEPS steps; seconds on this machine's clock."""
    done = asyncio.Event()
    started = time.monotonic()
    engine.submit(EngineSequence(8, STEPS, on_finish=lambda _: done.set()))
    await asyncio.wait_for(done.wait(), DEADLINE_SECONDS)
    return time.monotonic() - started


def make_driver() -> EngineDriver:
    limits = EngineLimits(max_num_seqs=4, max_num_batched_tokens=64, max_model_len=256, num_blocks=16)
    return EngineDriver(EngineCore(limits, StepCost(STEP_SECONDS, 0.0, 0.0)))


async def test_timer_inaccuracy_does_not_add_up() -> None:
    engine = make_driver()
    elapsed = await run_one(engine)
    simulated = engine.core.stats.e2e_latency.total
    assert simulated == pytest.approx(STEPS * STEP_SECONDS + engine.lag_seconds, abs=1e-9)
    # The last timer fires at most half a tick early.
    assert elapsed >= simulated - 0.0006


async def test_what_a_slow_machine_adds_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_MAX_LAG_SECONDS", 0.0)
    engine = make_driver()
    await run_one(engine)
    assert engine.lag_seconds > 0
    assert engine.core.stats.e2e_latency.total == pytest.approx(STEPS * STEP_SECONDS + engine.lag_seconds, abs=1e-9)


async def test_it_rests_when_idle_and_starts_again() -> None:
    engine = make_driver()
    await run_one(engine)
    assert engine.core.is_idle
    await run_one(engine)
    assert engine.core.stats.e2e_latency.count == 2


async def test_token_callbacks_come_in_order_without_the_last() -> None:
    engine = make_driver()
    seen: list[int] = []
    done = asyncio.Event()
    engine.submit(EngineSequence(8, 5, on_token=seen.append, on_finish=lambda _: done.set()))
    await asyncio.wait_for(done.wait(), DEADLINE_SECONDS)
    assert seen == [1, 2, 3, 4]


async def test_a_request_whose_tokens_cannot_be_delivered_is_dropped_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(_: int) -> None:
        raise RuntimeError("the handler is closed")

    engine = make_driver()
    ends: list[str | None] = []
    broken = EngineSequence(8, STEPS, on_token=refuse, on_finish=lambda sequence: ends.append(sequence.finish_reason))
    engine.submit(broken)
    await run_one(engine)
    assert ends == ["abort"]
    assert engine.core.is_idle
    assert caplog.text.count("a token could not be delivered") == 1


async def test_what_comes_while_the_timer_is_late_joins_the_step_after() -> None:
    """A step that should have begun before a request came does not serve it: no time is negative."""
    engine = make_driver()
    done = [asyncio.Event(), asyncio.Event()]
    for event in done:
        engine.submit(EngineSequence(8, 1, on_finish=lambda _, event=event: event.set()))  # type: ignore[misc]
        # The loop is kept from its timers until the first step is long over.
        time.sleep(4 * STEP_SECONDS)  # noqa: ASYNC251
    for event in done:
        await asyncio.wait_for(event.wait(), DEADLINE_SECONDS)
    assert engine.core.stats.queue_time.total == 0.0
    assert engine.core.stats.time_to_first_token.total == pytest.approx(2 * STEP_SECONDS + engine.lag_seconds, abs=1e-9)
