"""The HTTP contract on a real socket, with an engine whose steps take 62 microseconds.

Not proven here: latencies (the core's tests have them) and vLLM's behaviour itself; its shapes are written down here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from local.engine_simulator.core import EngineCore
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.server import EngineServer
from tests.unit.engine_simulator.engine_doubles import blocks_in_use, make_settings

pytestmark = pytest.mark.unit

MESSAGES = [{"role": "user", "content": "hello"}]
DEADLINE_SECONDS = 5.0


class Engine:
    """A served engine and its client."""

    def __init__(self, *arguments: str, speedup: float = 1000.0, **environ: str) -> None:
        settings = make_settings("--served-model-name", "m", *arguments, speedup=speedup, **environ)
        self.core = EngineCore(settings.limits, settings.cost)
        self.server = EngineServer(settings, EngineDriver(self.core))
        self.client: TestClient[Any, Any] = TestClient(TestServer(self.server.application(), handler_cancellation=True))

    async def chat(self, **fields: Any) -> ClientResponse:
        return await self.client.post("/v1/chat/completions", json={"model": "m", "messages": MESSAGES, **fields})

    async def completion(self, **fields: Any) -> ClientResponse:
        return await self.client.post("/v1/completions", json={"model": "m", "prompt": "hello", **fields})

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, with a deadline."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():  # noqa: ASYNC110 - the engine has no event for each of these conditions
                await asyncio.sleep(0.001)


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Engine]]]:
    """Starts engines and stops them after the test."""
    engines: list[Engine] = []

    async def started(*arguments: str, **options: Any) -> Engine:
        engine = Engine(*arguments, **options)
        await engine.client.start_server()
        engines.append(engine)
        return engine

    yield started
    for engine in engines:
        await engine.client.close()


Start = Callable[..., Awaitable[Engine]]


def events(body: str) -> list[Any]:
    """Payloads of server-sent events, the last one checked to be the end mark."""
    assert body.endswith("data: [DONE]\n\n")
    return [json.loads(event.removeprefix("data: ")) for event in body.split("\n\n")[:-2]]


async def test_a_chat_completion(start: Start) -> None:
    engine = await start()
    response = await engine.chat(max_tokens=9)
    assert (response.status, response.headers["x-simulated"]) == (200, "true")
    body = await response.json()
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", "m")
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"] == "Simulated text: no models ran here. "
    assert choice["finish_reason"] == "length"
    assert body["usage"] == {
        "prompt_tokens": 8,
        "total_tokens": 17,
        "completion_tokens": 9,
        "prompt_tokens_details": None,
    }


async def test_a_chat_without_max_tokens_stops_by_itself(start: Start) -> None:
    engine = await start()
    body = await (await engine.chat()).json()
    assert (body["choices"][0]["finish_reason"], body["usage"]["completion_tokens"]) == ("stop", 128)


async def test_a_streamed_chat(start: Start) -> None:
    engine = await start()
    response = await engine.chat(max_tokens=3, stream=True, stream_options={"include_usage": True})
    assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-simulated"] == "true"
    role, *tokens, usage = events(await response.text())
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [token["choices"][0]["delta"]["content"] for token in tokens] == ["Simu", "late", "d te"]
    assert [token["choices"][0]["finish_reason"] for token in tokens] == [None, None, "length"]
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 11)
    assert len({event["id"] for event in (role, *tokens, usage)}) == 1


async def test_a_streamed_chat_that_stops_by_itself_ends_without_text(start: Start) -> None:
    engine = await start()
    *_, last = events(await (await engine.chat(stream=True)).text())
    assert last["choices"][0]["delta"] == {"content": ""}
    assert last["choices"][0]["finish_reason"] == "stop"


async def test_completions_streamed_and_not(start: Start) -> None:
    engine = await start()
    body = await (await engine.completion(prompt=[1, 2, 3], max_tokens=2)).json()
    assert (body["object"], body["choices"][0]["text"], body["usage"]["prompt_tokens"]) == (
        "text_completion",
        "Simulate",
        3,
    )
    streamed = events(await (await engine.completion(max_tokens=2, stream=True)).text())
    assert [event["choices"][0]["text"] for event in streamed] == ["Simu", "late"]
    assert streamed[0]["object"] == "text_completion"
    assert streamed[0]["usage"] is None


async def test_many_at_once_all_get_their_tokens(start: Start) -> None:
    engine = await start("--max-num-seqs", "8")
    bodies = await asyncio.gather(*[(await_text(engine.chat(max_tokens=20 + n, stream=True))) for n in range(40)])
    for n, body in enumerate(bodies):
        assert len(events(body)) == 21 + n
    assert blocks_in_use(engine.core) == 0
    assert (engine.server.in_flight, engine.server.idle.is_set()) == (0, True)


async def await_text(response: Awaitable[ClientResponse]) -> str:
    return await (await response).text()


async def test_http_1_0_clients_get_an_unframed_stream(start: Start) -> None:
    engine = await start()
    body = json.dumps({"model": "m", "messages": MESSAGES, "max_tokens": 4, "stream": True}).encode()
    reader, writer = await asyncio.open_connection(engine.client.host, engine.client.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    answer = (await reader.read()).decode()
    writer.close()
    head, _, text = answer.partition("\r\n\r\n")
    assert "chunked" not in head
    assert len(events(text)) == 5


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_cache(start: Start, stream: bool) -> None:
    engine = await start(speedup=1.0)
    body = json.dumps({"model": "m", "messages": MESSAGES, "max_tokens": 4000, "stream": stream}).encode()
    _, writer = await asyncio.open_connection(engine.client.host, engine.client.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await engine.until(lambda: len(engine.core.running) == 1)
    assert blocks_in_use(engine.core) == 1
    writer.close()
    await engine.until(lambda: engine.core.is_idle)
    await engine.until(lambda: engine.server.in_flight == 0)
    assert (blocks_in_use(engine.core), engine.core.stats.finished["abort"]) == (0, 1)


@pytest.mark.parametrize(
    ("fields", "status", "kind", "param"),
    [
        ({"model": "other"}, 404, "NotFoundError", "model"),
        ({"messages": [{"role": "user", "content": "x" * 20_000}]}, 400, "BadRequestError", "messages"),
        ({"max_tokens": -1}, 400, "BadRequestError", "max_tokens"),
    ],
)
async def test_errors_are_in_openai_s_format(
    start: Start, fields: dict[str, Any], status: int, kind: str, param: str
) -> None:
    engine = await start()
    response = await engine.chat(**fields)
    error = (await response.json())["error"]
    assert (response.status, response.headers["x-simulated"]) == (status, "true")
    assert (error["type"], error["param"], error["code"]) == (kind, param, status)


async def test_a_broken_body_is_a_bad_request(start: Start) -> None:
    engine = await start()
    response = await engine.client.post("/v1/completions", data=b'{"prompt": ')
    assert response.status == 400
    assert (await response.json())["error"]["message"].startswith("The body is not valid JSON: ")


async def test_keys_guard_v1_and_nothing_else(start: Start) -> None:
    engine = await start("--api-key", "one", "two")
    assert (await engine.chat()).status == 401
    assert (await engine.client.get("/v1/models", headers={"Authorization": "Bearer three"})).status == 401
    assert (await engine.client.get("/v1/models", headers={"Authorization": "Bearer two"})).status == 200
    assert (await engine.client.get("/health")).status == 200
    assert (await engine.client.get("/metrics")).status == 200


async def test_models_version_and_health(start: Start) -> None:
    engine = await start("--served-model-name", "a", "b")
    models = await (await engine.client.get("/v1/models")).json()
    assert [(card["id"], card["max_model_len"]) for card in models["data"]] == [("a", 4096), ("b", 4096)]
    assert await (await engine.client.get("/version")).json() == {"version": "0.32.0+simulator", "simulated": True}
    for path in ("/health", "/ping"):
        response = await engine.client.get(path)
        assert (response.status, await response.read()) == (200, b"")
    response = await engine.client.get("/nothing")
    assert (response.status, response.headers["x-simulated"]) == (404, "true")


async def test_metrics_count_what_was_served(start: Start) -> None:
    engine = await start()
    await (await engine.chat(max_tokens=5)).read()
    await (await engine.chat(max_tokens=5, stream=True)).read()
    response = await engine.client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    page = await response.text()
    assert 'vllm:generation_tokens_total{engine="0",model_name="m"} 10.0' in page
    assert 'vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 2.0' in page


async def test_cached_tokens_are_told_where_details_are_on(start: Start) -> None:
    engine = await start("--enable-prompt-tokens-details")
    prompt = list(range(64))
    for cached in (0, 48):
        body = await (await engine.completion(prompt=prompt, max_tokens=1)).json()
        assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": cached}


async def test_usage_can_be_forced(start: Start) -> None:
    engine = await start("--enable-force-include-usage")
    *_, last = events(await (await engine.chat(max_tokens=2, stream=True)).text())
    assert last["usage"]["completion_tokens"] == 2


async def test_sleep_holds_requests_until_the_wake(start: Start) -> None:
    engine = await start("--enable-sleep-mode", VLLM_SERVER_DEV_MODE="1")
    assert (await engine.client.post("/sleep", params={"level": "1"})).status == 200
    assert await (await engine.client.get("/is_sleeping")).json() == {"is_sleeping": True}
    assert 'sleep_state="weights_offloaded"} 1.0' in await (await engine.client.get("/metrics")).text()
    waiting = asyncio.ensure_future(engine.chat(max_tokens=2))
    await engine.until(lambda: len(engine.core.waiting) == 1)
    assert (await engine.client.post("/wake_up")).status == 200
    assert (await waiting).status == 200
    assert await (await engine.client.get("/is_sleeping")).json() == {"is_sleeping": False}


async def test_sleep_aborts_what_runs_or_waits_for_it(start: Start) -> None:
    engine = await start("--enable-sleep-mode", speedup=20.0, VLLM_SERVER_DEV_MODE="1")
    running = asyncio.ensure_future(engine.chat(max_tokens=4000))
    await engine.until(lambda: len(engine.core.running) == 1)
    await engine.client.post("/sleep")
    assert (await (await running).json())["choices"][0]["finish_reason"] == "abort"
    await engine.client.post("/wake_up")
    short = asyncio.ensure_future(engine.chat(max_tokens=20))
    await engine.until(lambda: len(engine.core.running) == 1)
    await engine.client.post("/sleep", params={"mode": "wait", "level": "2"})
    assert (await (await short).json())["choices"][0]["finish_reason"] == "length"
    assert engine.core.sleep_level == 2


@pytest.mark.parametrize("query", [{"level": "3"}, {"mode": "keep"}])
async def test_bad_sleep_requests(start: Start, query: dict[str, str]) -> None:
    engine = await start("--enable-sleep-mode", VLLM_SERVER_DEV_MODE="1")
    response = await engine.client.post("/sleep", params=query)
    assert (response.status, (await response.json())["error"]["param"]) == (400, next(iter(query)))


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [((), {"VLLM_SERVER_DEV_MODE": "1"}), (("--enable-sleep-mode",), {}), ((), {})],
)
async def test_sleep_is_off_unless_asked_for_twice(
    start: Start, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    engine = await start(*arguments, **environ)
    assert (await engine.client.post("/sleep")).status == 404


async def test_draining_refuses_new_requests_and_finishes_old_ones(start: Start) -> None:
    engine = await start(speedup=20.0)
    running = asyncio.ensure_future(engine.chat(max_tokens=20))
    await engine.until(lambda: len(engine.core.running) == 1)
    engine.server.drain()
    refused = await engine.chat()
    assert (refused.status, (await refused.json())["error"]["type"]) == (503, "ServiceUnavailableError")
    assert (await engine.client.get("/health")).status == 503
    assert (await (await running).json())["usage"]["completion_tokens"] == 20
    await asyncio.wait_for(engine.server.idle.wait(), DEADLINE_SECONDS)
