"""Who scaled: KEDA's and the HPA's events, the writers of ``spec.replicas``, KEDA's cooldowns; reads only."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import httpx2  # lightkube's HTTP client: its errors are the ones that reach us
from lightkube import AsyncClient
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ManagedFieldsEntry
from lightkube.resources.core_v1 import Event

MODEL_LABEL: Final = "inference.platform/model"
SCALING_REASONS: Final = (
    "KEDAScaleTargetActivated",
    "KEDAScaleTargetDeactivated",
    "KEDAScaleTargetActivationFailed",
    "KEDAScaleTargetDeactivationFailed",
    "SuccessfulRescale",
)
KEDA_DEFAULT_COOLDOWN: Final = 300.0  # KEDA, apis/keda/v1alpha1: cooldownPeriod
_SCALED_OBJECT = create_namespaced_resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")


class ClusterError(Exception):
    """The cluster cannot be watched; the message says why and what to do."""


class Rescale(NamedTuple):
    """One change of a Deployment's ``spec.replicas``, and who wrote it by the API server's managed fields."""

    at: float
    model: str
    before: int
    after: int
    by: str


def replicas_writer(managed_fields: list[ManagedFieldsEntry]) -> str:
    """Field manager that last wrote ``spec.replicas``, by an object's managed fields, or ``unknown``."""
    owners = [entry for entry in managed_fields if "f:replicas" in ((entry.fieldsV1 or {}).get("f:spec") or {})]
    if not owners:
        return "unknown"
    latest = max(owners, key=lambda entry: entry.time.timestamp() if entry.time else 0.0)
    return str(latest.manager or "unknown")


async def cooldowns(client: AsyncClient, namespace: str) -> dict[str, float]:
    """KEDA's cooldown of each model of the namespace, in seconds; empty without KEDA.

    Raises:
        ClusterError: the API cannot be reached or refuses.
    """
    found: dict[str, float] = {}
    try:
        async for item in client.list(_SCALED_OBJECT, namespace=namespace):
            labels = (item.metadata and item.metadata.labels) or {}
            spec = item["spec"]
            model = labels.get(MODEL_LABEL) or spec["scaleTargetRef"]["name"]
            found[model] = float(spec.get("cooldownPeriod", KEDA_DEFAULT_COOLDOWN))
    except httpx2.HTTPStatusError as error:
        if error.response.status_code == HTTPStatus.NOT_FOUND:
            return {}  # the kind is not installed
        raise ClusterError(f"the ScaledObjects cannot be read ({reason_of(error)})") from None
    except (httpx2.HTTPError, OSError) as error:
        raise ClusterError(f"the Kubernetes API does not answer ({reason_of(error)}): run `make up`") from None
    return found


@dataclass(frozen=True, slots=True)
class ScalingEvent:
    """One event of the API about scaling, with how often it was reported."""

    uid: str
    reason: str
    about: str
    by: str
    message: str
    count: int


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
    before: list[ScalingEvent], after: list[ScalingEvent], rescales: list[Rescale], start: float
) -> dict[str, Any]:
    """Who scaled between two lists of events: ``events`` by reason, ``changes`` of replicas by writer.

    Counts of KEDA's events are lower bounds: its event recorder (client-go ``tools/events``) writes the
    second occurrence at once, further ones only six minutes after the last, or each half hour. ``changes``
    has no such gap: the API server itself records the writer of ``spec.replicas``.
    """
    earlier = {event.uid: event.count for event in before}
    events: dict[str, Any] = {}
    for event in after:
        fresh = event.count - earlier.get(event.uid, 0)
        if fresh <= 0:
            continue
        entry = events.setdefault(event.reason, {"count": 0, "by": event.by, "objects": {}, "messages": {}})
        entry["count"] += fresh
        for key, value in (("objects", event.about), ("messages", event.message)):
            entry[key][value] = entry[key].get(value, 0) + fresh
    return {
        "events": events,
        "writers": dict(Counter(change.by for change in rescales)),
        "changes": [
            [round(change.at - start, 3), change.model, change.before, change.after, change.by] for change in rescales
        ],
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
    )


def reason_of(error: Exception) -> str:
    """The first line of what an exception says, or at least its name."""
    return str(error).partition("\n")[0] or type(error).__name__
