"""What an engine counts: plain numbers, made into Prometheus series only when they are asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence as Values

FINISH_REASONS = ("stop", "length", "abort", "error", "repetition")

# Bucket bounds of vLLM's own histograms (vllm/v1/metrics/loggers.py, main of 2026).
TOKEN_LATENCY_BOUNDS = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
FIRST_TOKEN_BOUNDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
REQUEST_LATENCY_BOUNDS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
ITERATION_TOKEN_BOUNDS = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)


def one_two_five_bounds(largest: int) -> tuple[int, ...]:
    """1, 2, 5, 10, ... up to and including ``largest``: vLLM's bounds for token counts."""
    bounds: list[int] = []
    scale = 1
    while scale <= largest:
        bounds.extend(value for value in (scale, 2 * scale, 5 * scale) if value <= largest)
        scale *= 10
    return tuple(bounds)


class Histogram:
    """A histogram that takes equal observations at the price of one: a step's tokens share a latency."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Values[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, weight: int = 1) -> None:
        """Count ``value`` ``weight`` times."""
        self.counts[bisect_left(self.bounds, value)] += weight
        self.total += value * weight

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)


class EngineStats:
    """Counters and histograms of one engine since it started. Times are in seconds, lengths in tokens."""

    def __init__(self, max_model_len: int) -> None:
        token_bounds = one_two_five_bounds(max_model_len)
        self.prompt_tokens = 0
        self.cached_prompt_tokens = 0
        self.external_prompt_tokens = 0
        self.generation_tokens = 0
        self.preemptions = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.finished = dict.fromkeys(FINISH_REASONS, 0)
        self.time_to_first_token = Histogram(FIRST_TOKEN_BOUNDS)
        self.inter_token_latency = Histogram(TOKEN_LATENCY_BOUNDS)
        self.time_per_output_token = Histogram(TOKEN_LATENCY_BOUNDS)
        self.e2e_latency = Histogram(REQUEST_LATENCY_BOUNDS)
        self.queue_time = Histogram(REQUEST_LATENCY_BOUNDS)
        self.prefill_time = Histogram(REQUEST_LATENCY_BOUNDS)
        self.decode_time = Histogram(REQUEST_LATENCY_BOUNDS)
        self.inference_time = Histogram(REQUEST_LATENCY_BOUNDS)
        self.request_prompt_tokens = Histogram(token_bounds)
        self.request_generation_tokens = Histogram(token_bounds)
        self.request_max_tokens = Histogram(token_bounds)
        self.prefill_computed_tokens = Histogram(token_bounds)
        self.iteration_tokens = Histogram(ITERATION_TOKEN_BOUNDS)
