"""Grace periods, and the order in which a container is asked to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from local.node_agent.processes import Process

log = logging.getLogger(__name__)

# pkg/kubelet/kuberuntime: minimumGracePeriodInSeconds; a long preStop hook still leaves this much.
SHORTEST_AFTER_HOOK_SECONDS = 2.0

Hook = Callable[[], Awaitable[None]]


class GracePeriod:
    """The time left until SIGKILL; can be shortened while it runs.

    Attributes:
        at_once: it is 0 by order: neither hook nor stop signal.
    """

    def __init__(self, seconds: float) -> None:
        """Counts from now; ``seconds`` 0 means at once."""
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + seconds
        self.at_once = seconds <= 0
        self._shortened = asyncio.Event()

    def shorten(self, seconds: float) -> None:
        """Let it end ``seconds`` from now, if that is sooner."""
        self._end = min(self._end, self._loop.time() + seconds)
        self.at_once = self.at_once or seconds <= 0
        self._shortened.set()

    @property
    def remaining(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self._end - self._loop.time())

    async def over(self, at_least: float = 0.0) -> None:
        """Wait until it ends; not before ``at_least`` seconds from now unless it is 0 by order."""
        floor = self._loop.time() + at_least
        while not self.at_once:
            wait = max(self._end, floor) - self._loop.time()
            if wait <= 0:
                return
            self._shortened.clear()
            # Not wait_for: until Python 3.12 it swallows a cancellation that comes together with the event.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._shortened.wait()


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Wait until one is done, then cancel the others and wait for them; a fault in that one comes out."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def end_process(process: Process, grace: GracePeriod, stop_signal: int, hook: Hook | None) -> None:
    """preStop, then the stop signal to the process group, then SIGKILL; returns when the process has ended.

    Args:
        process: what to end.
        grace: covers the hook and the time after the signal together. As with the kubelet the
            process has at least 2 s after the hook, unless the grace period is 0.
        stop_signal: usually SIGTERM.
        hook: the preStop hook; it is cut off when the process or the grace period ends.
    """
    if hook is not None and not grace.at_once:
        await first_of(_run(hook), process.wait(), grace.over())
    if process.running and not grace.at_once:
        process.signal(stop_signal)
        await first_of(process.wait(), grace.over(SHORTEST_AFTER_HOOK_SECONDS))
    process.kill()
    await process.wait()


async def _run(hook: Hook) -> None:
    """Run the hook; whatever goes wrong in it, the process is to end."""
    try:
        await hook()
    except Exception:
        log.exception("a preStop hook stopped by a fault of the node agent")


def signal_number(name: str | None, default: str) -> int:
    """A signal by name, such as SIGTERM."""
    return int(signal.Signals[name or default])
