"""What scales a model deployment, checked once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ScalingArgs:
    """How many replicas, and when that changes.

    Attributes:
        min_replicas: fewest; 0 lets an idle model cost nothing.
        max_replicas: most.
        queue_depth: waiting requests per replica above which one is added.
        concurrency: requests in flight per replica, counted at the front, above which one is added.
        polling_interval_seconds: how often KEDA looks.
        cooldown_seconds: time without a request until the last replica goes.
        startup_budget_seconds: longest time until a new replica answers.
        scale_down_stabilization_seconds: how long a lower number must hold before it is acted on.
        drain_seconds: what a replica gets to finish its requests.
        paused: no replica, whatever is asked of the model.

    Raises:
        ValueError: a figure out of range, or, with min_replicas 0, a cooldown shorter than the start-up budget: KEDA
            would take away a replica that is still loading, and the model would never come up.
    """

    min_replicas: int
    max_replicas: int
    queue_depth: int
    concurrency: int
    polling_interval_seconds: int
    cooldown_seconds: int
    startup_budget_seconds: int
    scale_down_stabilization_seconds: int
    drain_seconds: int
    paused: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_replicas <= self.max_replicas or self.max_replicas < 1:
            raise ValueError(
                f"min_replicas {self.min_replicas} and max_replicas {self.max_replicas} must be "
                "0 <= min_replicas <= max_replicas, and max_replicas at least 1"
            )
        positive = ("queue_depth", "concurrency", "polling_interval_seconds", "startup_budget_seconds")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        for name in ("scale_down_stabilization_seconds", "drain_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)} must not be negative")
        # KEDA uses the cooldown only between one replica and none.
        if self.min_replicas == 0 and self.cooldown_seconds < self.startup_budget_seconds:
            raise ValueError(
                f"cooldown_seconds {self.cooldown_seconds} is shorter than startup_budget_seconds "
                f"{self.startup_budget_seconds}: a replica that is still loading would be taken away"
            )
