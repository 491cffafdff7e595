"""The few things of PromQL that our rules need, reckoned anew in Python from samples on a grid.

From Prometheus' documentation and behaviour: `rate` looks at the samples of the left-open window, adds what a counter
lost at each reset, and reaches beyond the first and last sample to the window's ends, or by half a sample's distance
where the window's end is farther than 1.1 distances away, and never to before the counter was zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from local.recording.series import Recording, Samples, labels_of

REACH = 1.1
"""Of `rate`, in mean distances between samples."""


@dataclass(frozen=True)
class Hand:
    """Reckons with the series of a recording.

    Attributes:
        recording: the series.
        models: names of model deployments; engines' pods begin with them.
    """

    recording: Recording
    models: tuple[str, ...]

    def rate(self, values: Samples, index: int, window_seconds: int) -> float | None:
        """A counter's increase per second over the window that ends at a sample; None with fewer than two samples."""
        step = self.recording.step_seconds
        first = index - window_seconds // step + 1
        found = [(i, v) for i, v in enumerate(values[max(0, first) : index + 1], max(0, first)) if v is not None]
        if len(found) < 2:
            return None
        increase = sum(after - before if after >= before else after for (_, before), (_, after) in pairwise(found))
        length = (found[-1][0] - found[0][0]) * step
        distance = length / (len(found) - 1)
        before, after = float(found[0][0] - (first - 1)) * step, float(index - found[-1][0]) * step
        before = before if before < REACH * distance else distance / 2
        after = after if after < REACH * distance else distance / 2
        if increase > 0 and found[0][1] >= 0:
            before = min(before, length * found[0][1] / increase)
        return increase * (length + before + after) / length / window_seconds

    def rates(self, name: str, index: int, window: int, **labels: str) -> float | None:
        """Sum of the rates of these series; None if none has one."""
        every = [self.rate(values, index, window) for values in self.recording.of(name, **labels).values()]
        return total(every)

    def values(self, name: str, index: int, **labels: str) -> list[float]:
        """Samples of these series at one time."""
        found = (values[index] for values in self.recording.of(name, **labels).values())
        return [value for value in found if value is not None]

    def quantile(self, quantile: float, name: str, index: int, window: int, **labels: str) -> float | None:
        """Of a histogram's rates: in the bucket that holds it, requests are taken to lie evenly."""
        by_bound: dict[float, float] = {}
        for key, values in self.recording.of(f"{name}_bucket", **labels).items():
            rate = self.rate(values, index, window)
            if rate is not None:
                bound = float(labels_of(key)["le"].replace("+Inf", "inf"))
                by_bound[bound] = by_bound.get(bound, 0.0) + rate
        return quantile_of(quantile, by_bound)

    def engines(self, model: str, index: int) -> int:
        """Pods of a model's engine that are on a node."""
        found = self.recording.of("kube_pod_info").items()
        of_model = (key for key, values in found if values[index] is not None)
        named = (labels_of(key) for key in of_model)
        return sum(1 for labels in named if labels["pod"].startswith(f"{model}-engine-") and labels.get("node"))


def quantile_of(quantile: float, by_bound: Mapping[float, float]) -> float | None:
    """The quantile of cumulative counts by upper bound; None if nothing was counted."""
    bounds = sorted(by_bound)
    if not bounds or by_bound[bounds[-1]] == 0:
        return None
    rank = quantile * by_bound[bounds[-1]]
    index = next(i for i, bound in enumerate(bounds) if by_bound[bound] >= rank)
    if index == len(bounds) - 1:
        return bounds[-2]
    low, below = (bounds[index - 1], by_bound[bounds[index - 1]]) if index else (0.0, 0.0)
    return low + (bounds[index] - low) * (rank - below) / (by_bound[bounds[index]] - below)


def total(values: Iterable[float | None]) -> float | None:
    """Sum of what is there; None if nothing is."""
    found = [value for value in values if value is not None]
    return sum(found) if found else None
