"""The HTTP face of one simulated engine: vLLM's routes on aiohttp."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import HttpVersion11, web

from local.engine_simulator import responses
from local.engine_simulator.adapters import Adapters
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.metrics import CONTENT_TYPE, MetricsPage
from local.engine_simulator.nixl import TransferError, Transfers, has_remote_prefill, wants_remote_decode
from local.engine_simulator.prompts import block_hashes
from local.engine_simulator.protocol import ApiError, GenerationRequest, parse_generation
from local.engine_simulator.sequence import EngineSequence
from local.engine_simulator.settings import EngineSettings
from local.engine_simulator.simulated_dcgm import PATH as SIMULATED_DCGM_PATH
from local.engine_simulator.simulated_dcgm import SimulatedGpuPage
from local.engine_simulator.sleep import SleepMode

log = logging.getLogger("engine_simulator")

VLLM_VERSION = "0.32.0"
_STREAM_HEADERS = {"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
# Larger than any prompt of token ids that fits a model's context.
_MAX_BODY_BYTES = 64 * 1024 * 1024


class Page(Protocol):
    """A page of metrics."""

    def render(self) -> bytes:
        """Its text."""
        ...


class EngineServer:
    """Routes and their state. Create it inside a running event loop.

    Attributes:
        in_flight: generation requests that are not answered to the end.
        idle: set while ``in_flight`` is 0.
        takes_requests_while_draining: new ones are answered, not refused.
        stands_in_for: image and version.
    """

    stands_in_for = f"vllm/vllm-openai v{VLLM_VERSION}"
    takes_requests_while_draining = False

    def __init__(self, settings: EngineSettings, driver: EngineDriver) -> None:
        self._settings = settings
        self._driver = driver
        self._metrics: Page = MetricsPage(settings, driver.core)
        self._created = int(time.time())
        self._keys = [key.encode() for key in settings.api_keys]
        self._draining = False
        self._adapters = Adapters(settings.arguments.lora_modules, settings.arguments.served_model_names)
        self.transfers = (
            None
            if settings.transfer is None
            else Transfers(settings.transfer, settings.kv_bytes_per_token, settings.simulation.speedup)
        )
        self.in_flight = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._sleep = SleepMode(settings, driver, self.idle)
        self._gpus = SimulatedGpuPage(settings, driver, self._sleep)

    def application(self) -> web.Application:
        """The application; run it with ``handler_cancellation=True``, or a lost client keeps its KV cache."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._guarded(self._chat))
        app.router.add_post("/v1/completions", self._guarded(self._completion))
        app.router.add_get("/v1/models", self._guarded(self._models))
        app.router.add_get("/health", self._health)
        app.router.add_route("*", "/ping", self._health)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics_page)
        app.router.add_get(SIMULATED_DCGM_PATH, self._gpu_page)
        if self._settings.lora_updates:
            app.router.add_post("/v1/load_lora_adapter", self._guarded(self._load_adapter))
            app.router.add_post("/v1/unload_lora_adapter", self._guarded(self._unload_adapter))
        if self._settings.dev_mode:
            app.router.add_post("/reset_prefix_cache", self._guarded(self._reset_prefix_cache))
        if self._settings.dev_mode and self._settings.arguments.enable_sleep_mode:
            app.router.add_post("/sleep", self._guarded(self._sleep.sleep))
            app.router.add_post("/wake_up", self._guarded(self._sleep.wake_up))
            app.router.add_get("/is_sleeping", self._guarded(self._sleep.is_sleeping))
            app.router.add_post("/collective_rpc", self._guarded(self._sleep.collective_rpc))
        app.on_response_prepare.append(_mark_simulated)
        return app

    def drain(self) -> None:
        """From now on new requests and health checks are answered 503; those in flight go on."""
        self._draining = True

    def _guarded(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                if self._keys and request.path.startswith("/v1"):
                    self._check_key(request)
                return await handler(request)
            except ApiError as error:
                return web.Response(body=error.body(), status=error.status.value, content_type="application/json")

        return guarded

    def _check_key(self, request: web.Request) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token.strip().encode()
        if scheme.lower() != "bearer" or not any(hmac.compare_digest(given, key) for key in self._keys):
            raise ApiError(HTTPStatus.UNAUTHORIZED, "Unauthorized")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, is_chat=True)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, is_chat=False)

    async def _generate(self, request: web.Request, *, is_chat: bool) -> web.StreamResponse:
        if self._draining and not self.takes_requests_while_draining:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "The server is shutting down.")
        self._sleep.check()
        self.in_flight += 1
        self.idle.clear()
        try:
            body = await self._read(request)
            limits = self._settings.limits
            generation = parse_generation(
                body,
                is_chat=is_chat,
                models=self._adapters.names,
                max_model_len=limits.max_model_len,
            )
            name = request.headers.get("X-Request-Id") or os.urandom(16).hex()
            request_id = f"{'chatcmpl' if is_chat else 'cmpl'}-{name}"
            if generation.stream:
                return await self._stream(request, generation, request_id)
            return await self._answer(generation, request_id)
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    @staticmethod
    async def _read(request: web.Request) -> bytes:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"The body exceeds {_MAX_BODY_BYTES} bytes.") from None

    async def _answer(self, generation: GenerationRequest, request_id: str) -> web.Response:
        created = int(time.time())
        sequence = await self._run(await self._arrived(generation))
        counts = self._usage(generation, sequence)
        reason, place = sequence.finish_reason or "abort", self._offer(generation, request_id)
        body = responses.completed(generation, request_id, created, reason, counts, place)
        return web.Response(body=body, content_type="application/json")

    async def _stream(self, request: web.Request, generation: GenerationRequest, request_id: str) -> web.StreamResponse:
        sequence = await self._arrived(generation)
        response = web.StreamResponse(headers=_STREAM_HEADERS)
        await response.prepare(request)
        await response.write(b"")  # the head goes out now, as from uvicorn, not with the first token
        framed = request.version >= HttpVersion11
        stream = responses.StreamFormat(generation, request_id, int(time.time()), framed=framed)
        transport = request.transport
        if transport is not None:
            # Past aiohttp's writer: a coroutine per token would cost more than all the rest of the token.
            write, token, is_closing = transport.write, stream.token, transport.is_closing

            def send(generated: int) -> None:
                # A connection that was reset is closed before this request is told, and uvloop then refuses to write.
                if not is_closing():
                    write(token(generated))

            sequence.on_token = send
        await self._run(sequence)
        with_usage = generation.include_usage or self._settings.arguments.enable_force_include_usage
        counts = self._usage(generation, sequence) if with_usage else None
        ending = stream.ending(sequence.generated, sequence.finish_reason or "abort", counts)
        with contextlib.suppress(ConnectionResetError):  # the client may leave in this very moment
            await response.write_eof(ending)
        return response

    async def _run(self, sequence: EngineSequence) -> EngineSequence:
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def finish(_: EngineSequence) -> None:
            if not finished.done():
                finished.set_result(None)

        sequence.on_finish = finish
        self._driver.submit(sequence)
        try:
            await finished
        finally:
            self._driver.abort(sequence)  # no effect unless the client went away
        return sequence

    async def _arrived(self, generation: GenerationRequest) -> EngineSequence:
        """The sequence, once the keys and values of a prompt that another engine computed are here."""
        sequence, params = self._sequence(generation), generation.kv_transfer
        if self.transfers is None or params is None or not has_remote_prefill(params):
            return sequence
        begun = time.monotonic()
        # The last token is computed here in any case: its logits are what the first output token comes from.
        remote = generation.prompt_tokens - 1
        try:
            await self.transfers.fetch(params, remote)
        except TransferError as error:
            if not self.transfers.settings.recompute:
                raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, f"KV load failed: {error}") from None
            log.warning("KV load failed, the prompt is computed here: %s", error)
        else:
            sequence.remote = remote
        sequence.waited = time.monotonic() - begun
        return sequence

    def _offer(self, generation: GenerationRequest, request_id: str) -> dict[str, Any] | None:
        """Where a prompt lies that was computed for another engine."""
        if self.transfers is None or not wants_remote_decode(generation.kv_transfer):
            return None
        blocks = -(-generation.prompt_tokens // self._settings.limits.block_size)
        tokens, parallel = generation.prompt_tokens, self._settings.arguments.tensor_parallel_size
        return self.transfers.offer(request_id, tokens, blocks, parallel)

    def _sequence(self, generation: GenerationRequest) -> EngineSequence:
        limits = self._settings.limits
        hashes = block_hashes(generation.prompt, limits.block_size) if limits.prefix_caching else ()
        return EngineSequence(
            generation.prompt_tokens,
            generation.output_tokens,
            natural_finish=generation.finish_reason,
            prompt_hashes=hashes,
            requested_max_tokens=generation.max_tokens,
        )

    def _usage(self, generation: GenerationRequest, sequence: EngineSequence) -> dict[str, Any]:
        cached = sequence.cached if self._settings.arguments.enable_prompt_tokens_details else None
        return responses.usage(generation, sequence.generated, cached)

    async def _models(self, request: web.Request) -> web.Response:
        del request
        arguments = self._settings.arguments
        cards: list[dict[str, Any]] = [
            {
                "id": name,
                "object": "model",
                "created": self._created,
                "owned_by": "vllm",
                "root": arguments.model,
                "parent": None,
                "max_model_len": self._settings.limits.max_model_len,
                "permission": [],
            }
            for name in arguments.served_model_names
        ]
        return web.json_response({"object": "list", "data": cards + self._adapters.cards(self._created)})

    async def _load_adapter(self, request: web.Request) -> web.Response:
        return web.Response(text=self._adapters.load(await request.read()))

    async def _unload_adapter(self, request: web.Request) -> web.Response:
        return web.Response(text=self._adapters.unload(await request.read()))

    async def _health(self, request: web.Request) -> web.Response:
        del request
        return web.Response(status=503 if self._draining else 200)

    async def _version(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"version": f"{VLLM_VERSION}+simulator", "simulated": True})

    async def _metrics_page(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=self._metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _gpu_page(self, request: web.Request) -> web.Response:
        """Not vLLM's: what the DCGM exporter would say of the simulated GPU."""
        del request
        return web.Response(body=self._gpus.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _reset_prefix_cache(self, request: web.Request) -> web.Response:
        del request
        self._driver.core.reset_prefix_cache()
        return web.Response()


async def _mark_simulated(request: web.Request, response: web.StreamResponse) -> None:
    del request
    response.headers["x-simulated"] = "true"
