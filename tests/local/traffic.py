"""Steady traffic in the background, with the fate of each request."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType

import aiohttp

from tests.local.client import TIMEOUT, Answer, ask


@dataclass
class Sent:
    """One request: when it was sent, and what came of it (None while it is in flight)."""

    at: float
    answer: Answer | None = None


@dataclass
class Traffic:
    """Streams to one model at a fixed rate, from ``with`` to its end; then waits for all answers.

    Attributes:
        url: of the gateway.
        model: that is asked.
        per_second: requests per second, open loop.
        tokens: of each answer.
    """

    url: str
    model: str
    per_second: float = 10.0
    tokens: int = 100
    sent: list[Sent] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __enter__(self) -> Traffic:
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run()))
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.thread.join()

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session, asyncio.TaskGroup() as group:
            due = time.monotonic()
            while not self.stop.is_set():
                group.create_task(self.one(session))
                due += 1 / self.per_second
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def one(self, session: aiohttp.ClientSession) -> None:
        entry = Sent(time.monotonic())
        self.sent.append(entry)
        entry.answer = await ask(session, self.url, self.model, stream=True, tokens=self.tokens)

    def answered(self) -> int:
        """Requests whose whole answer came."""
        return sum(1 for entry in self.sent if entry.answer is not None and entry.answer.complete)

    def in_flight(self) -> list[Sent]:
        """Requests that have no answer yet."""
        return [entry for entry in self.sent if entry.answer is None]

    def failed(self) -> list[Sent]:
        """Requests that failed."""
        return [entry for entry in self.sent if entry.answer is not None and not entry.answer.complete]
