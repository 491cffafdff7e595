"""Requests and answers of the OpenAI API, without HTTP.

Not proven here: that every client library accepts them; the HTTP tests read them as JSON and events only.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.engine_simulator import prompts, responses
from local.engine_simulator.protocol import ApiError, GenerationRequest, parse_generation

pytestmark = pytest.mark.unit

HELLO = [{"role": "user", "content": "hello"}]


def chat(**fields: Any) -> GenerationRequest:
    body = json.dumps({"model": "m", "messages": HELLO, **fields}).encode()
    return parse_generation(body, is_chat=True, models=("m", "alias"), max_model_len=1000)


def completion(**fields: Any) -> GenerationRequest:
    body = json.dumps({"model": "m", "prompt": "hello", **fields}).encode()
    return parse_generation(body, is_chat=False, models=("m",), max_model_len=1000)


def test_a_token_is_four_characters() -> None:
    assert [prompts.count_tokens(text) for text in ("", "a", "abcd", "abcde")] == [1, 1, 1, 2]
    # "<|user|>\nhello\n<|assistant|>\n" has 29 characters.
    assert chat().prompt_tokens == 8


def test_token_ids_count_exactly() -> None:
    assert completion(prompt=[5] * 123).prompt_tokens == 123
    assert completion(prompt=[[5] * 123]).prompt_tokens == 123
    assert completion(prompt=["hello world!"]).prompt_tokens == 3


@given(st.integers(1, 5000))
def test_output_counts_for_what_it_was_when_it_comes_back(tokens: int) -> None:
    assert prompts.count_tokens(prompts.synthetic_text(tokens)) == tokens


def test_output_length_is_max_tokens_or_a_bounded_default() -> None:
    request = chat(max_tokens=7)
    assert (request.output_tokens, request.finish_reason) == (7, "length")
    assert chat(max_completion_tokens=9, max_tokens=7).output_tokens == 9
    assert (chat().output_tokens, chat().finish_reason) == (128, "stop")
    assert chat(min_tokens=200).output_tokens == 200
    assert (completion().output_tokens, completion().finish_reason) == (16, "length")
    # Without an end, up to the model's length.
    assert (chat(ignore_eos=True).output_tokens, chat(ignore_eos=True).finish_reason) == (992, "length")


def test_what_vllm_takes_is_taken() -> None:
    request = chat(
        model="alias", stream=True, stream_options={"include_usage": True}, temperature=0.7, top_p=1, stop=["x"], n=1
    )
    assert (request.model, request.stream, request.include_usage) == ("alias", True, True)
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    assert chat(messages=[{"role": "user", "content": parts}]).prompt == chat().prompt
    tools = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]
    assert '[{"id": "1"}]' in str(chat(messages=tools).prompt)


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"messages": []}, "messages", "at least one message"),
        ({"messages": "hi"}, "messages", "must be a list, not a string"),
        ({"messages": [{"content": "x"}]}, "messages[0]", "with a `role`"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "not a number"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]", "multimodal"),
        ({"max_tokens": 0}, "max_tokens", "whole number of at least 1, got 0"),
        ({"max_tokens": 5.5}, "max_tokens", "got 5.5"),
        ({"max_tokens": 993}, "max_tokens", "993 > 1000 - 8"),
        ({"messages": [{"role": "user", "content": "x" * 4000}]}, "messages", "maximum context length is 1000 tokens"),
        ({"n": 2}, "n", "not simulated"),
        ({"temperature": -1}, "temperature", "from 0 to inf"),
        ({"top_p": 0}, "top_p", "(0, 1]"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "`stream=True`"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens", "max_tokens=8, got 9"),
        ({"model": 7}, "model", "must be a string"),
    ],
)
def test_bad_chat_requests_name_the_parameter(fields: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        chat(**fields)
    error = json.loads(caught.value.body())["error"]
    assert (error["type"], error["param"], error["code"]) == ("BadRequestError", param, 400)
    assert message in error["message"]


@pytest.mark.parametrize("prompt", [None, "", [], ["a", "b"], [[1], [2]], [1, "a"], [-1], [True], {"a": 1}, 5])
def test_bad_prompts_are_refused(prompt: Any) -> None:
    with pytest.raises(ApiError, match="one text or one list of token ids"):
        completion(prompt=prompt)


def test_unknown_models_are_not_found() -> None:
    with pytest.raises(ApiError) as caught:
        chat(model="other")
    assert json.loads(caught.value.body()) == {
        "error": {
            "message": "The model `other` does not exist.",
            "type": "NotFoundError",
            "param": "model",
            "code": 404,
        }
    }


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_json_object_are_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse_generation(body, is_chat=True, models=("m",), max_model_len=100)
    assert caught.value.status == 400


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["model", "messages", "stream", "max_tokens", "n", "stop", "stream_options"]),
        st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists),
    )
)
def test_any_json_object_is_answered_or_refused_never_a_crash(fields: dict[str, Any]) -> None:
    try:
        request = parse_generation(json.dumps(fields).encode(), is_chat=True, models=("m",), max_model_len=1000)
    except ApiError as error:
        assert error.status in (400, 404)
    else:
        assert request.prompt_tokens + request.output_tokens <= 1000


def test_hashes_cover_full_blocks_and_chain() -> None:
    ids = list(range(40))
    assert len(prompts.block_hashes(ids, 16)) == 2
    assert prompts.block_hashes(ids[:32], 16) == prompts.block_hashes(ids, 16)
    assert prompts.block_hashes([9, *ids[1:]], 16)[1] != prompts.block_hashes(ids, 16)[1]
    assert len(prompts.block_hashes("x" * 127, 16)) == 1
    assert prompts.block_hashes("", 16) == []


def stream_format(request_id: str = "chatcmpl-1", **fields: Any) -> responses.StreamFormat:
    return responses.StreamFormat(chat(stream=True, **fields), request_id, 1_700_000_000)


def test_chunks_have_the_right_length_and_vllm_s_shape() -> None:
    chunks = stream_format().token(2)
    size, _, rest = chunks.partition(b"\r\n")
    event = rest.removesuffix(b"\r\n")
    assert int(size, 16) == len(event)
    assert json.loads(event.removeprefix(b"data: ")) == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "m",
        "choices": [
            {"index": 0, "delta": {"content": "late"}, "logprobs": None, "finish_reason": None, "token_ids": None}
        ],
    }


def test_the_first_token_of_a_chat_comes_after_the_role() -> None:
    stream = stream_format()
    role, first = (json.loads(event) for event in events_of(unframe(stream.token(1))))
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert first["choices"][0]["delta"] == {"content": "Simu"}


def test_an_answer_of_one_token_has_the_role_too() -> None:
    events = events_of(stream_format().ending(1, "length", None))
    assert [json.loads(event)["choices"][0]["delta"] for event in events[:2]] == [
        {"role": "assistant", "content": ""},
        {"content": "Simu"},
    ]
    assert events[2] == "[DONE]"


def test_a_request_id_cannot_break_the_format() -> None:
    evil = 'a"b@piece@\n\ndata: x'
    (event,) = events_of(unframe(stream_format(evil).token(2)))
    assert json.loads(event)["id"] == evil


def unframe(data: bytes) -> bytes:
    """Body of HTTP/1.1 chunks."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body


def events_of(body: bytes) -> list[str]:
    """Payloads of server-sent events."""
    return [event.removeprefix("data: ") for event in body.decode().split("\n\n") if event]
