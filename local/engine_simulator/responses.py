"""Answers of the OpenAI API in vLLM's shape, as bytes; what all tokens share is formatted once."""

from __future__ import annotations

import json
from typing import Any

from local.engine_simulator.prompts import PIECES, synthetic_text
from local.engine_simulator.protocol import GenerationRequest

DONE = b"data: [DONE]\n\n"
_PIECES = tuple(piece.encode() for piece in PIECES)
_MARK = "@piece@"


def usage(request: GenerationRequest, generated: int, cached: int | None) -> dict[str, Any]:
    """The ``usage`` object; ``cached`` (prompt tokens from the prefix cache) where details are on."""
    return {
        "prompt_tokens": request.prompt_tokens,
        "total_tokens": request.prompt_tokens + generated,
        "completion_tokens": generated,
        "prompt_tokens_details": None if cached is None else {"cached_tokens": cached},
    }


def completed(  # noqa: PLR0917 - the parts of the body
    request: GenerationRequest,
    request_id: str,
    created: int,
    reason: str,
    counts: dict[str, Any],
    kv_transfer: dict[str, Any] | None = None,
) -> bytes:
    """The body of an answer that is not streamed; ``kv_transfer`` says where a prefill for another engine lies."""
    text = output_text(counts["completion_tokens"], reason)
    ending = {"logprobs": None, "finish_reason": reason, "stop_reason": None, "token_ids": None}
    if request.is_chat:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text,
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
            "tool_calls": [],
            "reasoning": None,
        }
        choice = {"index": 0, "message": message, **ending}
    else:
        choice = {"index": 0, "text": text, **ending, "prompt_logprobs": None, "prompt_token_ids": None}
    return json.dumps(
        {
            "id": request_id,
            "object": "chat.completion" if request.is_chat else "text_completion",
            "created": created,
            "model": request.model,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": counts,
            "kv_transfer_params": kv_transfer,
        }
    ).encode()


def output_text(generated: int, reason: str) -> str:
    """The text of an answer: the end-of-sequence token of a natural stop is counted but has no text."""
    return synthetic_text(generated - 1 if reason == "stop" else generated)


class StreamFormat:
    """The events of one streamed answer.

    ``token`` returns bytes ready for the socket, framed as an HTTP/1.1 chunk unless told otherwise: pieces of
    text have one length, so head and tail of a chunk are constant. ``ending`` returns the bare events.
    """

    __slots__ = ("_created", "_head", "_id", "_request", "_role_chunk", "_tail")

    def __init__(self, request: GenerationRequest, request_id: str, created: int, *, framed: bool = True) -> None:
        self._request, self._id, self._created = request, request_id, created
        before, _, after = self._event(self._content(_MARK, None)).rpartition(_MARK.encode())
        size = len(before) + len(_PIECES[0]) + len(after)
        self._head = b"%x\r\n%b" % (size, before) if framed else before
        self._tail = after + b"\r\n" if framed else after
        role = self._role()
        self._role_chunk = b"%x\r\n%b\r\n" % (len(role), role) if framed and role else role

    def token(self, generated: int) -> bytes:
        """Token number ``generated`` (from 1), with the role before it if it is a chat's first."""
        chunk = self._head + _PIECES[(generated - 1) % len(_PIECES)] + self._tail
        return self._role_chunk + chunk if generated == 1 else chunk

    def ending(self, generated: int, reason: str, counts: dict[str, Any] | None) -> bytes:
        """Last token with the finish reason, usage if asked for, and the end mark."""
        has_text = generated > 0 and reason == "length"
        text = _PIECES[(generated - 1) % len(_PIECES)].decode() if has_text else ""
        events = self._event(self._content(text, reason))
        if generated <= 1:
            events = self._role() + events
        if counts is not None:
            events += self._event({"choices": [], "usage": counts})
        return events + DONE

    def _role(self) -> bytes:
        if not self._request.is_chat:
            return b""
        delta = {"role": "assistant", "content": ""}
        return self._event(
            {
                "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
                "prompt_token_ids": None,
            }
        )

    def _content(self, text: str, reason: str | None) -> dict[str, Any]:
        if self._request.is_chat:
            choice: dict[str, Any] = {
                "index": 0,
                "delta": {"content": text},
                "logprobs": None,
                "finish_reason": reason,
            }
            if reason is not None:
                choice["stop_reason"] = None
            return {"choices": [{**choice, "token_ids": None}]}
        ending = {"logprobs": None, "finish_reason": reason, "stop_reason": None}
        tokens = {"prompt_token_ids": None, "token_ids": None}
        return {"choices": [{"index": 0, "text": text, **ending, **tokens}], "usage": None}

    def _event(self, content: dict[str, Any]) -> bytes:
        kind = "chat.completion.chunk" if self._request.is_chat else "text_completion"
        head = {"id": self._id, "object": kind, "created": self._created, "model": self._request.model}
        return b"data: %b\n\n" % json.dumps({**head, **content}, separators=(",", ":")).encode()
