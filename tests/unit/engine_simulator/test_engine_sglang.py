"""The simulated SGLang: its arguments, routes, metrics and drain. Does not prove what SGLang itself does."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from local.engine_simulator.__main__ import run_sglang
from local.engine_simulator.arguments import UsageError, parse
from local.engine_simulator.core import EngineCore
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.environment import Simulation
from local.engine_simulator.settings import EngineSettings, resolve
from local.engine_simulator.sglang_arguments import parse_known, translated
from local.engine_simulator.sglang_server import SglangServer
from tests.unit.engine_simulator.engine_doubles import L4, LLAMA_8B

pytestmark = pytest.mark.unit

WORDS = [
    "--model-path=meta-llama/Llama-3.1-8B-Instruct",
    "--served-model-name=chat",
    "--host=127.0.0.1",
    "--port=8000",
    "--mem-fraction-static=0.79",
    "--tp-size=1",
    "--enable-metrics",
    "--context-length=8192",
    "--max-running-requests=17",
]
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}


def settings(speedup: float = 1000.0) -> EngineSettings:
    arguments = parse(translated(parse_known(WORDS), LLAMA_8B, L4))
    return resolve(arguments, Simulation(speedup=speedup), LLAMA_8B, L4, {})


async def served(speedup: float = 1000.0) -> tuple[SglangServer, TestClient[web.Request, web.Application]]:
    made = settings(speedup)
    server = SglangServer(made, EngineDriver(EngineCore(made.limits, made.cost)))
    client: TestClient[web.Request, web.Application] = TestClient(
        TestServer(server.application(), handler_cancellation=True)
    )
    await client.start_server()
    return server, client


def test_the_arguments_in_the_simulators_words() -> None:
    made = settings()
    assert made.arguments.served_model_names == ("chat",)
    assert (made.limits.max_model_len, made.limits.max_num_seqs) == (8192, 17)
    # 0.79 of the memory less the weights, whatever the engine computes with.
    left = 0.79 * 22.03 * 1024**3 - 8_030_261_248 * 2
    assert made.kv_cache_tokens == pytest.approx(left / (2 * 32 * 8 * 128 * 2), rel=0.01)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model-path=a/b", "--contxt-length=4"], "--contxt-length: is no flag of sglang"),
        (["--model-path=a/b", "--dtype=int3"], "--dtype"),
        (["--host=127.0.0.1"], "--model-path"),
    ],
)
def test_what_sglang_would_refuse(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_known(words)


def test_a_bad_command_line_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_sglang(["--model-path=a/b", "--contxt-length=4"], {}) == 2
    assert "no flag of sglang" in capsys.readouterr().err


async def test_routes_and_metrics() -> None:
    _, client = await served()
    try:
        for path in ("/health", "/health_generate", "/get_server_info"):
            assert (await client.get(path)).status == 200
        info = await (await client.get("/get_model_info")).json()
        assert info["model_path"] == "meta-llama/Llama-3.1-8B-Instruct"
        assert (await client.post("/v1/chat/completions", json=CHAT)).status == 200
        lines = (await (await client.get("/metrics")).text()).splitlines()
        labels = '{engine_type="unified",model_name="chat",pp_rank="0",tp_rank="0"}'
        assert f"sglang:num_queue_reqs{labels} 0.0" in lines
        assert f"sglang:generation_tokens_total{labels} 20.0" in lines
        assert f"sglang:num_requests_total{labels} 1.0" in lines
        assert not [line for line in lines if line.startswith("vllm:")]
    finally:
        await client.close()


async def test_while_it_drains_it_is_unhealthy_and_still_answers() -> None:
    server, client = await served(20.0)
    try:
        running = asyncio.ensure_future(client.post("/v1/chat/completions", json=CHAT))
        async with asyncio.timeout(5):
            while not server.in_flight:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.001)
        server.drain()
        assert (await client.get("/health")).status == 503
        assert (await client.post("/v1/chat/completions", json=CHAT)).status == 200
        assert (await running).status == 200
    finally:
        await client.close()
