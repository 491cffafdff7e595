"""One request on its way through the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum


class State(Enum):
    """Where a sequence is; FINISHED covers completed and aborted ones."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class EngineSequence:
    """A request as the engine sees it: lengths, the hashes of its prompt's blocks, and its times.

    ``on_token`` is called with the number of tokens generated so far, for every token but the last;
    ``on_finish`` once, when ``finish_reason`` is set. Both run inside the engine's step and must not block.
    """

    __slots__ = (
        "arrival",
        "blocks",
        "cached",
        "computed",
        "external",
        "finish_reason",
        "first_scheduled",
        "first_token",
        "generated",
        "last_token",
        "max_output",
        "natural_finish",
        "on_finish",
        "on_token",
        "preemptions",
        "prompt_hashes",
        "prompt_tokens",
        "registered",
        "remote",
        "requested_max_tokens",
        "state",
        "total",
        "waited",
    )

    def __init__(
        self,
        prompt_tokens: int,
        max_output: int,
        *,
        natural_finish: str = "length",
        prompt_hashes: Sequence[int] = (),
        requested_max_tokens: int | None = None,
        remote: int = 0,
        on_token: Callable[[int], None] | None = None,
        on_finish: Callable[[EngineSequence], None] | None = None,
    ) -> None:
        if prompt_tokens < 1 or max_output < 1:
            raise ValueError(f"a sequence needs tokens: prompt {prompt_tokens}, output {max_output}")
        self.prompt_tokens = prompt_tokens
        self.max_output = max_output
        self.natural_finish = natural_finish
        self.prompt_hashes = prompt_hashes
        self.remote = remote  # prompt tokens whose keys and values another engine computed
        self.requested_max_tokens = requested_max_tokens
        self.on_token = on_token
        self.on_finish = on_finish
        self.state = State.WAITING
        self.finish_reason: str | None = None
        self.generated = 0
        self.total = prompt_tokens  # prompt and generated tokens
        self.computed = 0  # tokens whose keys and values are in the cache
        self.blocks: list[int] = []
        self.registered = 0  # blocks of the prompt that the prefix cache knows
        self.cached = 0  # prompt tokens that were not computed here: found in the prefix cache, or from another engine
        self.external = 0  # those of them that came from another engine
        self.preemptions = 0
        self.arrival = 0.0
        self.waited = 0.0  # seconds before it was queued here, for another engine's keys and values
        self.first_scheduled: float | None = None
        self.first_token = 0.0
        self.last_token = 0.0
