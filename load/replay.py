"""Sends requests at their recorded times and times the answers (open loop: a slow server delays no request).

Every request has a connection of its own, as requests of different users have, so no failure comes from a
reused idle connection; nothing is sent twice. Times are in seconds of the monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from load.sse import ChatStream, error_of, shorten
from load.trace import TimedRequest

CHARACTERS_PER_TOKEN: Final = 4  # the usual rule of thumb for English text
DEFAULT_TIMEOUT: Final = 900.0  # a start-up budget of 600 s, and 300 s for the answer
SIMULATED_HEADER: Final = "x-simulated"
_OK: Final = 200
_RECENT: Final = 200
_NOT_SIMULATED: Final = {"", "0", "false", "no"}
_HEADERS: Final = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
KEY_VARIABLE: Final = "INFERENCE_API_KEY"
"""Variable with the API key of a gateway that asks for one: arguments are in everybody's list of processes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request failed: a cause that groups alike failures, and what this one said."""

    cause: str
    detail: str


@dataclass(slots=True)
class Outcome:
    """What became of one request. Times are seconds since it was sent.

    Attributes:
        model: model that was asked.
        sent_at: clock when it was sent.
        lag: how long after its recorded time it was sent: what the client itself was late.
        stream: the answer was asked for as a stream.
        first_token: until the first chunk with text; ``None`` without a stream or text.
        last_token: until the last chunk with text.
        finished: until the answer was complete or the request failed.
        longest_gap: longest wait between two reads of text.
        chunks: chunks with text.
        prompt_tokens: as the server counted them, 0 when it did not say.
        output_tokens: as the server counted them, 0 when it did not say.
        answered_as: model name in the answer.
        simulated: the answer said that a simulator made it (header ``x-simulated``).
        failure: ``None`` when the whole answer came and was right.
    """

    model: str
    stream: bool
    sent_at: float = 0.0
    lag: float = 0.0
    first_token: float | None = None
    last_token: float | None = None
    finished: float = 0.0
    longest_gap: float = 0.0
    chunks: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    answered_as: str | None = None
    simulated: bool = False
    failure: Failure | None = None

    def fail(self, cause: str, detail: str) -> None:
        """Note why the request failed; the first cause stays."""
        if self.failure is None:
            self.failure = Failure(cause, shorten(detail))


@dataclass(slots=True)
class Progress:
    """Live counts of one model.

    Attributes:
        sent: requests sent.
        done: whole and right answers.
        failed: requests that failed.
        aborted: requests given up by this client (Ctrl-C); neither done nor failed.
        chunks: chunks with text.
        recent_first_tokens: the last 200 times to first token, in seconds.
    """

    sent: int = 0
    done: int = 0
    failed: int = 0
    aborted: int = 0
    chunks: int = 0
    recent_first_tokens: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    @property
    def in_flight(self) -> int:
        """Sent and not ended yet."""
        return self.sent - self.done - self.failed - self.aborted


class Prompts:
    """Texts of about a wanted number of tokens, at four characters each; each begins with its own number.

    The text is the same for the same seed. No two prompts share a prefix, so prefix caches find nothing
    and the router's cache-aware policy has nothing to prefer.
    """

    _WORDS = ("token", "queue", "batch", "cache", "shard", "layer", "model", "route", "probe", "scale")
    _POOL = 1 << 17

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311 - a repeatable draw, not a secret
        words = draw.choices(self._WORDS, k=self._POOL // 6)
        self._text = " ".join(words)
        self._draw = draw

    def text(self, number: int, tokens: int) -> str:
        """Prompt of ``tokens`` tokens for the request ``number``."""
        length = tokens * CHARACTERS_PER_TOKEN
        begin = f"{number} "
        start = self._draw.randrange(len(self._text))
        text = begin + self._text[start : start + length]
        while len(text) < length:
            text += self._text[: length - len(text)]
        return text[: max(length, len(begin))]


def new_session(timeout: float = DEFAULT_TIMEOUT) -> aiohttp.ClientSession:
    """A session without a limit of connections, with TCP_NODELAY, that ignores proxies of the environment.

    Args:
        timeout: longest time of one request, in seconds, the wait for a model to start included.
    """
    connector = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=_socket)
    key = os.environ.get(KEY_VARIABLE)
    headers = {**_HEADERS, "Authorization": f"Bearer {key}"} if key else _HEADERS
    return aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=timeout), headers=headers, trust_env=False
    )


def _socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol = address[:3]
    created = socket.socket(family, kind, protocol)
    created.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return created


def body_of(request: TimedRequest, prompt: str) -> bytes:
    """The JSON of a chat completion that generates exactly ``request.output_tokens`` tokens."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": request.output_tokens,
        "ignore_eos": True,
        "stream": request.stream,
    }
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    return json.dumps(body).encode()


async def ask(
    session: aiohttp.ClientSession,
    url: str,
    request: TimedRequest,
    prompt: str,
    *,
    due: float | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Send one request, once, and time its answer. Failures are part of the outcome, never raised.

    Args:
        session: see :func:`new_session`.
        url: base URL, without ``/v1``.
        request: what to ask for.
        prompt: text of the user's message.
        due: clock at which it should have been sent; ``None`` when there is no such time.
        progress: live counts to keep.

    Raises:
        asyncio.CancelledError: passed on, after ``progress`` counted the request as aborted.
    """
    progress = progress or Progress()
    body = body_of(request, prompt)
    outcome = Outcome(request.model, request.stream, sent_at=time.monotonic())
    outcome.lag = outcome.sent_at - due if due is not None else 0.0
    progress.sent += 1
    begun = False
    try:
        async with session.post(f"{url}/v1/chat/completions", data=body) as response:
            begun = True
            outcome.simulated = response.headers.get(SIMULATED_HEADER, "").lower() not in _NOT_SIMULATED
            if response.status != _OK:
                outcome.fail(f"status {response.status}", await response.text(errors="replace"))
            elif request.stream:
                await _read_stream(response, request, outcome, progress)
            else:
                _check_answer(await response.read(), request, outcome)
    except asyncio.CancelledError:
        progress.aborted += 1
        raise
    except (aiohttp.ClientError, OSError) as error:
        outcome.fail(*_classify(error, begun=begun, stream=request.stream))
    outcome.finished = time.monotonic() - outcome.sent_at
    if outcome.failure is None:
        progress.done += 1
    else:
        progress.failed += 1
    return outcome


async def _read_stream(
    response: aiohttp.ClientResponse, request: TimedRequest, outcome: Outcome, progress: Progress
) -> None:
    stream = ChatStream()
    content, sent_at, now = response.content, outcome.sent_at, time.monotonic
    last = longest = 0.0
    try:
        while received := await content.readany():
            fresh = stream.feed(received)
            if not fresh:
                continue
            at = now() - sent_at
            if outcome.first_token is None:
                outcome.first_token = at
                progress.recent_first_tokens.append(at)
            elif at - last > longest:
                longest = at - last
            last = at
            progress.chunks += fresh
    finally:
        outcome.chunks = stream.text_chunks
        outcome.longest_gap = longest
        outcome.last_token = last if stream.text_chunks else None
        outcome.answered_as = stream.model
    if stream.error is not None:
        outcome.fail("error in the stream", stream.error)
    elif not stream.done:
        outcome.fail("stream without [DONE]", f"ended after {stream.text_chunks} chunks")
    else:
        _check_usage(stream.usage, request, outcome)


def _check_answer(content: bytes, request: TimedRequest, outcome: Outcome) -> None:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        outcome.fail("answer that is not JSON", content.decode("utf-8", "replace"))
        return
    outcome.answered_as = answer.get("model")
    error = error_of(answer)
    if error is not None:
        outcome.fail("error in the answer", error)
    else:
        _check_usage(answer.get("usage"), request, outcome)


def _check_usage(usage: dict[str, Any] | None, request: TimedRequest, outcome: Outcome) -> None:
    """The server's own count must be what was asked for: with ``ignore_eos`` nothing ends an answer early."""
    if not usage or not isinstance(usage.get("completion_tokens"), int):
        outcome.fail("no token count", f"usage is {usage!r}")
        return
    outcome.output_tokens = usage["completion_tokens"]
    outcome.prompt_tokens = int(usage.get("prompt_tokens") or 0)
    if outcome.output_tokens != request.output_tokens:
        outcome.fail("wrong token count", f"{outcome.output_tokens} tokens; {request.output_tokens} were asked for")
    elif request.stream and outcome.first_token is None:
        outcome.fail("stream without text", f"usage counts {outcome.output_tokens} tokens")


def _classify(error: Exception, *, begun: bool, stream: bool) -> tuple[str, str]:
    """Cause and detail of an exception of the HTTP client."""
    detail = str(error) or type(error).__name__
    if isinstance(error, TimeoutError):
        return "timeout", "answer not complete in time" if begun else "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection", detail
    if begun:
        return ("stream cut off" if stream else "answer cut off"), detail
    return "connection closed without an answer", detail


class Replay:
    """Open-loop replay of a schedule.

    Attributes:
        outcomes: of the requests that ended, in that order, without the aborted ones.
        progress: live counts by model.
        started: clock at the start, 0 before.
    """

    def __init__(
        self,
        url: str,
        schedule: Sequence[TimedRequest],
        *,
        prompts: Prompts,
        concurrency_limit: int | None = None,
    ) -> None:
        """Prepare a replay.

        Args:
            url: base URL, without ``/v1``.
            schedule: in ascending order of ``at``.
            prompts: source of the prompts.
            concurrency_limit: most requests in flight; further ones wait, and their wait shows as ``lag``.
                ``None`` (default) keeps the loop open.
        """
        self.outcomes: list[Outcome] = []
        self.progress: dict[str, Progress] = {request.model: Progress() for request in schedule}
        self.started = 0.0
        self._url = url
        self._schedule = schedule
        self._prompts = prompts
        self._slots = asyncio.Semaphore(concurrency_limit) if concurrency_limit else None

    @property
    def not_sent(self) -> int:
        """Requests of the schedule that were not sent."""
        return len(self._schedule) - sum(progress.sent for progress in self.progress.values())

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Send everything and wait for all answers; when cancelled, give up what is in flight at once."""
        self.started = time.monotonic()
        async with asyncio.TaskGroup() as answers:
            for number, request in enumerate(self._schedule):
                due = self.started + request.at
                # Also when late: the loop must turn so that requests leave and answers are read.
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if self._slots is not None:
                    await self._slots.acquire()
                answers.create_task(self._one(session, number, request, due))

    async def _one(self, session: aiohttp.ClientSession, number: int, request: TimedRequest, due: float) -> None:
        try:
            prompt = self._prompts.text(number, request.prompt_tokens)
            progress = self.progress[request.model]
            self.outcomes.append(
                await ask(session, self._url, request, prompt, due=due, progress=progress),
            )
        finally:
            if self._slots is not None:
                self._slots.release()
