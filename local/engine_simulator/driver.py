"""Runs the engine core in real time on an asyncio loop: one timer per step for all sequences."""

from __future__ import annotations

import asyncio
import logging
import time

from local.engine_simulator.core import EngineCore
from local.engine_simulator.sequence import EngineSequence, State

log = logging.getLogger("engine_simulator")

# Timers of the event loop tick in milliseconds: a step is taken as over when less than half a tick is
# missing.
_TICK_SECONDS = 0.0005
# Beyond this the machine, not the formula, sets the pace: simulated time then waits for real time.
_MAX_LAG_SECONDS = 0.25
_STEPS_PER_WAKE = 64
_LAG_WARNING_SECONDS = 30.0


class EngineDriver:
    """Steps a core while it has work.

    Each step ends at the end of the one before plus its computed duration, not at the time when the timer
    fired, so that timer inaccuracy does not add up; steps shorter than a timer tick are made several at a
    time.

    Attributes:
        lag_seconds: by how much steps took longer than computed since the start, because the machine is too slow.
        busy_seconds: computed duration of all steps since the start.
    """

    def __init__(self, core: EngineCore) -> None:
        self.core = core
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None
        self.lag_seconds = 0.0
        self.busy_seconds = 0.0
        self._reported_lag = 0.0
        self._reported_at = time.monotonic()

    def submit(self, sequence: EngineSequence) -> None:
        """Queue a sequence; it joins the batch at the next step."""
        now = time.monotonic()
        self.core.add(sequence, now)
        self.resume(now)

    def abort(self, sequence: EngineSequence) -> None:
        """Drop a sequence, for example because its client went away."""
        self.core.abort(sequence)

    def resume(self, now: float | None = None) -> None:
        """Start stepping if no step is under way (after a submit, or a wake from sleep)."""
        if self._deadline is None:
            self._begin(time.monotonic() if now is None else now)
            self._arm()

    def _begin(self, now: float) -> None:
        duration = self.core.schedule(now)
        if duration is None and self.core.waiting and self.core.waiting[0].arrival > now:
            # Nothing runs, and what came while the timer was late begins when it came.
            now = self.core.waiting[0].arrival
            duration = self.core.schedule(now)
        if duration is None:
            self._deadline = None
            return
        self._deadline = now + duration
        self.busy_seconds += duration

    def _arm(self) -> None:
        if self._deadline is not None:
            self._loop.call_later(max(0.0, self._deadline - time.monotonic()), self._wake)

    def _wake(self) -> None:
        for _ in range(_STEPS_PER_WAKE):
            now = time.monotonic()
            if self._deadline is None or self._deadline > now + _TICK_SECONDS:
                break
            end = self._deadline
            if now - end > _MAX_LAG_SECONDS:
                self._note_lag(now - end, now)
                end = now
            self._deliver(self.core.complete(end))
            self._begin(end)
        self._arm()

    def _deliver(self, emitted: list[EngineSequence]) -> None:
        running = State.RUNNING
        for sequence in emitted:
            if sequence.state is running and sequence.on_token is not None:
                try:
                    sequence.on_token(sequence.generated)
                except Exception:
                    # The next step is for all others: one client's trouble must not keep it from coming.
                    log.exception("a token could not be delivered; its request is dropped")
                    self.core.abort(sequence)

    def _note_lag(self, seconds: float, now: float) -> None:
        self.lag_seconds += seconds
        elapsed = now - self._reported_at
        if elapsed > _LAG_WARNING_SECONDS:
            log.warning(
                "this machine is too slow for the simulated GPU: %.1f s behind in %.0f s; latencies are longer than "
                "computed",
                self.lag_seconds - self._reported_lag,
                elapsed,
            )
            self._reported_lag, self._reported_at = self.lag_seconds, now
