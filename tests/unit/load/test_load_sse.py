"""The reader of streamed answers.

Shows: the same result wherever the bytes are cut, vLLM's and OpenAI's shapes. Does not show that a given
server sends these shapes; the tests of the whole chain do.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.sse import ChatStream, error_of, shorten
from tests.unit.load.doubles import answer_events, event

pytestmark = pytest.mark.unit

State = tuple[int, bool, object, str | None, str | None]


def state(stream: ChatStream) -> State:
    return stream.text_chunks, stream.done, stream.usage, stream.error, stream.model


def read(*pieces: bytes) -> ChatStream:
    stream = ChatStream()
    for piece in pieces:
        stream.feed(piece)
    return stream


def test_a_whole_answer() -> None:
    stream = read(b"".join(answer_events("chat", 5)))
    usage = {"prompt_tokens": 3, "completion_tokens": 5}
    assert state(stream) == (5, True, usage, None, "chat")


def test_feed_says_how_many_chunks_with_text_each_read_completed() -> None:
    stream = ChatStream()
    role, first, second, usage, done = answer_events("chat", 2)
    assert [stream.feed(piece) for piece in (role, first[:-1], first[-1:] + second, usage, done)] == [0, 0, 2, 0, 0]


ANSWERS = st.lists(
    st.one_of(
        st.text(min_size=1).map(lambda text: event({"model": "chat", "choices": [{"delta": {"content": text}}]})),
        st.just(event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})),
        st.just(event({"choices": [], "usage": {"completion_tokens": 7}})),
        st.just(b": a comment\n\n"),
        st.just(b"event: message\nid: 4\n\n"),
        st.just(event("{broken")),
        st.just(event("[DONE]")),
    )
)


@given(events=ANSWERS, crlf=st.booleans(), data=st.data())
def test_where_the_bytes_are_cut_changes_nothing(events: list[bytes], crlf: bool, data: st.DataObject) -> None:
    content = b"".join(events)
    if crlf:
        content = content.replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=20)))
    pieces = [content[start:end] for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    assert state(read(*pieces)) == state(read(content))
    assert state(read(*(content[place : place + 1] for place in range(len(content))))) == state(read(content))


@given(text=st.text(min_size=1), ascii_only=st.booleans(), spaced=st.booleans())
def test_any_text_counts_as_one_chunk_whatever_it_quotes(text: str, ascii_only: bool, spaced: bool) -> None:
    quoting = text + '"content":"x" {"error": {"message": "no"}} data: [DONE]'
    separators = (", ", ": ") if spaced else (",", ":")
    payload = json.dumps(
        {"model": "m", "choices": [{"delta": {"content": quoting}}]},
        ensure_ascii=ascii_only,
        separators=separators,
    )
    # A surrogate has no UTF-8 form: no server can send it unescaped.
    content = b"data: " + payload.encode("utf-8", "replace") + b"\n\n"
    assert state(read(content)) == (1, False, None, None, "m")


@given(text=st.text())
def test_text_under_other_keys_is_no_token(text: str) -> None:
    stream = read(event({"choices": [{"delta": {"content": ""}, "note": text + '"content":"x"'}]}))
    assert stream.text_chunks == 0


@pytest.mark.parametrize("key", ["content", "reasoning", "reasoning_content"])
def test_thinking_counts_as_text_too(key: str) -> None:
    assert read(event({"choices": [{"delta": {key: "x"}}]})).text_chunks == 1


def test_usage_in_the_last_chunk_with_text_is_found() -> None:
    last = event({"choices": [{"delta": {"content": "b"}}], "usage": {"completion_tokens": 2}})
    stream = read(event({"choices": [{"delta": {"content": "a"}}]}), last, event("[DONE]"))
    assert stream.usage == {"completion_tokens": 2}


def test_an_event_that_the_end_cuts_off_does_not_count() -> None:
    assert not read(b"data: [DONE]\n").done
    assert read(b"data: [DONE]\n\n").done
    assert read(b"data:[DONE]\r\n\r\n").done


def test_data_over_several_lines_is_one_event() -> None:
    assert read(b'data: {"usage":\ndata: {"completion_tokens": 4}}\n\n').usage == {"completion_tokens": 4}


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ('{"error":{"message":"out of memory","code":500}}', "out of memory"),
        ('{"error":{"code":500}}', "{'code': 500}"),
        ('{"error":"no worker"}', "no worker"),
        ('{"object":"error","message":"too long"}', "too long"),
        ("{broken", "event that is not JSON: {broken"),
        ("[1]", "event that is not a JSON object: [1]"),
    ],
)
def test_errors_within_a_stream(payload: str, message: str) -> None:
    assert read(event(payload), event('{"error":"a later one"}')).error == message


def test_no_error_is_none() -> None:
    assert error_of({"error": None, "object": "chat.completion"}) is None


def test_shorten_gives_one_line_of_at_most_the_limit() -> None:
    assert shorten(b" a\n b\xff ") == "a b\ufffd"
    assert shorten("x" * 301) == "x" * 299 + "…"
