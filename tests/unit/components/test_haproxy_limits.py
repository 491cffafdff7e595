"""What one API key may ask of the gateway, enforced by the real HAProxy on loopback before a double of the interceptor.

Does not prove: limits over several gateway pods, of which each counts for itself, nor that a request's tokens are those
that a model would count.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from components.gateway.haproxy import HaproxyConfig
from components.gateway.limits import ClientLimits
from tests.unit.components.test_haproxy import CONFIG, Running, body, check, running

pytestmark = pytest.mark.unit

ONE, TWO = "sk-first-client", "sk-second-client"
PROMPT = [{"role": "user", "content": "Hello"}]


def limited(**most: int) -> HaproxyConfig:
    """The sample configuration for two clients, each with these limits."""
    hashes = tuple(hashlib.sha256(key.encode()).hexdigest() for key in (ONE, TWO))
    return replace(CONFIG, key_hashes=hashes, limits=ClientLimits(**most))


async def ask(
    gateway: Running, key: str = ONE, path: str = "/v1/chat/completions", **fields: Any
) -> tuple[int, Any, str]:
    """Status, answer and Retry-After of a request."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    data = body(**{"model": "chat", "messages": PROMPT, **fields})
    async with gateway.client.post(f"{gateway.url}{path}", data=data, headers=headers) as reply:
        return reply.status, await reply.json(), reply.headers.get("Retry-After", "")


async def test_requests_per_minute_are_counted_for_each_key(tmp_path: Path) -> None:
    async with running(limited(requests_per_minute=3), tmp_path) as gateway:
        assert [(await ask(gateway))[0] for _ in range(3)] == [200, 200, 200]
        status, answer, wait = await ask(gateway)
        assert (status, wait) == (429, "20")
        assert answer["error"]["code"] == "rate_limit_exceeded"
        assert answer["error"]["type"] == "requests"
        assert (await ask(gateway, TWO))[0] == 200
        assert len(gateway.interceptor.requests) == 4


async def test_what_is_refused_is_not_counted(tmp_path: Path) -> None:
    """Or a client that does not wait would be kept out for ever: what it lacks is never more than a minute's share."""
    async with running(limited(tokens_per_minute=1000), tmp_path) as gateway:
        assert (await ask(gateway, max_tokens=900))[0] == 200
        waits = {(await ask(gateway, max_tokens=900))[2] for _ in range(50)}
        assert all(0 < int(wait) <= 60 for wait in waits), waits


async def test_models_may_be_listed_without_being_counted(tmp_path: Path) -> None:
    async with running(limited(requests_per_minute=1), tmp_path) as gateway:
        headers = {"authorization": f"Bearer {ONE}"}
        for _ in range(5):
            async with gateway.client.get(f"{gateway.url}/v1/models", headers=headers) as reply:
                assert reply.status == 200
        assert (await ask(gateway))[0] == 200


async def test_requests_at_a_time(tmp_path: Path) -> None:
    """A place is taken for as long as the answer lasts, and then is free."""
    async with running(limited(concurrent_requests=2), tmp_path) as gateway:
        go_on, arrived = asyncio.Event(), asyncio.Semaphore(0)

        async def slow(_: web.Request) -> web.StreamResponse:
            arrived.release()
            await go_on.wait()
            return web.json_response({})

        gateway.interceptor.answer = slow
        held = [asyncio.create_task(ask(gateway)) for _ in range(2)]
        async with asyncio.timeout(10):
            await arrived.acquire()
            await arrived.acquire()
        status, answer, wait = await ask(gateway)
        assert (status, wait, answer["error"]["message"]) == (429, "1", "More than 2 requests at a time.")
        other = asyncio.create_task(ask(gateway, TWO))
        go_on.set()
        assert [status for status, _, _ in await asyncio.gather(*held, other)] == [200, 200, 200]
        assert (await ask(gateway))[0] == 200


async def test_tokens_are_reserved(tmp_path: Path) -> None:
    """The answer's, as often as there are answers, and one for every four bytes of the body."""
    async with running(limited(tokens_per_minute=1000), tmp_path) as gateway:
        assert (await ask(gateway, max_tokens=400, n=2))[0] == 200
        status, answer, wait = await ask(gateway, max_tokens=400)
        assert (status, answer["error"]["type"]) == (429, "tokens")
        assert 1 <= int(wait) <= 60
        assert (await ask(gateway, max_completion_tokens=50))[0] == 200
        assert (await ask(gateway, TWO, max_tokens=400))[0] == 200


async def test_a_long_prompt_counts(tmp_path: Path) -> None:
    async with running(limited(tokens_per_minute=1000), tmp_path) as gateway:
        assert (await ask(gateway, path="/v1/embeddings", input="a" * 3600))[0] == 200
        assert (await ask(gateway, max_tokens=100))[0] == 429


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "max_tokens_missing"),
        ({"max_tokens": "many"}, "invalid_value"),
        ({"max_tokens": 0}, "invalid_value"),
        ({"max_tokens": -1000}, "invalid_value"),
        ({"max_tokens": 10, "n": -5}, "invalid_value"),
        ({"max_tokens": 1001}, "rate_limit_exceeded"),
        ({"max_tokens": 2**40, "n": 2**40}, "rate_limit_exceeded"),
    ],
)
async def test_what_cannot_be_reserved_is_refused_once_and_for_all(
    tmp_path: Path, fields: dict[str, Any], code: str
) -> None:
    """Not with 429: it would be refused again. And nobody gets tokens back by asking for fewer than none."""
    async with running(limited(tokens_per_minute=1000), tmp_path) as gateway:
        status, answer, _ = await ask(gateway, **fields)
        assert (status, answer["error"]["code"]) == (400, code)
        assert gateway.interceptor.requests == []
        assert (await ask(gateway, max_tokens=900))[0] == 200


async def test_with_token_limits_a_body_must_be_readable(tmp_path: Path) -> None:
    """Also where a header names the model."""
    async with running(limited(tokens_per_minute=2_000_000), tmp_path) as gateway:
        headers = {"authorization": f"Bearer {ONE}", "x-inference-model": "chat"}
        data = body(max_tokens=1, prompt="a" * 600_000)
        async with gateway.client.post(f"{gateway.url}/v1/completions", data=data, headers=headers) as reply:
            assert reply.status == 413


def test_limits_without_keys_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="per API key"):
        replace(CONFIG, limits=ClientLimits(requests_per_minute=1))


@pytest.mark.parametrize(
    "most",
    [
        {"requests_per_minute": 1_000_000},
        {"concurrent_requests": 1},
        {"tokens_per_minute": 2_000_000_000},
        {"requests_per_minute": 1, "concurrent_requests": 1, "tokens_per_minute": 1},
    ],
)
def test_every_kind_of_limit_is_a_valid_configuration(tmp_path: Path, most: dict[str, int]) -> None:
    check(limited(**most), tmp_path)
