"""Puts an idle vLLM engine to sleep, and wakes it before the next request reaches it.

Runs beside the engine in its pod, from a ConfigMap, by the Python of the engine's own image: standard library and
aiohttp (which vLLM depends on), no imports of ours. The engine listens on a Unix socket in a volume of the pod and on
no port: this process is the only way to it, and passes on what is listed and nothing else. /sleep, /wake_up and
/collective_rpc are on no network.

A request that comes while the engine sleeps, or while it falls asleep, waits here until it is awake. A wake-up that
fails answers 503, which routers try again elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import enum
import logging
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

log = logging.getLogger("sleeper")

OWN_PATH = "/sleeper"
READS = frozenset({"/health", "/ping", "/version", "/metrics", "/v1/models"})
"""What is read of an engine, asleep or awake, without waking it."""

WAKING = ("/v1/", "/tokenize", "/detokenize")
"""What needs the engine: POST to these paths, the first with all that is below it."""

PER_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
        *("transfer-encoding", "upgrade", "host"),
    }
)
LARGEST_BODY_BYTES = 64 * 1024 * 1024
STARTING_PAUSE_SECONDS = 0.5
WATCH_SECONDS = 5.0
"""How often a sleeping engine is asked whether it is the one that was put to sleep: one that crashed is awake again."""

KEEP_ALIVE_SECONDS = 3600
"""Longer than any router keeps a connection: the router closes it, so none breaks under a request."""


class State(enum.Enum):
    """Of the engine, as far as this process has brought it there."""

    STARTING = "starting"
    AWAKE = "awake"
    FALLING_ASLEEP = "falling-asleep"
    ASLEEP = "asleep"
    WAKING = "waking"


class EngineError(Exception):
    """The engine did not do what it was asked for."""


@dataclass
class Counters:
    """What has happened since the start; seconds are sums."""

    sleeps: int = 0
    sleep_seconds: float = 0.0
    wakes: int = 0
    wake_seconds: float = 0.0
    held: int = 0


class Engine:
    """The engine behind its socket, and its administration."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def healthy(self) -> bool:
        """Whether it has loaded."""
        try:
            async with self.session.get("http://engine/health") as answer:
                return answer.status == web.HTTPOk.status_code
        except aiohttp.ClientError:
            return False

    async def is_sleeping(self) -> bool:
        """What it says itself."""
        async with self.session.get("http://engine/is_sleeping") as answer:
            return bool((await answer.json())["is_sleeping"])

    async def sleep(self, level: int) -> None:
        """Put it to sleep; requests that run are finished first."""
        await self._post("/sleep", params={"level": str(level), "mode": "wait"})

    async def wake(self, level: int) -> None:
        """Wake it. After level 2 the weights are read again before anything can be scheduled on their memory."""
        if level == 1:
            await self._post("/wake_up")
            return
        await self._post("/wake_up", params={"tags": "weights"})
        await self._post("/collective_rpc", json={"method": "reload_weights"})
        await self._post("/wake_up", params={"tags": "kv_cache"})
        await self._post("/reset_prefix_cache")

    async def _post(self, path: str, **options: Any) -> None:  # noqa: ANN401 - aiohttp's
        try:
            async with self.session.post(f"http://engine{path}", **options) as answer:
                if answer.status != web.HTTPOk.status_code:
                    raise EngineError(f"{path}: {answer.status} {(await answer.text())[:200]}")
        except aiohttp.ClientError as error:
            raise EngineError(f"{path}: {error!r}") from error


class Sleeper:
    """Counts requests and moves the engine between awake and asleep; one move at a time.

    Attributes:
        state: of the engine.
        counters: for metrics.
        in_flight: requests that need the engine and have no whole answer yet.
    """

    def __init__(self, engine: Engine, level: int, after_seconds: float) -> None:
        self._engine, self._level, self._after = engine, level, after_seconds
        self._move: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._idle_since = time.monotonic()
        self.state = State.STARTING
        self.counters = Counters()
        self.in_flight = 0

    def begin(self) -> None:
        """A request has come."""
        self.in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        """It has its answer."""
        self.in_flight -= 1
        if not self.in_flight:
            self._idle_since = time.monotonic()
            self._idle.set()

    async def awake(self) -> None:
        """Return when the engine is awake; wakes it if need be.

        Raises:
            EngineError: it could not be woken.
        """
        self.counters.held += 1
        try:
            while self.state in {State.ASLEEP, State.FALLING_ASLEEP, State.WAKING}:
                # A client that goes away must not stop what others wait for.
                await asyncio.shield(self._move or self._start(self._wake()))
        finally:
            self.counters.held -= 1

    async def watch(self) -> None:
        """Put the engine to sleep whenever it has been idle for long enough; never returns."""
        while True:
            if self.state is State.STARTING:
                await self._await_start()
            elif self.state is State.ASLEEP:
                await asyncio.sleep(WATCH_SECONDS)
                await self._check()
            else:
                await self._idle.wait()
                left = self._idle_since + self._after - time.monotonic()
                if left > 0 or self.in_flight or self.state is not State.AWAKE:
                    await asyncio.sleep(max(left, 0.1))
                else:
                    await asyncio.wait([self._move or self._start(self._fall_asleep())])

    async def _await_start(self) -> None:
        while not await self._engine.healthy():  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(STARTING_PAUSE_SECONDS)
        self._idle_since = time.monotonic()
        self.state = State.AWAKE

    async def _check(self) -> None:
        """A sleeping engine that has been restarted is awake, and holds memory that others count on."""
        try:
            asleep = await self._engine.is_sleeping()
        except (aiohttp.ClientError, KeyError, ValueError):
            asleep = False
        if not asleep and self.state is State.ASLEEP:
            log.warning("the engine was started anew while it slept")
            self.state = State.STARTING

    def _start(self, move: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        self._move = asyncio.create_task(move)
        self._move.add_done_callback(self._moved)
        return self._move

    def _moved(self, move: asyncio.Task[None]) -> None:
        self._move = None
        if not move.cancelled():
            move.exception()  # whoever waited has it; nobody may have

    async def _fall_asleep(self) -> None:
        self.state, begun = State.FALLING_ASLEEP, time.monotonic()
        try:
            await self._engine.sleep(self._level)
        except EngineError as error:
            log.warning("cannot put the engine to sleep: %s", error)
            self.state = State.STARTING
            return
        seconds = time.monotonic() - begun
        self.state = State.ASLEEP
        self.counters.sleeps += 1
        self.counters.sleep_seconds += seconds
        log.info("asleep at level %d after %.2f s", self._level, seconds)

    async def _wake(self) -> None:
        self.state, begun = State.WAKING, time.monotonic()
        try:
            await self._engine.wake(self._level)
        except EngineError as error:
            log.warning("cannot wake the engine: %s", error)
            self.state = State.ASLEEP
            raise
        seconds = time.monotonic() - begun
        self.state = State.AWAKE
        self.counters.wakes += 1
        self.counters.wake_seconds += seconds
        log.info("awake after %.3f s, %d requests waited", seconds, self.counters.held)


class Front:
    """The port of the pod."""

    def __init__(self, session: aiohttp.ClientSession, sleeper: Sleeper, model: str, reads: frozenset[str]) -> None:
        self._session, self._sleeper, self._model, self._reads = session, sleeper, model, reads

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request: its own page, a read, or a request that needs the engine."""
        path = request.path
        if path == OWN_PATH:
            return web.json_response({"state": self._sleeper.state.value, "in_flight": self._sleeper.in_flight})
        if request.method in {"GET", "HEAD"} and path in self._reads:
            return await (self._metrics() if path == "/metrics" else self._pass(request))
        if request.method != "POST" or not needs_engine(path):
            return _error(404, f"{request.method} {path[:100]} is not passed on.", "not_found")
        self._sleeper.begin()
        try:
            await request.read()
            await self._sleeper.awake()
            return await self._pass(request)
        except EngineError as error:
            return _error(503, f"The engine could not be woken: {error}", "engine_asleep")
        finally:
            self._sleeper.end()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        """Hand a request to the engine, and its answer back piece by piece."""
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in PER_HOP]
        url = URL(f"http://engine{request.rel_url.raw_path_qs}", encoded=True)
        try:
            upstream = await self._session.request(request.method, url, headers=headers, data=await request.read())
        except aiohttp.ClientError as error:
            return _error(503, f"The engine does not answer: {error!r}", "engine_unreachable")
        async with upstream:
            answer = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            for name, value in upstream.headers.items():
                if name.lower() not in PER_HOP:
                    answer.headers.add(name, value)
            await answer.prepare(request)
            async for piece in upstream.content.iter_any():
                await answer.write(piece)
            await answer.write_eof()
            return answer

    async def _metrics(self) -> web.Response:
        """The engine's metrics with ours below them; as plain text, which has no end mark."""
        theirs = b""
        status = 200
        try:
            headers = {"Accept": "text/plain", "Accept-Encoding": "identity"}
            async with self._session.get("http://engine/metrics", headers=headers) as answer:
                theirs, status = await answer.read(), answer.status
        except aiohttp.ClientError:
            # While the engine loads there is nothing but our own.
            theirs = b""
        return web.Response(body=theirs + self._own_metrics().encode(), status=status, content_type="text/plain")

    def _own_metrics(self) -> str:
        counters, label = self._sleeper.counters, f'{{model_name="{self._model}"}}'
        rows = (
            ("sleeper_requests_in_flight", "gauge", "Requests that need the engine.", self._sleeper.in_flight),
            ("sleeper_requests_held", "gauge", "Requests that wait for it to wake.", counters.held),
            ("sleeper_sleeps_total", "counter", "Times that it was put to sleep.", counters.sleeps),
            ("sleeper_sleep_seconds_total", "counter", "Time that it took.", counters.sleep_seconds),
            ("sleeper_wakes_total", "counter", "Times that it was woken.", counters.wakes),
            ("sleeper_wake_seconds_total", "counter", "Time that it took.", counters.wake_seconds),
        )
        return "".join(
            f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name}{label} {value}\n" for name, kind, text, value in rows
        )


def needs_engine(path: str) -> bool:
    """Whether a POST to this decoded path is for the engine; never with a way upwards in it."""
    below, *exact = WAKING
    return path in exact or (path.startswith(below) and not {"", ".", ".."} & set(path.split("/")[1:]))


def _error(status: int, message: str, code: str) -> web.Response:
    kind = "server_error" if status >= web.HTTPInternalServerError.status_code else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return web.json_response(body, status=status)


async def application(options: argparse.Namespace) -> web.Application:
    """The server, with its engine and its clock."""
    # A new connection for each request: one that the engine closes meanwhile cannot be picked again.
    connector = aiohttp.UnixConnector(path=options.socket, limit=0, force_close=True)
    no_limit = aiohttp.ClientTimeout(total=None, connect=5)
    session = aiohttp.ClientSession(connector=connector, timeout=no_limit, auto_decompress=False)
    sleeper = Sleeper(Engine(session), options.level, options.after_seconds)
    front = Front(session, sleeper, options.model, READS | set(options.read))
    app = web.Application(client_max_size=LARGEST_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", front.handle)
    tasks: list[asyncio.Task[None]] = []

    async def started(_: web.Application) -> None:
        tasks.append(asyncio.create_task(sleeper.watch()))

    async def stopped(_: web.Application) -> None:
        for task in tasks:
            task.cancel()
        await session.close()

    app.on_startup.append(started)
    app.on_cleanup.append(stopped)
    return app


def parse(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sleeper", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--socket", required=True, help="of the engine; relative to the working directory")
    parser.add_argument("--host", required=True, help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True, help="label of the metrics")
    parser.add_argument("--level", type=int, choices=(1, 2), default=1, help="of the sleep")
    parser.add_argument("--after-seconds", type=float, required=True, help="idle for so long: put to sleep")
    parser.add_argument("--read", action="append", default=[], help="a further path that is read without waking")
    parser.add_argument("--drain-seconds", type=float, default=5.0, help="for requests in flight after SIGTERM")
    return parser.parse_args(words)


def main(words: list[str]) -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s sleeper: %(message)s", stream=sys.stdout)
    options = parse(words)
    web.run_app(
        application(options),
        host=options.host,
        port=options.port,
        print=None,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        shutdown_timeout=options.drain_seconds,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
