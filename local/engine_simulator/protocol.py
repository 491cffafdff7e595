"""Requests of the OpenAI API: from a JSON body to a checked request, or to an error in OpenAI's format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from local.engine_simulator.prompts import count_tokens, render_chat

# A model would stop by itself somewhere; the simulator does so here when a chat request has no max_tokens.
DEFAULT_CHAT_OUTPUT_TOKENS = 128
# The completions API's own default of max_tokens.
DEFAULT_COMPLETION_OUTPUT_TOKENS = 16


class ApiError(Exception):
    """An error answer in OpenAI's format."""

    def __init__(self, status: HTTPStatus, message: str, *, param: str | None = None, kind: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.kind = kind or _KINDS.get(status, "InternalServerError")

    def body(self) -> bytes:
        """The JSON body."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.status.value}
        return json.dumps({"error": error}).encode()


_KINDS = {
    HTTPStatus.BAD_REQUEST: "BadRequestError",
    HTTPStatus.UNAUTHORIZED: "AuthenticationError",
    HTTPStatus.NOT_FOUND: "NotFoundError",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailableError",
}


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A checked request. ``prompt`` is text or token ids; lengths in tokens."""

    model: str
    prompt: str | list[int]
    prompt_tokens: int
    output_tokens: int
    finish_reason: str
    max_tokens: int | None
    stream: bool
    include_usage: bool
    is_chat: bool
    kv_transfer: Mapping[str, Any] | None = None


def parse_generation(body: bytes, *, is_chat: bool, models: Sequence[str], max_model_len: int) -> GenerationRequest:
    """Check the body of a chat or completion request.

    Raises:
        ApiError: 400 for anything malformed or too long, 404 for a model that is not served.
    """
    data = _json_object(body)
    model = _field(data, "model", str, "a string") or models[0]
    if model not in models:
        raise ApiError(HTTPStatus.NOT_FOUND, f"The model `{model}` does not exist.", param="model")
    prompt = _chat_prompt(data) if is_chat else _completion_prompt(data)
    prompt_tokens = count_tokens(prompt) if isinstance(prompt, str) else len(prompt)
    stream = bool(_field(data, "stream", bool, "true or false"))
    options = _field(data, "stream_options", dict, "an object") or {}
    if options and not stream:
        raise _bad("Stream options can only be defined when `stream=True`.", "stream_options")
    _check_sampling(data)
    max_tokens = _max_tokens(data, is_chat=is_chat)
    room = _room(prompt_tokens, max_tokens, max_model_len, is_chat=is_chat)
    output_tokens, finish_reason = _output(data, max_tokens, room, is_chat=is_chat)
    return GenerationRequest(
        model=model,
        prompt=prompt,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        finish_reason=finish_reason,
        max_tokens=max_tokens,
        stream=stream,
        include_usage=bool(options.get("include_usage")),
        is_chat=is_chat,
        kv_transfer=_field(data, "kv_transfer_params", dict, "an object"),
    )


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"The body is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"The body must be a JSON object, not {_name(data)}.")
    return data


def _chat_prompt(data: dict[str, Any]) -> str:
    messages = _field(data, "messages", list, "a list")
    if not messages:
        raise _bad("`messages` must be a list of at least one message.", "messages")
    return render_chat([_message(message, index) for index, message in enumerate(messages)])


def _message(message: object, index: int) -> tuple[str, str]:
    where = f"messages[{index}]"
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise _bad(f"`{where}` must be an object with a `role`.", where)
    content = message.get("content")
    if content is None:  # an assistant's turn that only calls tools
        content = json.dumps(message["tool_calls"]) if message.get("tool_calls") else ""
    if isinstance(content, list):
        content = "".join(_text_part(part, f"{where}.content[{at}]") for at, part in enumerate(content))
    if not isinstance(content, str):
        raise _bad(
            f"`{where}.content` must be a string or a list of parts, not {_name(content)}.",
            f"{where}.content",
        )
    return message["role"], content


def _text_part(part: object, where: str) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise _bad(f"`{where}` must be a text part: the simulated model is not multimodal.", where)


def _completion_prompt(data: dict[str, Any]) -> str | list[int]:
    prompt = data.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], (str, list)):
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return prompt
    if isinstance(prompt, list) and prompt and all(type(token) is int and token >= 0 for token in prompt):
        return prompt
    raise _bad("`prompt` must be one text or one list of token ids, not empty; batches are not simulated.", "prompt")


def _check_sampling(data: dict[str, Any]) -> None:
    if _integer(data, "n", 1, 1) > 1:
        raise _bad("`n` above 1 is not simulated.", "n")
    _number(data, "temperature", 0.0, float("inf"))
    _number(data, "presence_penalty", -2.0, 2.0)
    _number(data, "frequency_penalty", -2.0, 2.0)
    if _number(data, "top_p", 0.0, 1.0) == 0.0:
        raise _bad("top_p must be in (0, 1], got 0.", "top_p")


def _max_tokens(data: dict[str, Any], *, is_chat: bool) -> int | None:
    name = "max_completion_tokens" if is_chat and data.get("max_completion_tokens") is not None else "max_tokens"
    if data.get(name) is None:
        return None if is_chat else DEFAULT_COMPLETION_OUTPUT_TOKENS
    return _integer(data, name, 1, 1)


def _room(prompt_tokens: int, max_tokens: int | None, max_model_len: int, *, is_chat: bool) -> int:
    room = max_model_len - prompt_tokens
    source = "messages" if is_chat else "prompt"
    if room < 1:
        raise _bad(
            f"This model's maximum context length is {max_model_len} tokens. However, your request has "
            f"{prompt_tokens} input tokens. Please reduce the length of the input {source}.",
            source,
        )
    if max_tokens is not None and max_tokens > room:
        raise _bad(
            f"'max_tokens' or 'max_completion_tokens' is too large: {max_tokens}. This model's maximum "
            f"context length is {max_model_len} tokens and your request has {prompt_tokens} input tokens "
            f"({max_tokens} > {max_model_len} - {prompt_tokens}).",
            "max_tokens",
        )
    return room


def _output(data: dict[str, Any], max_tokens: int | None, room: int, *, is_chat: bool) -> tuple[int, str]:
    minimum = _integer(data, "min_tokens", 0, 0)
    if minimum > (room if max_tokens is None else max_tokens):
        raise _bad(
            f"min_tokens must be less than or equal to max_tokens={max_tokens or room}, got {minimum}.",
            "min_tokens",
        )
    ignore_eos = bool(_field(data, "ignore_eos", bool, "true or false"))
    if max_tokens is not None:
        return max_tokens, "length"
    natural = max(DEFAULT_CHAT_OUTPUT_TOKENS, minimum)
    if is_chat and not ignore_eos and natural <= room:
        return natural, "stop"
    return room, "length"


def _field(data: dict[str, Any], name: str, kind: type, wanted: str) -> Any:  # noqa: ANN401 - of that kind, or None
    value = data.get(name)
    if value is not None and not isinstance(value, kind):
        raise _bad(f"`{name}` must be {wanted}, not {_name(value)}.", name)
    return value


def _integer(data: dict[str, Any], name: str, default: int, least: int) -> int:
    value = data.get(name)
    if value is None:
        return default
    if type(value) is not int or value < least:
        raise _bad(f"{name} must be a whole number of at least {least}, got {value!r}.", name)
    return value


def _number(data: dict[str, Any], name: str, least: float, most: float) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise _bad(f"{name} must be a number from {least:g} to {most:g}, got {value!r}.", name)
    return float(value)


def _bad(message: str, param: str) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, message, param=param)


def _name(value: object) -> str:
    return {type(None): "null", dict: "an object", list: "a list", str: "a string", bool: "a boolean"}.get(
        type(value), "a number"
    )
