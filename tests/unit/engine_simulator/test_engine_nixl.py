"""Prefill and decode in two simulated engines: handshake, time, and what the decode worker still computes.

Does not prove anything of NIXL: nothing is moved, and the bandwidth is an assumption.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from local.engine_simulator.arguments import UsageError, parse
from local.engine_simulator.nixl import (
    TransferError,
    Transfers,
    TransferSettings,
    has_remote_prefill,
    read_transfer,
    wants_remote_decode,
)
from local.engine_simulator.sequence import EngineSequence
from planner.kv_transfer import BANDWIDTH_GB_S, SETUP_SECONDS, prefill_per_decode, transfer_seconds
from tests.unit.engine_simulator.engine_doubles import VirtualEngine, make_core

pytestmark = pytest.mark.unit

NIXL = {"kv_connector": "NixlConnector", "kv_role": "kv_both", "kv_load_failure_policy": "recompute"}


def settings(port: int = 0) -> TransferSettings:
    return TransferSettings("kv_both", recompute=True, host="127.0.0.1", port=port, bandwidth_gb_s=10.0)


def test_the_formula() -> None:
    assert transfer_seconds(0, 1e6) == 0
    assert transfer_seconds(1000, 1e6) == pytest.approx(SETUP_SECONDS + 1e9 / (BANDWIDTH_GB_S * 1e9))
    assert transfer_seconds(1000, 1e6, 100.0) == pytest.approx(SETUP_SECONDS + 0.01)
    with pytest.raises(ValueError, match="moves nothing"):
        transfer_seconds(1, 1, 0)
    # A prefill of 0.1 s; 500 tokens per second in answers of 200: 2.5 requests per second.
    assert prefill_per_decode(0.1, 500, 200) == pytest.approx(0.25)


def test_the_connector_is_read_from_vllms_flag_and_variables() -> None:
    words = parse(["serve", "a/b", f"--kv-transfer-config={json.dumps(NIXL)}"])
    environ = {"VLLM_NIXL_SIDE_CHANNEL_HOST": "127.0.0.9", "VLLM_NIXL_SIDE_CHANNEL_PORT": "5601"}
    found = read_transfer(words.kv_transfer, environ)
    assert found is not None
    assert (found.role, found.recompute, found.host, found.port) == ("kv_both", True, "127.0.0.9", 5601)
    assert found.bandwidth_gb_s == BANDWIDTH_GB_S
    assert read_transfer({"kv_connector": "LMCacheConnectorV1"}, {}) is None
    assert read_transfer(None, {}) is None
    for wrong in ("0", "nan", "fast"):
        with pytest.raises(ValueError, match=f"{wrong}'"):
            read_transfer(NIXL, {"SIMULATION_TRANSFER_GB_S": wrong})
    with pytest.raises(UsageError, match="is not a JSON object"):
        parse(["serve", "a/b", "--kv-transfer-config=NixlConnector"])


def test_half_a_place_is_none() -> None:
    whole = {**offer(), "do_remote_prefill": True}
    assert has_remote_prefill(whole)
    for name in ("remote_engine_id", "remote_request_id", "remote_host", "remote_port", "remote_block_ids"):
        assert not has_remote_prefill({**whole, name: None})
    assert not has_remote_prefill({**whole, "do_remote_prefill": False})
    assert wants_remote_decode({"do_remote_decode": True})
    assert not wants_remote_decode(None)


def offer() -> dict[str, Any]:
    return Transfers(settings(5600), 1.0, 1.0).offer("chatcmpl-1", 40, 3, 2)


def test_the_place_of_the_blocks() -> None:
    place = offer()
    assert (place["remote_block_ids"], place["tp_size"], place["remote_port"]) == ([0, 1, 2], 2, 5600)
    assert (place["do_remote_prefill"], place["remote_num_tokens"]) == (True, 40)


def test_a_decode_worker_asks_once_and_waits_as_long_as_the_blocks_take() -> None:
    async def run() -> tuple[float, int]:
        prefill, decode = Transfers(settings(), 1e6, 1.0), Transfers(settings(), 1e6, 2.0)
        server = await prefill.listen()
        port = server.sockets[0].getsockname()[1]
        place = {**prefill.offer("chatcmpl-1", 400, 1, 1), "remote_port": port}
        begun = time.monotonic()
        await decode.fetch(place, 400)
        took = time.monotonic() - begun
        server.close()
        await decode.fetch(place, 1)  # the handshake is not needed again
        with pytest.raises(TransferError, match="no engine at"):
            await Transfers(settings(), 1e6, 1.0).fetch(place, 1)
        return took, decode.fetched_tokens

    took, tokens = asyncio.run(run())
    assert took >= transfer_seconds(400, 1e6) / 2
    assert tokens == 401


def test_another_engine_at_the_same_address_is_not_taken_for_it() -> None:
    async def run() -> None:
        server = await Transfers(settings(), 1.0, 1.0).listen()
        place = {**offer(), "remote_port": server.sockets[0].getsockname()[1]}
        with pytest.raises(TransferError, match=", not "):
            await Transfers(settings(), 1.0, 1.0).fetch(place, 1)
        server.close()

    asyncio.run(run())


def test_a_decode_worker_computes_the_last_token_of_the_prompt_only() -> None:
    def first_step(remote: int) -> tuple[float, EngineSequence]:
        engine = VirtualEngine(make_core(batched_tokens=64))
        sequence = EngineSequence(48, 4, remote=remote)
        engine.core.add(sequence, 0.0)
        return engine.core.schedule(0.0) or 0.0, sequence

    (whole, _), (last, sequence) = first_step(0), first_step(47)
    # 48 tokens of prefill or one, at 100 us each; the context is the same.
    assert whole - last == pytest.approx(47 * 1e-4)
    assert (sequence.computed, len(sequence.blocks), sequence.cached, sequence.external) == (47, 3, 47, 47)


def test_time_that_a_request_waited_for_blocks_counts_for_its_first_token() -> None:
    core = make_core()
    sequence = EngineSequence(16, 1, remote=15)
    sequence.waited = 0.5
    core.add(sequence, 2.0)
    assert sequence.arrival == 1.5
