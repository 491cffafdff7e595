"""The start-up probe's program, run as the kubelet runs it. Does not prove that the image has this Python."""

from __future__ import annotations

import asyncio
import math
import sys
import time

import pytest
from aiohttp import web

from components.serving.engine import startup_probe

pytestmark = pytest.mark.unit

DEADLINE_SECONDS = 20.0


def command(port: int, seconds: float) -> list[str]:
    """The probe's own command line, at another port and with another budget."""
    probe = startup_probe(600).exec_
    words = probe.command  # type: ignore[union-attr]
    assert isinstance(words, list)
    return [sys.executable, *words[1:-2], str(port), str(seconds)]


async def start(port: int, seconds: float) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(*command(port, seconds), env={"POD_IP": "127.0.0.1"})


async def ended(process: asyncio.subprocess.Process) -> int:
    try:
        return await asyncio.wait_for(process.wait(), DEADLINE_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()


async def test_it_ends_when_the_engine_answers_and_not_before() -> None:
    answers: list[int] = []
    asked, loading = asyncio.Event(), True

    async def health(_: web.Request) -> web.Response:
        answers.append(503 if loading else 200)
        asked.set()
        return web.Response(status=answers[-1])

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    process = await start(runner.addresses[0][1], DEADLINE_SECONDS)
    try:
        await asyncio.wait_for(asked.wait(), DEADLINE_SECONDS)
        assert process.returncode is None
        loading = False
        assert await ended(process) == 0
        assert answers[-1] == 200
        assert set(answers[:-1]) == {503}
    finally:
        await runner.cleanup()


async def test_it_waits_for_a_port_that_nobody_listens_on_yet() -> None:
    began = time.monotonic()
    process = await start(1, 0.2)
    assert await ended(process) == 1
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("budget", [1, 3, 10, 600, 3600])
def test_each_run_ends_shortly_before_a_whole_second(budget: int) -> None:
    """The kubelet starts runs on whole seconds: one that ends on it leaves the engine unwatched for another."""
    probe = startup_probe(budget)
    assert probe.exec_ is not None
    seconds = float(probe.exec_.command[-1])  # type: ignore[union-attr,index,arg-type]
    pause = math.ceil(seconds) - seconds
    assert 0.2 < pause < 0.5
    assert math.ceil(seconds) * probe.failure_threshold >= budget  # type: ignore[operator]
