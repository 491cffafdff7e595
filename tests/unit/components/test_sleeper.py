"""The sleeper in front of an engine on a Unix socket: what it passes on, when it sleeps and wakes.

The engine is a double that records what it is asked, or the simulator. Does not prove that vLLM frees its memory, nor
that its image has this aiohttp.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from components.serving import sleeper as program
from local.engine_simulator.core import EngineCore
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.server import EngineServer
from tests.unit.engine_simulator.engine_doubles import make_settings

pytestmark = pytest.mark.unit

DEADLINE_SECONDS = 5.0
CHAT = "/v1/chat/completions"


async def eventually(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            met = condition()
            if met if isinstance(met, bool) else await met:
                return
            await asyncio.sleep(0.005)


class Double:
    """An engine that records requests, in order, and can be slow or broken.

    Attributes:
        seen: method and path with query, generations with their body.
        asleep: as `/is_sleeping` says.
        gate: what falling asleep and waking wait for.
        failing: paths that answer 500.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.asleep = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing: set[str] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path not in {"/health", "/is_sleeping"}:
            self.seen.append(f"{request.method} {request.path_qs}")
        if request.path in self.failing:
            return web.Response(status=500, text="out of memory")
        match request.path:
            case "/is_sleeping":
                return web.json_response({"is_sleeping": self.asleep})
            case "/sleep" | "/wake_up":
                await self.gate.wait()
                self.asleep = request.path == "/sleep"
            case "/metrics":
                return web.Response(text="vllm:num_requests_waiting 0\n")
            case "/v1/chat/completions":
                assert not self.asleep, "a request reached a sleeping engine"
                return await self._stream(request)
        return web.Response()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "x-own": "1"})
        await answer.prepare(request)
        await answer.write(b"data: one\n\n")
        await asyncio.sleep(0)
        await answer.write(b"data: " + await request.read() + b"\n\n")
        return answer

    def administration(self) -> list[str]:
        """What was asked of it that is not inference."""
        return [line for line in self.seen if "/v1/" not in line]


class Rig:
    """A sleeper and its engine."""

    def __init__(self, folder: Path, handler: Callable[[web.Request], Any] | web.Application, *words: str) -> None:
        self.folder, self.words = folder, words
        if isinstance(handler, web.Application):
            app = handler
        else:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", handler)
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)

    async def start_engine(self) -> None:
        await self.runner.setup()
        await web.UnixSite(self.runner, str(self.folder / "vllm.sock")).start()

    async def start(self) -> TestClient[Any, Any]:
        given = ["--socket", str(self.folder / "vllm.sock"), "--host", "127.0.0.1", "--port", "1", "--model", "chat"]
        app = await program.application(program.parse([*given, *self.words]))
        self.client: TestClient[Any, Any] = TestClient(TestServer(app, handler_cancellation=True))
        await self.client.start_server()
        return self.client

    async def state(self) -> str:
        return str((await (await self.client.get("/sleeper")).json())["state"])

    async def until(self, state: str) -> None:
        async def reached() -> bool:
            return await self.state() == state

        await eventually(reached)

    async def ask(self, text: str = "hello") -> ClientResponse:
        return await self.client.post(CHAT, data=text)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "STARTING_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(program, "WATCH_SECONDS", 0.005)


@pytest.fixture
async def rigs(tmp_path: Path) -> AsyncIterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(handler: Any, *words: str) -> Rig:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Rig(folder, handler, *words))
        return made[-1]

    yield make
    for rig in made:
        await rig.client.close()
        await rig.runner.cleanup()


async def asleep(rigs: Callable[..., Rig], *words: str) -> tuple[Rig, Double]:
    """A rig whose engine has just fallen asleep."""
    engine = Double()
    rig = rigs(engine.handle, "--after-seconds", "0.02", *words)
    await rig.start_engine()
    await rig.start()
    await rig.until("asleep")
    return rig, engine


async def test_an_idle_engine_is_put_to_sleep_after_its_requests_have_ended(rigs: Callable[..., Rig]) -> None:
    _, engine = await asleep(rigs)
    assert engine.seen == ["POST /sleep?level=1&mode=wait"]


async def test_a_request_wakes_it_waits_and_is_answered_whole(rigs: Callable[..., Rig]) -> None:
    rig, engine = await asleep(rigs)
    answer = await rig.ask("how are you?")
    assert answer.status == 200
    assert answer.headers["x-own"] == "1"
    assert await answer.text() == "data: one\n\ndata: how are you?\n\n"
    assert engine.seen[1:3] == ["POST /wake_up", f"POST {CHAT}"]


async def test_level_two_reads_the_weights_again_before_there_is_memory_to_schedule_on(
    rigs: Callable[..., Rig],
) -> None:
    rig, engine = await asleep(rigs, "--level", "2")
    assert (await rig.ask()).status == 200
    assert engine.seen[:6] == [
        "POST /sleep?level=2&mode=wait",
        "POST /wake_up?tags=weights",
        "POST /collective_rpc",
        "POST /wake_up?tags=kv_cache",
        "POST /reset_prefix_cache",
        f"POST {CHAT}",
    ]


async def test_requests_that_come_while_it_falls_asleep_or_wakes_share_one_wake(rigs: Callable[..., Rig]) -> None:
    engine = Double()
    engine.gate.clear()
    rig = rigs(engine.handle, "--after-seconds", "0.02")
    await rig.start_engine()
    await rig.start()
    await rig.until("falling-asleep")
    waiting = [asyncio.ensure_future(rig.ask(str(number))) for number in range(20)]
    held = 'sleeper_requests_held{model_name="chat"} 20'

    async def all_held() -> bool:
        return held in (await (await rig.client.get("/metrics")).text()).splitlines()

    await eventually(all_held)
    engine.gate.set()
    answers = await asyncio.gather(*waiting)
    assert [await answer.text() for answer in answers] == [f"data: one\n\ndata: {n}\n\n" for n in range(20)]
    assert engine.administration()[:2] == ["POST /sleep?level=1&mode=wait", "GET /metrics"]
    assert [line for line in engine.seen if "wake_up" in line] == ["POST /wake_up"]


async def test_a_client_that_leaves_does_not_stop_the_wake(rigs: Callable[..., Rig]) -> None:
    rig, engine = await asleep(rigs)
    engine.gate.clear()
    leaving = asyncio.ensure_future(rig.ask())
    await rig.until("waking")
    leaving.cancel()
    staying = asyncio.ensure_future(rig.ask("still here"))
    await asyncio.sleep(0)
    engine.gate.set()
    assert (await staying).status == 200
    assert engine.seen.count("POST /wake_up") == 1


async def test_a_wake_that_fails_is_a_503_and_the_next_request_tries_again(rigs: Callable[..., Rig]) -> None:
    rig, engine = await asleep(rigs)
    engine.failing = {"/wake_up"}
    failed = await rig.ask()
    assert failed.status == 503
    assert "out of memory" in (await failed.json())["error"]["message"]
    engine.failing = set()
    assert (await rig.ask()).status == 200


async def test_an_engine_that_cannot_sleep_serves_on(rigs: Callable[..., Rig]) -> None:
    engine = Double()
    engine.failing = {"/sleep"}
    rig = rigs(engine.handle, "--after-seconds", "0.02")
    await rig.start_engine()
    await rig.start()
    await eventually(lambda: len(engine.seen) >= 2)  # tried, and tried again
    assert (await rig.ask()).status == 200


async def test_an_engine_that_was_restarted_in_its_sleep_is_put_to_sleep_again(rigs: Callable[..., Rig]) -> None:
    rig, engine = await asleep(rigs)
    engine.asleep = False
    await eventually(lambda: engine.seen.count("POST /sleep?level=1&mode=wait") >= 2)
    await rig.until("asleep")


async def test_before_the_engine_listens_requests_are_503_and_nothing_is_put_to_sleep(rigs: Callable[..., Rig]) -> None:
    engine = Double()
    rig = rigs(engine.handle, "--after-seconds", "0.02")
    client = await rig.start()
    assert (await client.get("/health")).status == 503
    assert (await rig.ask()).status == 503
    assert "sleeper_requests_held" in await (await client.get("/metrics")).text()
    await rig.start_engine()
    await rig.until("asleep")


@pytest.mark.parametrize("path", ["/health", "/metrics", "/v1/models", "/version", "/more"])
async def test_reading_does_not_wake(rigs: Callable[..., Rig], path: str) -> None:
    rig, engine = await asleep(rigs, "--read", "/more")
    assert (await rig.client.get(path)).status == 200
    assert await rig.state() == "asleep"
    assert not [line for line in engine.seen if "wake_up" in line]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sleep"),
        ("POST", "/wake_up"),
        ("GET", "/is_sleeping"),
        ("POST", "/collective_rpc"),
        ("POST", "/reset_prefix_cache"),
        ("POST", "/release_kv_cache_memory"),
        ("GET", "/server_info"),
        ("POST", "/v1/../sleep"),
        ("POST", "/v1/%2e%2e/sleep"),
        ("POST", "/v1/./../sleep?level=2"),
        ("POST", "//sleep"),
        ("POST", "/v1//../wake_up"),
        ("DELETE", "/v1/models"),
    ],
)
async def test_administration_is_not_passed_on(rigs: Callable[..., Rig], method: str, path: str) -> None:
    rig, engine = await asleep(rigs)
    before = list(engine.seen)
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.client.server.port)
    # By hand: a client would tidy the path up.
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    status = (await reader.readline()).split()[1]
    writer.close()
    assert status == b"404"
    assert engine.seen == before
    assert await rig.state() == "asleep"


async def test_its_figures_stand_below_the_engines(rigs: Callable[..., Rig]) -> None:
    rig, _ = await asleep(rigs)
    await (await rig.ask()).text()
    answer = await rig.client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    lines = (await answer.text()).splitlines()
    assert lines[0] == "vllm:num_requests_waiting 0"
    assert 'sleeper_wakes_total{model_name="chat"} 1' in lines
    assert answer.content_type == "text/plain"


async def test_with_the_simulator_it_sleeps_at_level_two_and_answers(rigs: Callable[..., Rig]) -> None:
    settings = make_settings("--served-model-name=m", "--enable-sleep-mode", speedup=1e4, VLLM_SERVER_DEV_MODE="1")
    driver = EngineDriver(EngineCore(settings.limits, settings.cost))
    rig = rigs(EngineServer(settings, driver).application(), "--after-seconds", "0.02", "--level", "2")
    await rig.start_engine()
    client = await rig.start()
    await rig.until("asleep")
    assert 'sleep_state="discard_all"} 1.0' in await (await client.get("/metrics")).text()
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 3}
    answer = await client.post(CHAT, json=body)
    assert (answer.status, (await answer.json())["usage"]["completion_tokens"]) == (200, 3)


async def test_it_runs_as_a_program_of_its_own(tmp_path: Path) -> None:
    """As the pod runs it: isolated from any package of ours, its socket named relative to its folder."""
    words = ["--socket=vllm.sock", "--host=127.0.0.1", "--port=1", "--model=chat", "--after-seconds=1", "--help"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", program.__file__, *words, cwd=tmp_path, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    assert process.returncode == 0
    assert b"idle for so long" in output
