"""What one client may ask of the gateway, as lines of its configuration. A client is an API key.

Counted where requests come in, before they wait for a model: requests per minute, requests at a time, and tokens per
minute by reservation. HAProxy cannot count the tokens of an answer: a request is charged with what it may cost at most,
the tokens that it allows for the answer and a token for every four bytes of its body. What it leaves is not given back.

Each gateway pod counts for itself, and a new configuration starts to count anew. The body is read as JSON by HAProxy:
where a key is there twice, it takes the first and the engine the last. A limit keeps clients fair; it is no wall
against one that wants to break it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

TABLE: Final = "clients"
WINDOW_SECONDS: Final = 60
BYTES_PER_TOKEN: Final = 4
"""Of English text; OpenAI's rule of thumb, and how it estimates a request for its own limits."""

SIZE: Final = "100k"
"""Clients that are remembered: a few bytes each."""

Error = Callable[..., str]


@dataclass(frozen=True, kw_only=True)
class ClientLimits:
    """Most that one client may ask for; None: no limit.

    Attributes:
        requests_per_minute: in any 60 seconds.
        concurrent_requests: at a time, those that wait for a model included.
        tokens_per_minute: reserved in any 60 seconds, prompt and answer.
    """

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_minute: int | None = None

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return any(
            value is not None for value in (self.requests_per_minute, self.concurrent_requests, self.tokens_per_minute)
        )


def table(limits: ClientLimits) -> str:
    """The table of clients; "" without limits."""
    if not limits.any:
        return ""
    kept = f"conn_cur,gpc(2),gpc_rate(2,{WINDOW_SECONDS}s)"
    return f"""backend {TABLE}
    # Forgotten when nothing of it counts any more.
    stick-table type string len 64 size {SIZE} expire {2 * WINDOW_SECONDS}s store {kept}"""


def rules(limits: ClientLimits, error: Error, largest_body: int) -> str:
    """Rules of the frontend, after the key and the model are known; "" without limits.

    Args:
        limits: of each client.
        error: words an error as the OpenAI API does.
        largest_body: bytes of a body that can be read.
    """
    if not limits.any:
        return ""
    lines = [f"http-request track-sc0 var(txn.key) table {TABLE}"]
    if limits.concurrent_requests is not None:
        most = limits.concurrent_requests
        text = error(f"More than {most} requests at a time.", "rate_limit_exceeded", kind="requests")
        lines.append(_refuse(text, "1", f"{{ sc_conn_cur(0) gt {most} }}"))
    if limits.requests_per_minute is not None:
        most = limits.requests_per_minute
        text = error(f"More than {most} requests in a minute.", "rate_limit_exceeded", kind="requests")
        wait = math.ceil(WINDOW_SECONDS / most)
        lines.append(_refuse(text, str(wait), f"{{ sc_gpc_rate(0,0) ge {most} }}"))
    if limits.tokens_per_minute is not None:
        lines += _tokens(limits.tokens_per_minute, error, largest_body)
    lines.append("http-request sc-inc-gpc(0,0)")
    if limits.tokens_per_minute is not None:
        lines.append("http-request sc-add-gpc(1,0) var(txn.tokens)")
    return "\n".join(f"    {line}" for line in lines) + "\n\n"


def _refuse(text: str, wait: str, condition: str) -> str:
    answer = f"content-type application/json hdr Retry-After {wait}"
    return f"http-request return status 429 {answer} string {text} if {condition}"


def _tokens(most: int, error: Error, largest_body: int) -> list[str]:
    plain = "content-type application/json string"
    too_large = error(
        f"Tokens are limited: the gateway has to read the whole body, at most {largest_body} bytes.", "body_too_large"
    )
    unsaid = error(
        f"Tokens are limited to {most} a minute: say how many the answer may have, in max_tokens "
        "(max_output_tokens in /v1/responses).",
        "max_tokens_missing",
        param="max_tokens",
    )
    wrong = error("max_tokens and n must be 1 or more.", "invalid_value", param="max_tokens")
    never = error(
        f"The request may take more than the {most} tokens of a minute: lower max_tokens, or shorten the prompt.",
        "rate_limit_exceeded",
        kind="tokens",
    )
    spent = error(f"More than {most} tokens in a minute.", "rate_limit_exceeded", kind="tokens")
    # What is over the limit must first have left the window.
    over = f"sc_gpc_rate(1,0),add(txn.tokens),sub({most})"
    wait = f"%[{over},mul({WINDOW_SECONDS}),div({most}),add(1)]"
    answers = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    return [
        "acl generates path_beg /v1/chat/completions /v1/completions /v1/responses",
        f"http-request return status 413 {plain} {too_large} if {{ req.body_size gt {largest_body} }}",
        "http-request wait-for-body time 30s if METH_POST",
        *(f"http-request set-var(txn.answer) req.body,json_query('$.{name}','int') if generates" for name in answers),
        "http-request set-var(txn.choices) int(1)",
        "http-request set-var(txn.choices) req.body,json_query('$.n','int') if generates",
        f"http-request return status 400 {plain} {unsaid} if generates !{{ var(txn.answer) -m found }}",
        f"http-request return status 400 {plain} {wrong} if generates {{ var(txn.answer) -m int lt 1 }}",
        f"http-request return status 400 {plain} {wrong} if generates {{ var(txn.choices) -m int lt 1 }}",
        f"http-request set-var(txn.tokens) req.body_size,div({BYTES_PER_TOKEN})",
        "http-request set-var(txn.tokens) var(txn.answer),mul(txn.choices),add(txn.tokens) if generates",
        f"http-request return status 400 {plain} {never} if {{ var(txn.tokens) -m int gt {most} }}",
        _refuse(spent, wait, f"{{ {over} gt 0 }}"),
    ]
