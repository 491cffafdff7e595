"""vLLM's sleep mode, simulated: what is in memory, how long moving it takes (`planner/sleep.py`, over the speed-up).

The routes and their rules are those of vLLM 0.32 (entrypoints/serve/dev/sleep, v1/engine/core.py): a wake with tags
brings a part back and schedules nothing until all is back; after level 2 the weights are undefined until
`reload_weights`. vLLM then answers with nonsense; the simulator says so with status 500.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web

from local.engine_simulator import memory
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.facts import DTYPE_BYTES
from local.engine_simulator.protocol import ApiError
from local.engine_simulator.settings import EngineSettings
from planner.sleep import PUBLISHED_KEPT_GIB, SleepEstimate, estimate_sleep

WEIGHTS, KV_CACHE = "weights", "kv_cache"
TAGS = frozenset({WEIGHTS, KV_CACHE})


def sleep_estimate(settings: EngineSettings, level: int) -> SleepEstimate:
    """What a sleep of this engine frees and takes; seconds are divided by the speed-up."""
    arguments, model = settings.arguments, settings.model
    quantization = arguments.quantization or model.quantization
    dtype_bytes = DTYPE_BYTES.get(arguments.dtype, model.dtype_bytes)
    weights = memory.weight_bytes(model, quantization, dtype_bytes) / memory.GIB
    used = settings.gpu.memory_gib * arguments.gpu_memory_utilization
    found = estimate_sleep(level, weights, used, arguments.tensor_parallel_size)
    speedup = settings.simulation.speedup
    return SleepEstimate(
        found.freed_gib, found.kept_gib, found.host_gib, found.sleep_seconds / speedup, found.wake_seconds / speedup
    )


class SleepMode:
    """The sleep of one engine.

    Attributes:
        used_gib: memory of each GPU that the engine takes now.
        stale: the weights in memory are undefined.
    """

    def __init__(self, settings: EngineSettings, driver: EngineDriver, idle: asyncio.Event) -> None:
        self._settings, self._driver, self._idle = settings, driver, idle
        self._awake_gib = settings.gpu.memory_gib * settings.arguments.gpu_memory_utilization
        self._asleep: set[str] = set()
        self._level = 0
        self.used_gib = self._awake_gib
        self.stale = False

    async def sleep(self, request: web.Request) -> web.Response:
        """``POST /sleep?level=&mode=``."""
        level, mode = request.query.get("level", "1"), request.query.get("mode", "abort")
        if level not in {"0", "1", "2"}:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"level must be 0, 1 or 2, got {level!r}.", param="level")
        if mode not in {"abort", "wait"}:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"mode must be abort or wait, got {mode!r}.", param="mode")
        if mode == "wait":
            await self._idle.wait()
        else:
            self._driver.core.abort_all()
        self._driver.core.sleep(int(level))
        if level != "0" and not self._asleep:
            await self._drop(int(level))
        return web.json_response({"status": "sleeping", "level": int(level)})

    async def _drop(self, level: int) -> None:
        found = sleep_estimate(self._settings, level)
        # Paused until it is done: vLLM's own series say that it sleeps when it does.
        self._driver.core.sleep_level = 0
        await asyncio.sleep(found.sleep_seconds)
        self._driver.core.sleep_level = level
        self._asleep, self._level = set(TAGS), level
        self.stale = level > 1
        self.used_gib = found.kept_gib

    async def wake_up(self, request: web.Request) -> web.Response:
        """``POST /wake_up?tags=``; without tags all."""
        tags = request.query.getall("tags", [])
        if set(tags) <= self._asleep and self._asleep:
            back = set(tags) or set(self._asleep)
            found = sleep_estimate(self._settings, self._level)
            # At level 2 the memory is back at once, and what was in it is not.
            await asyncio.sleep(found.wake_seconds if self._level == 1 and WEIGHTS in back else 0.0)
            self._asleep -= back
            self.used_gib = self._awake_gib if not self._asleep else self._partly()
        awake = not self._asleep
        if awake:
            self._driver.core.wake()
            self._driver.resume()
        return web.json_response({"status": "awake" if awake else "sleeping", "tags": tags or None})

    def _partly(self) -> float:
        """With the weights back and no KV cache, or the other way round."""
        settings = self._settings
        model, arguments = settings.model, settings.arguments
        cache = settings.limits.num_blocks * settings.limits.block_size
        element = 1.0 if arguments.kv_cache_dtype.startswith("fp8") else model.dtype_bytes
        each = memory.kv_bytes_per_token_and_gpu(model, arguments.tensor_parallel_size, element)
        cache_gib = cache * each / memory.GIB
        return self._awake_gib - cache_gib if KV_CACHE in self._asleep else PUBLISHED_KEPT_GIB + cache_gib

    async def is_sleeping(self, request: web.Request) -> web.Response:
        """``GET /is_sleeping``."""
        del request
        return web.json_response({"is_sleeping": bool(self._asleep) or self._driver.core.sleep_level is not None})

    async def collective_rpc(self, request: web.Request) -> web.Response:
        """``POST /collective_rpc``; `reload_weights` is all that is simulated."""
        method = (await request.json()).get("method")
        if method != "reload_weights":
            raise ApiError(HTTPStatus.BAD_REQUEST, f"{method!r} is not simulated; reload_weights is.", param="method")
        if WEIGHTS in self._asleep:
            raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "The weights' memory is asleep: wake it first.")
        await asyncio.sleep(sleep_estimate(self._settings, 2).wake_seconds)
        self.stale = False
        return web.json_response({"results": [None] * self._settings.arguments.tensor_parallel_size})

    def check(self) -> None:
        """Before a generation.

        Raises:
            ApiError: the weights are undefined.
        """
        if self.stale and not self._asleep:
            message = "The weights were dropped by a sleep of level 2 and not reloaded: vLLM would answer nonsense."
            raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, message)
