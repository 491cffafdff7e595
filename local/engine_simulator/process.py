"""The life of an engine process: bind, load (a delay), serve, drain, exit."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from contextlib import suppress
from pathlib import Path

import uvloop
from aiohttp import web

from local.engine_simulator.core import EngineCore
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.environment import process_age_seconds
from local.engine_simulator.server import EngineServer
from local.engine_simulator.settings import EngineSettings, StartError

log = logging.getLogger("engine_simulator")

_BACKLOG = 2048  # uvicorn's default, which vLLM uses


def run(settings: EngineSettings, front: type[EngineServer] = EngineServer) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: of the engine.
        front: whose routes and metrics it shows.

    Raises:
        StartError: the address cannot be bound.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, front))


async def _serve(settings: EngineSettings, front: type[EngineServer]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    arguments = settings.arguments
    listener = _bind_socket(arguments.uds) if arguments.uds else _bind(arguments.host, arguments.port)
    _announce(settings, front.stands_in_for)
    driver = EngineDriver(EngineCore(settings.limits, settings.cost))
    server = front(settings, driver)
    # shutdown_timeout: what is still in flight after the drain is cut off, as a killed engine would.
    runner = web.AppRunner(server.application(), handler_cancellation=True, access_log=None, shutdown_timeout=0.001)
    await runner.setup()
    # Everything up to here lives as long as the process: collections need not look at it, now or later.
    gc.freeze()
    gc.enable()
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), settings.simulation.startup_seconds - process_age_seconds())
    if not stop.is_set():
        channel = await server.transfers.listen() if server.transfers is not None else None
        await web.SockSite(runner, listener, backlog=_BACKLOG).start()
        where = arguments.uds or "{}:{}".format(*listener.getsockname()[:2])
        log.info("Application startup complete, listening on %s", where)
        await stop.wait()
        await _drain(server, stop, settings.arguments.shutdown_timeout)
        if channel is not None:
            channel.close()
    await runner.cleanup()
    listener.close()


async def _drain(server: EngineServer, stop: asyncio.Event, timeout_seconds: float) -> None:
    server.drain()
    log.info("Shutting down: %d requests in flight, draining for at most %g s", server.in_flight, timeout_seconds)
    stop.clear()  # a second signal ends the drain
    idle, signalled = asyncio.ensure_future(server.idle.wait()), asyncio.ensure_future(stop.wait())
    if timeout_seconds:
        await asyncio.wait((idle, signalled), timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    for waiter in (idle, signalled):
        waiter.cancel()
    if server.in_flight:
        log.warning("Aborting %d requests", server.in_flight)


def _bind(host: str | None, port: int) -> socket.socket:
    """Bind, so that a busy port fails before the model loads; connections are refused until listening."""
    address = (host or "", port)
    listener = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {host or '*'}:{port}: {error.strerror or error}") from None
    return listener


def _bind_socket(path: str) -> socket.socket:
    """Bind a Unix socket, in the place of one that an earlier process left."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    here = Path.cwd()
    try:
        # From its folder: the whole path may be longer than the 107 bytes that a socket's name has.
        os.chdir(Path(path).parent)
        name = Path(path).name
        Path(name).unlink(missing_ok=True)
        listener.bind(name)
    except OSError as error:
        listener.close()
        raise StartError(f"cannot listen on {path}: {error.strerror or error}") from None
    finally:
        os.chdir(here)
    return listener


def _announce(settings: EngineSettings, stands_in_for: str) -> None:
    arguments, limits, simulation = settings.arguments, settings.limits, settings.simulation
    log.info(
        "SIMULATOR: stands in for %s; no GPU, no weights, synthetic text. %s on %d x %s, speed-up %g, start-up %g s",
        *(stands_in_for, arguments.model, arguments.tensor_parallel_size, settings.gpu.name),
        *(simulation.speedup, simulation.startup_seconds),
    )
    log.info("GPU KV cache size: %s tokens", f"{settings.kv_cache_tokens:,}")
    log.info(
        "Maximum concurrency for %s tokens per request: %.2fx",
        f"{limits.max_model_len:,}",
        settings.kv_cache_tokens / limits.max_model_len,
    )
    cost = settings.cost
    log.info(
        "A step takes %.2f ms + %.3f us per token of context + %.1f us per token of prefill",
        *(cost.base * 1e3, cost.per_context_token * 1e6, cost.per_prefill_token * 1e6),
    )
    if arguments.ignored:
        log.info("Ignored, not simulated: %s", " ".join(arguments.ignored))
