"""Sleep mode of the simulated engine: how long it takes, what it frees, and that vLLM's order must be kept.

Does not prove that vLLM takes these times: they are published figures, scaled (planner/sleep.py).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from local.engine_simulator.core import EngineCore
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.process import _bind_socket
from local.engine_simulator.server import EngineServer
from local.engine_simulator.settings import EngineSettings, StartError
from local.engine_simulator.sleep import sleep_estimate
from planner.sleep import PUBLISHED_SLEEP_SECONDS, PUBLISHED_WAKE_SECONDS, PUBLISHED_WEIGHTS_GIB
from tests.unit.engine_simulator.engine_doubles import make_settings

pytestmark = pytest.mark.unit

Client = TestClient[web.Request, web.Application]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}


def settings(speedup: float = 1.0) -> EngineSettings:
    return make_settings("--served-model-name=m", "--enable-sleep-mode", speedup=speedup, VLLM_SERVER_DEV_MODE="1")


async def served(speedup: float) -> Client:
    made = settings(speedup)
    server = EngineServer(made, EngineDriver(EngineCore(made.limits, made.cost)))
    client: Client = TestClient(TestServer(server.application(), handler_cancellation=True))
    await client.start_server()
    return client


async def memory_used_gib(client: Client) -> float:
    text = await (await client.get("/simulated-dcgm")).text()
    (line,) = [line for line in text.splitlines() if line.startswith("DCGM_FI_DEV_FB_USED{")]
    return float(line.rpartition(" ")[2]) / 1024


def test_the_times_are_the_published_ones_by_the_weights() -> None:
    """Llama 3.1 8B in bfloat16: 14.96 GiB, 2.43 times the weights of the measurement."""
    ratio = 8_030_261_248 * 2 / 1024**3 / PUBLISHED_WEIGHTS_GIB
    found = sleep_estimate(settings(), 1)
    assert found.sleep_seconds == pytest.approx(PUBLISHED_SLEEP_SECONDS * ratio)
    assert found.wake_seconds == pytest.approx(PUBLISHED_WAKE_SECONDS * ratio)
    assert sleep_estimate(settings(10.0), 1).sleep_seconds == pytest.approx(found.sleep_seconds / 10)
    deep = sleep_estimate(settings(), 2)
    assert (deep.sleep_seconds, deep.host_gib) == (0.0, 0.0)
    assert deep.wake_seconds > found.wake_seconds


async def test_it_takes_its_time_and_frees_the_memory() -> None:
    speedup = 100.0
    client = await served(speedup)
    found = sleep_estimate(settings(speedup), 1)
    try:
        before = await memory_used_gib(client)
        began = time.monotonic()
        assert await (await client.post("/sleep?level=1&mode=wait")).json() == {"status": "sleeping", "level": 1}
        assert time.monotonic() - began >= found.sleep_seconds
        assert before - await memory_used_gib(client) == pytest.approx(found.freed_gib, abs=0.01)
        assert (await (await client.post("/wake_up")).json())["status"] == "awake"
        assert await memory_used_gib(client) == pytest.approx(before)
        assert (await client.post("/v1/chat/completions", json=CHAT)).status == 200
    finally:
        await client.close()


async def test_after_level_two_nothing_is_right_until_the_weights_are_reloaded() -> None:
    client = await served(1e4)
    try:
        await client.post("/sleep?level=2")
        assert (await client.post("/collective_rpc", json={"method": "reload_weights"})).status == 500
        partly = await (await client.post("/wake_up?tags=weights")).json()
        assert partly == {"status": "sleeping", "tags": ["weights"]}
        assert await (await client.get("/is_sleeping")).json() == {"is_sleeping": True}
        awake = await (await client.post("/wake_up?tags=kv_cache")).json()
        assert awake["status"] == "awake"
        wrong = await client.post("/v1/chat/completions", json=CHAT)
        assert (wrong.status, "not reloaded" in await wrong.text()) == (500, True)
        assert (await client.post("/collective_rpc", json={"method": "reload_weights"})).status == 200
        assert (await client.post("/v1/chat/completions", json=CHAT)).status == 200
        assert (await client.post("/collective_rpc", json={"method": "profile"})).status == 400
    finally:
        await client.close()


async def test_awake_it_cannot_be_woken_and_asleep_not_put_to_sleep_again() -> None:
    client = await served(1e4)
    try:
        assert (await (await client.post("/wake_up")).json())["status"] == "awake"
        for _ in range(2):
            await client.post("/sleep?level=1")
        assert (await (await client.post("/wake_up")).json())["status"] == "awake"
    finally:
        await client.close()


async def test_a_socket_in_a_deep_folder_and_one_that_was_left_there(tmp_path: Path) -> None:
    """A socket's whole name may have 107 bytes: the folders of pods here are longer."""
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    here = Path.cwd()
    for _ in range(2):
        listener = _bind_socket(str(folder / "vllm.sock"))
        listener.close()
    assert (folder / "vllm.sock").is_socket()
    assert Path.cwd() == here
    with pytest.raises(StartError, match=r"cannot listen on .*nowhere"):
        _bind_socket(str(tmp_path / "nowhere" / "vllm.sock"))
    await asyncio.sleep(0)
