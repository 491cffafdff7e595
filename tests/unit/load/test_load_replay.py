"""The replay against a gateway double.

Shows: open loop, nothing sent twice, every kind of failure with its cause, right figures of right answers.
Does not show how the real gateway fails, nor real latencies.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from load.replay import Failure, Outcome, Progress, Prompts, Replay, ask, body_of, new_session
from load.trace import TimedRequest
from tests.unit.load.doubles import Answer, answer_events, event, gateway, send_events, whole

pytestmark = pytest.mark.unit

DEADLINE = 20.0
STREAM = TimedRequest(0.0, "chat", 10, 4)
PLAIN = TimedRequest(0.0, "chat", 10, 4, stream=False)


def schedule(count: int, spacing: float = 0.0) -> list[TimedRequest]:
    return [TimedRequest(index * spacing, ("chat", "code")[index % 2], 5, 2) for index in range(count)]


async def outcome_of(answer: Answer, request: TimedRequest = STREAM, patience: float = DEADLINE) -> Outcome:
    async with gateway(answer) as double, new_session(patience) as session:
        outcome = await ask(session, double.url, request, "hello")
        assert len(double.bodies) == 1, "nothing is sent twice"
        return outcome


async def test_a_streamed_answer() -> None:
    outcome = await outcome_of(whole)
    assert (outcome.failure, outcome.chunks, outcome.output_tokens, outcome.prompt_tokens) == (None, 4, 4, 3)
    assert (outcome.answered_as, outcome.simulated) == ("chat", True)
    assert outcome.first_token is not None
    assert outcome.last_token is not None
    assert 0 < outcome.first_token <= outcome.last_token <= outcome.finished


@pytest.mark.parametrize("key", ["", "sk-planted"])
async def test_a_gateway_that_asks_for_a_key_gets_it(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """From the environment, never from the command line, which everybody may list."""
    seen: list[str | None] = []

    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"usage": {"completion_tokens": 1, "prompt_tokens": 1}, "choices": []})

    monkeypatch.setenv("INFERENCE_API_KEY", key)
    await outcome_of(answer)
    assert seen == [f"Bearer {key}" if key else None]


async def test_an_answer_without_stream_has_no_first_token() -> None:
    outcome = await outcome_of(whole, PLAIN)
    assert (outcome.failure, outcome.chunks, outcome.output_tokens, outcome.first_token) == (None, 0, 4, None)
    assert outcome.finished > 0


async def test_an_answer_that_does_not_say_so_is_not_simulated() -> None:
    async def real(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return await send_events(request, answer_events("chat", body["max_tokens"]))

    assert (await outcome_of(real)).simulated is False


def test_the_body_asks_for_exactly_the_recorded_tokens() -> None:
    assert body_of(STREAM, "hi") == (
        b'{"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4, '
        b'"ignore_eos": true, "stream": true, "stream_options": {"include_usage": true}}'
    )
    assert b"stream_options" not in body_of(PLAIN, "hi")


def refusing(status: int) -> Answer:
    async def answer(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no worker"}}, status=status)

    return answer


def streaming(*events: bytes, cut: bool = False) -> Answer:
    async def answer(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return await send_events(request, list(events), cut=cut)

    return answer


def saying(text: str) -> Answer:
    async def answer(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text=text)

    return answer


async def hanging_up(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


RIGHT = answer_events("chat", 4)
USAGE, DONE = RIGHT[-2:]
NO_COUNT = event({"choices": [], "usage": {}})


@pytest.mark.parametrize(
    ("answer", "request_", "failure"),
    [
        (refusing(500), STREAM, Failure("status 500", '{"error": {"message": "no worker"}}')),
        (refusing(503), PLAIN, Failure("status 503", '{"error": {"message": "no worker"}}')),
        (streaming(*RIGHT[:-1]), STREAM, Failure("stream without [DONE]", "ended after 4 chunks")),
        (
            streaming(*RIGHT[:3], event({"error": {"message": "engine died"}}), DONE),
            STREAM,
            Failure("error in the stream", "engine died"),
        ),
        (
            streaming(*answer_events("chat", 4, counted=3)),
            STREAM,
            Failure("wrong token count", "3 tokens; 4 were asked for"),
        ),
        (streaming(*RIGHT[:-2], NO_COUNT, DONE), STREAM, Failure("no token count", "usage is {}")),
        (streaming(*RIGHT[:-2], DONE), STREAM, Failure("no token count", "usage is None")),
        (streaming(USAGE, DONE), STREAM, Failure("stream without text", "usage counts 4 tokens")),
        (saying("<html>"), PLAIN, Failure("answer that is not JSON", "<html>")),
        (saying('{"error": {"message": "bad"}}'), PLAIN, Failure("error in the answer", "bad")),
        (
            saying('{"usage": {"completion_tokens": 9}}'),
            PLAIN,
            Failure("wrong token count", "9 tokens; 4 were asked for"),
        ),
    ],
)
async def test_a_wrong_answer_fails_with_its_cause(answer: Answer, request_: TimedRequest, failure: Failure) -> None:
    assert (await outcome_of(answer, request_)).failure == failure


@pytest.mark.parametrize(
    ("answer", "request_", "cause"),
    [
        (streaming(*RIGHT[:3], cut=True), STREAM, "stream cut off"),
        (streaming(*RIGHT[:3], cut=True), PLAIN, "answer cut off"),
        (hanging_up, STREAM, "connection closed without an answer"),
    ],
)
async def test_a_broken_connection_fails_with_its_cause(answer: Answer, request_: TimedRequest, cause: str) -> None:
    outcome = await outcome_of(answer, request_)
    assert outcome.failure is not None
    assert outcome.failure.cause == cause
    assert outcome.failure.detail


async def test_chunks_before_the_cut_are_counted() -> None:
    outcome = await outcome_of(streaming(*RIGHT[:3], cut=True))
    assert (outcome.chunks, outcome.output_tokens, outcome.answered_as) == (2, 0, "chat")


async def test_nobody_listening_is_no_connection() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        async with new_session() as session:
            progress = Progress()
            outcome = await ask(session, url, STREAM, "hello", progress=progress)
    assert outcome.failure is not None
    assert outcome.failure.cause == "no connection"
    assert (progress.sent, progress.failed, progress.in_flight) == (1, 1, 0)


@pytest.mark.parametrize(("events", "detail"), [((), "no answer in time"), (RIGHT[:3], "answer not complete in time")])
async def test_a_timeout_says_whether_the_answer_had_begun(events: list[bytes], detail: str) -> None:
    async def slow(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        if events:
            response = web.StreamResponse()
            await response.prepare(request)
            for one in events:
                await response.write(one)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    assert (await outcome_of(slow, patience=0.3)).failure == Failure("timeout", detail)


async def test_a_slow_server_delays_no_request_and_no_limit_of_connections_does() -> None:
    """The server answers none before it has them all: a client that waits for answers would wait for ever."""
    count = 300  # aiohttp's own default limit is 100 connections
    everybody = asyncio.Event()

    async def together(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if len(double.bodies) == count:
            everybody.set()
        await everybody.wait()
        return await whole(request, body)

    async with gateway(together) as double, new_session() as session, asyncio.timeout(DEADLINE):
        replay = Replay(double.url, schedule(count, spacing=0.001), prompts=Prompts(0))
        await replay.run(session)
    assert (len(replay.outcomes), double.most_in_flight, replay.not_sent) == (count, count, 0)
    assert [outcome.failure for outcome in replay.outcomes] == [None] * count
    assert (replay.progress["chat"].done, replay.progress["code"].done) == (150, 150)


async def test_nothing_is_sent_before_its_time() -> None:
    async with gateway() as double, new_session() as session:
        replay = Replay(double.url, schedule(20, spacing=0.01), prompts=Prompts(0))
        await replay.run(session)
    assert min(outcome.lag for outcome in replay.outcomes) >= 0
    assert max(outcome.sent_at for outcome in replay.outcomes) - replay.started >= 0.19


async def test_the_concurrency_limit_holds_and_its_wait_shows_as_lag() -> None:
    async def in_pairs(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        # Answers leave only when two are in: shows that two really are sent at once.
        await double.until_received(2 * ((len(double.bodies) + 1) // 2))
        return await whole(request, body)

    async with gateway(in_pairs) as double, new_session() as session, asyncio.timeout(DEADLINE):
        replay = Replay(double.url, schedule(10), prompts=Prompts(0), concurrency_limit=2)
        await replay.run(session)
    assert double.most_in_flight == 2
    assert len(replay.outcomes) == 10
    lags = [outcome.lag for outcome in sorted(replay.outcomes, key=lambda outcome: outcome.sent_at)]
    assert lags == sorted(lags)


async def test_cancelling_gives_up_what_is_in_flight_and_keeps_what_is_done() -> None:
    async def only_the_first(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if len(double.bodies) > 1:
            await asyncio.Event().wait()
        return await whole(request, body)

    later = TimedRequest(3600.0, "chat", 1, 1)
    async with gateway(only_the_first) as double, new_session() as session, asyncio.timeout(DEADLINE):
        replay = Replay(double.url, [*schedule(3, spacing=0.05), later], prompts=Prompts(0))
        running = asyncio.create_task(replay.run(session))
        await double.until_received(3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert len(replay.outcomes) == 1
    assert sum(progress.aborted for progress in replay.progress.values()) == 2
    assert sum(progress.in_flight for progress in replay.progress.values()) == 0
    assert replay.not_sent == 1


async def test_connections_are_not_reused_and_do_not_wait_for_full_packets() -> None:
    seen: list[tuple[Any, str | None]] = []

    async def note(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        assert request.transport is not None
        seen.append((request.transport.get_extra_info("peername"), request.headers.get("Connection")))
        return await whole(request, body)

    async with gateway(note) as double, new_session() as session:
        for _ in range(3):
            await ask(session, double.url, STREAM, "hello")
        connector = session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        assert connector.limit == 0
        assert connector._socket_factory is not None
        created = connector._socket_factory((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1)))
        with created:
            assert created.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert len({peer for peer, _ in seen}) == 3
    assert {connection for _, connection in seen} == {"close"}


def test_prompts_have_four_characters_a_token_and_no_common_beginning() -> None:
    prompts = Prompts(1)
    texts = [prompts.text(number, 1000) for number in range(10)]
    assert {len(text) for text in texts} == {4000}
    assert len({text[:2] for text in texts}) == 10
    assert len(prompts.text(0, 100_000)) == 400_000
    assert Prompts(1).text(5, 50) == Prompts(1).text(5, 50)


def test_a_prompt_of_one_token_still_has_its_number() -> None:
    assert Prompts(0).text(123_456, 1) == "123456 "
