"""How long a request may take, hop by hop, and how the router holds it: all from the start-up budget.

A request that finds its model at zero waits in the router, which retries while it has no worker. So every hop before
it must be more patient than the router, and the router more patient than the slowest start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

GENERATION_SECONDS: Final = 1800
"""Longest answer: the vLLM router's default --request-timeout-secs, which counts anew for every attempt."""

HOLD_MARGIN_SECONDS: Final = 30
"""On top of the start-up budget: until KEDA has seen the request and the scheduler has placed the pod."""

PRE_STOP_SECONDS: Final = 2
"""A pod that is being deleted goes on serving for so long, until routers and Services have heard of it."""

GRACE_MARGIN_SECONDS: Final = 5
"""Between the end of the drain and SIGKILL."""

MOST_ATTEMPTS: Final = 1000
"""Each attempt's number is the value of a metric's label in the router: more attempts are more time series. A start-up
budget of more than about 13 minutes exceeds it, since the pause between attempts ends at SLOWEST_RETRY_MS."""

FASTEST_RETRY_MS: Final = 100
SLOWEST_RETRY_MS: Final = 1000
"""Half of the longest pause is what holding adds, on average, to the time until a fresh worker gets the request."""


@dataclass(frozen=True)
class RetryPlan:
    """The router's retries: attempt, pause, attempt, ... while there is no worker.

    Pause number k lasts ``min(max_backoff_ms, initial_backoff_ms * multiplier**k)``, up to `jitter` more or less of
    that (measured on vllm-router 0.1.17, as is that max_retries counts attempts and not pauses).

    Attributes:
        max_retries: attempts in all.
        max_backoff_ms: longest pause.
        initial_backoff_ms: first pause.
        multiplier: from pause to pause.
        jitter: share by which a pause varies, so that held requests do not all come back at once.
    """

    max_retries: int
    max_backoff_ms: int
    initial_backoff_ms: int = 50
    multiplier: float = 1.5
    jitter: float = 0.1

    def shortest_hold_ms(self) -> float:
        """How long a request is held at least, were every pause as short as jitter allows and attempts free."""
        total, pause = 0.0, float(self.initial_backoff_ms)
        left = self.max_retries - 1
        while left > 0 and pause < self.max_backoff_ms:
            total, pause, left = total + pause, pause * self.multiplier, left - 1
        return (total + left * self.max_backoff_ms) * (1 - self.jitter)

    @classmethod
    def covering(cls, seconds: float) -> RetryPlan:
        """The plan that holds a request for at least this long, with the shortest pause that MOST_ATTEMPTS allows.

        Raises:
            ValueError: not a positive time.
        """
        if not seconds > 0:
            raise ValueError(f"a request cannot be held for {seconds} s")
        jitter = cls.jitter
        even = math.ceil(seconds * 1000 / (1 - jitter) / MOST_ATTEMPTS)
        pause = min(SLOWEST_RETRY_MS, max(FASTEST_RETRY_MS, even))
        attempts = math.ceil(seconds * 1000 / (1 - jitter) / pause) + 1
        plan = cls(attempts, pause)
        # The first pauses are shorter than the rest: a few more make up for them.
        missing = seconds * 1000 - plan.shortest_hold_ms()
        return cls(attempts + max(0, math.ceil(missing / (pause * (1 - jitter)))), pause)


@dataclass(frozen=True)
class RequestTiming:
    """The times of one model deployment.

    Attributes:
        startup_budget_seconds: longest start of a replica.
        drain_seconds: what a replica gets to finish its requests.
    """

    startup_budget_seconds: int
    drain_seconds: int

    @property
    def hold_seconds(self) -> int:
        """How long the router holds a request that has no worker."""
        return self.startup_budget_seconds + HOLD_MARGIN_SECONDS

    @property
    def response_header_seconds(self) -> int:
        """Until the first byte of an answer that is not streamed: held, then generated to its end."""
        return self.hold_seconds + GENERATION_SECONDS

    @property
    def grace_period_seconds(self) -> int:
        """From the deletion of a pod to SIGKILL."""
        return PRE_STOP_SECONDS + self.drain_seconds + GRACE_MARGIN_SECONDS

    @property
    def retries(self) -> RetryPlan:
        """The router's."""
        return RetryPlan.covering(self.hold_seconds)
