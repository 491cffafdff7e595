"""Who scaled: what KEDA and the HPA themselves record in the API; reads only.

Two records, because neither is whole:

* *events*. KEDA's event recorder (client-go ``tools/events``) writes a second occurrence at once and further
  ones only six minutes after the last, or each half hour; so their counts are lower bounds.
* *decisions*, by watch: the ``Active`` condition of each ScaledObject (KEDA sets it with each of its own
  changes between zero and one) and ``lastScaleTime`` of each HPA, to the second.

The API server's managed fields cannot tell: it does not track a writer of ``spec.replicas`` once zero was
written, since the Scale object leaves out a zero.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx2  # lightkube's HTTP client: its errors are the ones that reach us
from lightkube import AsyncClient
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Event

from load.follow import ClusterError, Follower, model_of, reason_of

SCALING_REASONS: Final = (
    "KEDAScaleTargetActivated",
    "KEDAScaleTargetDeactivated",
    "KEDAScaleTargetActivationFailed",
    "KEDAScaleTargetDeactivationFailed",
    "SuccessfulRescale",
)
KEDA_DEFAULT_COOLDOWN: Final = 300.0  # KEDA, apis/keda/v1alpha1: cooldownPeriod
_SCALED_OBJECT = create_namespaced_resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")


class Decision(NamedTuple):
    """What an autoscaler decided about a model at ``at`` (clock)."""

    at: float
    model: str
    by: str
    what: str


class ScalerWatch:
    """Follows the ScaledObjects and HPAs of a namespace.

    Attributes:
        decisions: oldest first.
        cooldowns: KEDA's cooldown by model, in seconds; empty without KEDA.
    """

    def __init__(self, client: AsyncClient, namespace: str, model_of_deployment: Callable[[str], str | None]) -> None:
        """Prepare to follow.

        Args:
            client: access to the API.
            namespace: of the environment.
            model_of_deployment: the model that a scale target serves, for objects without a model label.
        """
        self.decisions: list[Decision] = []
        self.cooldowns: dict[str, float] = {}
        self._model_of_deployment = model_of_deployment
        self._active: dict[str, tuple[str, str]] = {}
        self._scaled_at: dict[str, float] = {}
        self._followers: list[Follower[Any]] = []
        self._scaled_objects: Follower[Any] = Follower(
            client, _SCALED_OBJECT, namespace, self._saw_scaled_object, _ignore
        )
        self._hpas: Follower[Any] = Follower(client, HorizontalPodAutoscaler, namespace, self._saw_hpa, _ignore)

    async def first_look(self) -> None:
        """Read the state once; without KEDA only the HPAs.

        Raises:
            ClusterError: the API cannot be reached or refuses.
        """
        for follower in (self._scaled_objects, self._hpas):
            if await follower.first_look(optional=True):
                self._followers.append(follower)

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as watches:
            for follower in self._followers:
                watches.create_task(follower.run())

    def _saw_scaled_object(self, item: GenericNamespacedResource) -> None:
        metadata, spec = item.metadata, item["spec"]
        if metadata is None:
            return
        name, target = str(metadata.name), str(spec["scaleTargetRef"]["name"])
        model = model_of(metadata) or self._model_of_deployment(target) or target
        self.cooldowns[model] = float(spec.get("cooldownPeriod", KEDA_DEFAULT_COOLDOWN))
        for condition in (item.get("status") or {}).get("conditions") or []:
            if condition["type"] == "Active":
                now = (str(condition["status"]), str(condition.get("reason", "")))
                before = self._active.get(name)
                self._active[name] = now
                if before is not None and before != now:
                    self.decisions.append(Decision(time.monotonic(), model, "keda", now[1]))

    def _saw_hpa(self, item: HorizontalPodAutoscaler) -> None:
        metadata, spec, status = item.metadata, item.spec, item.status
        if metadata is None or spec is None:
            return
        name, target = str(metadata.name), spec.scaleTargetRef.name
        scaled_at = status.lastScaleTime.timestamp() if status and status.lastScaleTime else 0.0
        before = self._scaled_at.get(name)
        self._scaled_at[name] = scaled_at
        if status is not None and scaled_at > (scaled_at if before is None else before):
            model = model_of(metadata) or self._model_of_deployment(target) or target
            what = f"{status.desiredReplicas} replicas"
            self.decisions.append(Decision(time.monotonic(), model, "hpa", what))


@dataclass(frozen=True, slots=True)
class ScalingEvent:
    """One event of the API about scaling; ``series``: further occurrences reach the API late."""

    uid: str
    reason: str
    about: str
    by: str
    message: str
    count: int
    series: bool


async def scaling_events(client: AsyncClient, namespace: str) -> list[ScalingEvent]:
    """The events of KEDA and of the HPA about scaling that the namespace holds now.

    Raises:
        ClusterError: the API cannot be reached.
    """
    try:
        return [
            _event(item) async for item in client.list(Event, namespace=namespace) if item.reason in SCALING_REASONS
        ]
    except (httpx2.HTTPError, OSError) as error:
        raise ClusterError(f"the events cannot be read ({reason_of(error)})") from None


def scaled_by(
    before: list[ScalingEvent], after: list[ScalingEvent], decisions: list[Decision], start: float
) -> dict[str, Any]:
    """Who scaled between two lists of events.

    Returns:
        ``events`` by reason: ``count``, ``at_least`` (true where further ones may reach the API later), ``by``,
        ``objects`` and ``messages`` with their counts. A series that was open before is named with count 0.
        ``decisions``: ``[t, model, by, what]``, ``t`` in seconds after ``start`` (clock).
        ``decided``: how many of each.
    """
    earlier = {event.uid: event.count for event in before}
    events: dict[str, Any] = {}
    for event in after:
        fresh = event.count - earlier.get(event.uid, 0)
        if fresh <= 0 and not event.series:
            continue
        entry = events.setdefault(
            event.reason, {"count": 0, "at_least": False, "by": event.by, "objects": {}, "messages": {}}
        )
        entry["count"] += fresh
        entry["at_least"] |= event.series
        for key, value in (("objects", event.about), ("messages", event.message)):
            entry[key][value] = entry[key].get(value, 0) + fresh
    since = [decision for decision in decisions if decision.at >= start]
    return {
        "events": events,
        "decisions": [[round(d.at - start, 3), d.model, d.by, d.what] for d in since],
        "decided": dict(Counter(d.by if d.by == "hpa" else f"{d.by} {d.what}" for d in since)),
    }


def _event(item: Event) -> ScalingEvent:
    regarding = item.involvedObject
    source = item.source.component if item.source else None
    repeated = item.series.count if item.series else None
    return ScalingEvent(
        uid=str(item.metadata.uid),
        reason=str(item.reason),
        about=f"{regarding.kind}/{regarding.name}",
        by=item.reportingComponent or source or "unknown",
        message=item.message or "",
        count=max(repeated or 0, item.count or 0, 1),
        series=repeated is not None,
    )


def _ignore(_: str) -> None:
    """What is gone decides nothing."""
