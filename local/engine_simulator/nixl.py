"""Prefill and decode in two engines: what vLLM's NixlConnector says and does, without moving a byte.

A prefill worker answers a request that wants it (`do_remote_decode`) with the place of the prompt's blocks; a decode
worker that gets this place (`do_remote_prefill`) asks the other one who it is, once, waits as long as the blocks would
take, and computes the last token of the prompt only. The time is `planner/kv_transfer.py`'s formula, whose bandwidth is
an assumption.

Not simulated: that blocks stay with the prefill worker until they are fetched, and different block sizes or
tensor-parallel sizes on the two sides.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from planner.kv_transfer import BANDWIDTH_GB_S, transfer_seconds

HOST = "VLLM_NIXL_SIDE_CHANNEL_HOST"
PORT = "VLLM_NIXL_SIDE_CHANNEL_PORT"
DEFAULT_PORT = 5600
BANDWIDTH = "SIMULATION_TRANSFER_GB_S"
HANDSHAKE_SECONDS = 5.0


class TransferError(Exception):
    """The other worker is not there, or is another one."""


@dataclass(frozen=True, slots=True)
class TransferSettings:
    """How an engine takes part.

    Attributes:
        role: kv_producer, kv_consumer or kv_both; what a request says decides here.
        recompute: a transfer that fails is made up for by a prefill of its own; else the request fails.
        host: of the side channel.
        port: of the side channel.
        bandwidth_gb_s: between two workers.
        engine_id: by which the other side knows this engine.
    """

    role: str
    recompute: bool
    host: str
    port: int
    bandwidth_gb_s: float
    engine_id: str = field(default_factory=lambda: os.urandom(8).hex())


def read_transfer(config: Mapping[str, Any] | None, environ: Mapping[str, str]) -> TransferSettings | None:
    """From ``--kv-transfer-config`` and the environment; None without a NixlConnector.

    Raises:
        ValueError: a port or bandwidth that is none.
    """
    if not config or config.get("kv_connector") != "NixlConnector":
        return None
    bandwidth = float(environ.get(BANDWIDTH) or BANDWIDTH_GB_S)
    if not (math.isfinite(bandwidth) and bandwidth > 0):
        raise ValueError(f"{BANDWIDTH} is {environ[BANDWIDTH]!r}; it must be GB/s above 0")
    return TransferSettings(
        role=str(config.get("kv_role")),
        recompute=config.get("kv_load_failure_policy") == "recompute",
        host=environ.get(HOST) or "localhost",
        port=int(environ.get(PORT) or DEFAULT_PORT),
        bandwidth_gb_s=bandwidth,
    )


class Transfers:
    """The side channel of one engine, and what it knows of others.

    Args:
        settings: how it takes part.
        bytes_per_token: of KV cache, over all GPUs.
        speedup: transfers are so many times faster.
    """

    def __init__(self, settings: TransferSettings, bytes_per_token: float, speedup: float) -> None:
        self.settings = settings
        self._bytes_per_token, self._speedup = bytes_per_token, speedup
        self._known: set[tuple[str, str, int]] = set()
        self.fetched_tokens = 0

    async def listen(self) -> asyncio.Server:
        """Tell whoever connects which engine this is."""
        return await asyncio.start_server(self._greet, self.settings.host, self.settings.port)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(f"{self.settings.engine_id}\n".encode())
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    def offer(self, request_id: str, tokens: int, blocks: int, tensor_parallel: int) -> dict[str, Any]:
        """What the answer of a prefill tells the decode worker; vLLM 0.32.0 nixl/pull_scheduler.py request_finished."""
        return {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": list(range(blocks)),
            "remote_engine_id": self.settings.engine_id,
            "remote_request_id": request_id,
            "remote_num_tokens": tokens,
            "remote_host": self.settings.host,
            "remote_port": self.settings.port,
            "tp_size": tensor_parallel,
        }

    async def fetch(self, params: Mapping[str, Any], tokens: int) -> None:
        """Wait until the keys and values of so many tokens would be here.

        Raises:
            TransferError: the engine that has them is gone.
        """
        who = (str(params["remote_engine_id"]), str(params["remote_host"]), int(params["remote_port"]))
        if who not in self._known:
            await self._shake_hands(*who)
            self._known.add(who)
        await asyncio.sleep(
            transfer_seconds(tokens, self._bytes_per_token, self.settings.bandwidth_gb_s) / self._speedup
        )
        self.fetched_tokens += tokens

    async def _shake_hands(self, engine: str, host: str, port: int) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                reader, writer = await asyncio.open_connection(host, port)
                found = (await reader.readline()).decode().strip()
                writer.close()
        except OSError as error:
            raise TransferError(f"no engine at {host}:{port}: {error}") from None
        if found != engine:
            raise TransferError(f"the engine at {host}:{port} is {found}, not {engine}")


def wants_remote_decode(params: Mapping[str, Any] | None) -> bool:
    """Whether a request is a prefill for another engine."""
    return bool(params and params.get("do_remote_decode"))


def has_remote_prefill(params: Mapping[str, Any] | None) -> bool:
    """Whether a request says where its prompt was computed; as vLLM, one that says it by halves does not."""
    names = ("remote_engine_id", "remote_request_id", "remote_host", "remote_port", "remote_block_ids")
    return bool(params and params.get("do_remote_prefill") and all(params.get(name) for name in names))
