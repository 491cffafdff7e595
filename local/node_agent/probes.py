"""When probes run and what their results mean: the kubelet's rules (pkg/kubelet/prober/worker.go).

One deliberate difference: the kubelet's first probe waits up to one period for its
ticker; here it comes as soon as the initial delay is over.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from lightkube.models.core_v1 import Probe


class ProbeKind(enum.Enum):
    """The three probes of a container."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


@dataclass(frozen=True)
class Outcome:
    """Result of one attempt; the message says why it failed."""

    ok: bool
    message: str = ""


Check = Callable[[], Awaitable[Outcome]]


@dataclass(frozen=True)
class ProbeTiming:
    """A probe's numbers, seconds and counts; defaults are the API's."""

    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3

    @classmethod
    def of(cls, probe: Probe) -> ProbeTiming:
        """Those of a container's probe."""
        return cls(
            initial_delay=probe.initialDelaySeconds or 0,
            period=probe.periodSeconds or cls.period,
            timeout=probe.timeoutSeconds or cls.timeout,
            success_threshold=probe.successThreshold or cls.success_threshold,
            failure_threshold=probe.failureThreshold or cls.failure_threshold,
        )


class Verdict:
    """Turns single outcomes into the probe's result.

    Attributes:
        passing: the result; None before the first.
    """

    def __init__(self, timing: ProbeTiming, *, passing: bool | None) -> None:
        self._timing = timing
        self._last: bool | None = None
        self._run = 0
        self.passing = passing

    def observe(self, ok: bool) -> bool:
        """Take in an outcome; True if the result has changed."""
        self._run = self._run + 1 if ok == self._last else 1
        self._last = ok
        needed = self._timing.success_threshold if ok else self._timing.failure_threshold
        if self._run < needed or self.passing == ok:
            return False
        self.passing = ok
        return True


class ProbeListener(Protocol):
    """Who is told."""

    def on_started(self) -> None:
        """The container has started: its startup probe has succeeded or it has none."""

    def on_ready(self, ready: bool) -> None:
        """The readiness probe's result has changed; without such a probe, once: ready."""

    def on_attempt_failed(self, kind: ProbeKind, message: str) -> None:
        """One attempt failed; thresholds may not be reached."""

    def on_unhealthy(self, kind: ProbeKind) -> None:
        """The startup or liveness probe's result is failure: the container is to be restarted."""


@dataclass(frozen=True)
class ContainerProbe:
    """A probe ready to run. ``check`` keeps to the timeout itself."""

    timing: ProbeTiming
    check: Check


class Prober:
    """Runs the probes of one start of a container."""

    def __init__(
        self,
        probes: Mapping[ProbeKind, ContainerProbe],
        listener: ProbeListener,
        *,
        running_for: float = 0.0,
        started: bool = False,
        ready: bool = False,
    ) -> None:
        """Needs a running event loop.

        Args:
            probes: those that the container has.
            listener: who is told.
            running_for: seconds since the container was started.
            started: an earlier agent has seen it start.
            ready: an earlier agent has seen it ready; it stays so until the probe says otherwise.
        """
        self._probes = probes
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._container_start = self._loop.time() - running_for
        self._started = started
        self._ready = ready

    async def run(self) -> None:
        """Probe until cancelled, or until there is nothing more to probe."""
        if not self._started:
            if not await self._watch(ProbeKind.STARTUP, passing=None):
                return
            self._listener.on_started()
        readiness = self._watch_readiness()
        liveness = self._watch(ProbeKind.LIVENESS, passing=True)
        await asyncio.gather(readiness, liveness)

    async def _watch(self, kind: ProbeKind, *, passing: bool | None) -> bool:
        """Probe until the result changes; the result. Without such a probe: success, at once."""
        probe = self._probes.get(kind)
        if probe is None:
            return True
        verdict = Verdict(probe.timing, passing=passing)
        await self._attempt(kind, probe, verdict.observe)
        if not verdict.passing:
            self._listener.on_unhealthy(kind)
        return bool(verdict.passing)

    async def _watch_readiness(self) -> None:
        probe = self._probes.get(ProbeKind.READINESS)
        if probe is None:
            self._listener.on_ready(True)
            return
        verdict = Verdict(probe.timing, passing=self._ready)

        def observe(ok: bool) -> bool:
            if verdict.observe(ok):
                self._listener.on_ready(ok)
            return False

        await self._attempt(ProbeKind.READINESS, probe, observe)

    async def _attempt(self, kind: ProbeKind, probe: ContainerProbe, enough: Callable[[bool], bool]) -> None:
        """Probe once per period until it is ``enough``; an attempt that outlasts periods lets those pass."""
        due = max(self._container_start + probe.timing.initial_delay, self._loop.time())
        while True:
            await asyncio.sleep(due - self._loop.time())
            outcome = await probe.check()
            if not outcome.ok:
                self._listener.on_attempt_failed(kind, outcome.message)
            if enough(outcome.ok):
                return
            late = self._loop.time() - due
            due += probe.timing.period * (int(late // probe.timing.period) + 1)
