"""A bursty trace with idle gaps, made from stated distributions: what scale to zero is for. Pure.

* Bursts and gaps alternate, burst first. A gap should outlast the cooldown, so that models reach zero.
* Within a burst the times between requests follow a gamma distribution with a coefficient of variation
  above 1 (shape ``1/cv**2``, scale ``cv**2/rate``). The default 2.0 is the upper quartile over the busy
  windows of the burstiest of six clients of the ServeGen production trace (Alibaba, Apache-2.0;
  ``servegen_m-mid_client98``: median 1.64, upper quartile 1.99).
* Lengths are lognormal with the mean and deviation of the logarithm of the Azure LLM inference trace 2023,
  conversation (CC-BY 4.0, 19,366 requests), cut at that trace's longest prompt and answer.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from load.trace import TimedRequest


@dataclass(frozen=True, slots=True)
class Lengths:
    """A lognormal distribution of token counts: mean and deviation of the logarithm, and the longest."""

    mean_of_log: float
    deviation_of_log: float
    longest: int

    def draw(self, source: random.Random) -> int:
        """One length, 1 to ``longest`` tokens."""
        return max(1, min(self.longest, round(source.lognormvariate(self.mean_of_log, self.deviation_of_log))))


PROMPT_LENGTHS = Lengths(6.633, 0.985, 14_050)
OUTPUT_LENGTHS = Lengths(5.019, 0.859, 1_000)
DEFAULT_BURST_SECONDS: Final = 40.0
DEFAULT_RATE: Final = 8.0
DEFAULT_CV: Final = 2.0


@dataclass(frozen=True, slots=True)
class Pattern:
    """Shape of a generated trace; all times in seconds of trace time.

    Attributes:
        duration: length of the whole trace.
        burst: length of a burst.
        gap: idle time after each burst.
        rate: mean requests per second within a burst, over all models.
        cv: coefficient of variation of the times between requests within a burst.
    """

    duration: float
    burst: float = DEFAULT_BURST_SECONDS
    gap: float = 60.0
    rate: float = DEFAULT_RATE
    cv: float = DEFAULT_CV


def generate(pattern: Pattern, seed: int) -> list[TimedRequest]:
    """The requests of a bursty trace; the same for the same pattern and seed, and never empty.

    Each burst opens with one request at its very start: it is the one that wakes the model.
    """
    source = random.Random(seed)  # noqa: S311 - a repeatable draw, not a secret
    shape, scale = 1 / pattern.cv**2, pattern.cv**2 / pattern.rate
    requests: list[TimedRequest] = []
    opening = 0.0
    while opening < pattern.duration:
        at, end = opening, min(opening + pattern.burst, pattern.duration)
        while at < end:
            requests.append(
                TimedRequest(at, "", PROMPT_LENGTHS.draw(source), OUTPUT_LENGTHS.draw(source)),
            )
            at += source.gammavariate(shape, scale)
        opening += pattern.burst + pattern.gap
    return requests
