"""Requests to the environment, as a client without retries sends them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

import aiohttp

# Longer than any wait that the tests allow, so that a lost request fails in the assertion and not here.
TIMEOUT = aiohttp.ClientTimeout(total=120)


@dataclass(frozen=True)
class Answer:
    """What came of one request.

    Attributes:
        status: HTTP status; 0 when the connection broke.
        tokens: output tokens, as the engine counted them.
        seconds: to the end of the answer.
        error: how it failed, "" if it did not.
    """

    status: int
    tokens: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def complete(self) -> bool:
        """Whether the whole answer came."""
        return self.status == 200 and not self.error


def body(model: str, *, stream: bool, tokens: int) -> dict[str, object]:
    """An OpenAI chat request for exactly ``tokens`` output tokens."""
    return {
        "model": model,
        "stream": stream,
        "max_tokens": tokens,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": "Say something."}],
        **({"stream_options": {"include_usage": True}} if stream else {}),
    }


async def ask(session: aiohttp.ClientSession, url: str, model: str, *, stream: bool = False, tokens: int = 8) -> Answer:
    """Send one request and read the whole answer."""
    begun = time.monotonic()
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body(model, stream=stream, tokens=tokens)) as reply:
            text = await reply.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return Answer(0, seconds=time.monotonic() - begun, error=repr(error))
    seconds = time.monotonic() - begun
    if reply.status != 200:
        return Answer(reply.status, seconds=seconds, error=text[:200])
    if not stream:
        return Answer(200, json.loads(text)["usage"]["completion_tokens"], seconds)
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        return Answer(200, seconds=seconds, error="the stream has no end")
    usage = json.loads(events[-2])["usage"]
    return Answer(200, usage["completion_tokens"], seconds)


def ask_many(url: str, model: str, count: int, *, stream: bool = False, tokens: int = 8) -> list[Answer]:
    """Send ``count`` requests at once."""

    async def run() -> list[Answer]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            return await asyncio.gather(*(ask(session, url, model, stream=stream, tokens=tokens) for _ in range(count)))

    return asyncio.run(run())
