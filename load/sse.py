"""Reads the server-sent events of a streamed chat completion: pure, bytes in, counts out.

Thousands of chunks arrive each second on the cores that also run the system under test, so a
chunk that only carries text is recognised by one regular expression and never decoded as JSON.
The first such chunk and all others (role, finish, usage, error: two or three per answer) are decoded.
"""

from __future__ import annotations

import json
import re
from typing import Any

# A string value that is not empty behind one of the keys that carry generated text in OpenAI's and
# vLLM's answers. Inside a JSON string a quote is escaped, so text that quotes such a key
# (`\"content\": \"x\"`) has a backslash before the quote and never matches.
_TEXT = re.compile(rb'"(?:content|reasoning|reasoning_content|text)"\s*:\s*"[^"]')
_DONE = b"[DONE]"


class ChatStream:
    """State of one answer while its bytes arrive, cut at any place.

    Attributes:
        text_chunks: events that carried generated text, so far.
        done: ``data: [DONE]`` was read.
        usage: the server's token counts, if it sent them.
        error: message of an error event, or of an event that is not JSON.
        model: the model name in the first event with text.
    """

    __slots__ = ("_data", "_last_text", "_tail", "done", "error", "model", "text_chunks", "usage")

    def __init__(self) -> None:
        self.text_chunks = 0
        self.done = False
        self.usage: dict[str, Any] | None = None
        self.error: str | None = None
        self.model: str | None = None
        self._tail = b""
        self._data: bytes | None = None
        self._last_text = b""

    def feed(self, received: bytes) -> int:
        """Take the next bytes; return how many events with text they completed.

        Lines end with LF or CRLF. An event ends with an empty line; one that the stream's end cuts
        off does not count, as the server-sent events standard says.
        """
        before = self.text_chunks
        lines = (self._tail + received if self._tail else received).split(b"\n")
        self._tail = lines.pop()
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]  # noqa: PLW2901
            if not line:
                if self._data is not None:
                    self._dispatch(self._data)
                    self._data = None
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data = value if self._data is None else self._data + b"\n" + value
        return self.text_chunks - before

    def _dispatch(self, payload: bytes) -> None:
        if _TEXT.search(payload):
            self.text_chunks += 1
            self._last_text = payload
            if self.text_chunks == 1:
                self._decode(payload)
        elif payload == _DONE:
            self.done = True
            if self.usage is None and self._last_text:
                # Some servers put the usage into the last chunk with text.
                self._decode(self._last_text)
        else:
            self._decode(payload)

    def _decode(self, payload: bytes) -> None:
        try:
            event = json.loads(payload)
        except ValueError:
            self._fail(f"event that is not JSON: {shorten(payload)}")
            return
        if not isinstance(event, dict):
            self._fail(f"event that is not a JSON object: {shorten(payload)}")
            return
        failure = error_of(event)
        if failure is not None:
            self._fail(failure)
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.usage = usage
        name = event.get("model")
        if self.model is None and isinstance(name, str):
            self.model = name

    def _fail(self, message: str) -> None:
        if self.error is None:
            self.error = message


def error_of(answer: dict[str, Any]) -> str | None:
    """The message of an error object in OpenAI's or vLLM's shape, ``None`` when it is no error."""
    error = answer.get("error")
    if isinstance(error, dict):
        return str(error.get("message") or error)
    if error:
        return str(error)
    if answer.get("object") == "error":
        return str(answer.get("message") or answer)
    return None


def shorten(text: bytes | str, limit: int = 300) -> str:
    """One line of at most ``limit`` characters, for messages."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    line = " ".join(decoded.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
