"""Who scaled, against a double of the Kubernetes API.

Shows: KEDA's conditions, the HPA's times and both kinds of events become the record. Does not show that KEDA
and the HPA of a given release write these; the tests on the embedded cluster do.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from load.run import background
from load.scaling import Decision, ScalerWatch, ScalingEvent, scaled_by, scaling_events
from tests.unit.load.doubles import client_of, hpa, kubernetes_api, scaled_object

pytestmark = pytest.mark.unit

CHAT = {"inference.platform/model": "chat"}


async def test_decisions_are_the_changes_of_kedas_condition_and_of_the_hpas_time() -> None:
    async with kubernetes_api() as api, client_of(api.url) as client:
        api.put("scaledobjects", scaled_object("a", labels=CHAT, cooldownPeriod=25))
        api.put("horizontalpodautoscalers", hpa("a", 0, "2026-01-01T00:00:00Z"))
        watch = ScalerWatch(client, "inference-dev", {"a-engine": "chat"}.get)
        await watch.first_look()
        assert (watch.decisions, watch.cooldowns) == ([], {"chat": 25.0})
        async with background(watch.run()):
            for reason in ("ScalerActive", "ScalerActive", "ScalerCooldown", "ScalerNotActive"):
                api.put("scaledobjects", scaled_object("a", labels=CHAT, reason=reason))
            for replicas, at in ((1, "2026-01-01T00:00:00Z"), (3, "2026-01-01T00:00:05Z"), (0, "2026-01-01T00:00:05Z")):
                api.put("horizontalpodautoscalers", hpa("a", replicas, at))
            api.put("horizontalpodautoscalers", hpa("new", 2, None))
            api.put("horizontalpodautoscalers", hpa("new", 4, "2026-01-01T00:00:09Z"))
            async with asyncio.timeout(10):
                while len(watch.decisions) < 5:  # noqa: ASYNC110 - the watch has nothing to wait for
                    await asyncio.sleep(0)
    assert sorted(decision[1:] for decision in watch.decisions) == [
        ("chat", "hpa", "3 replicas"),
        ("chat", "keda", "ScalerActive"),
        ("chat", "keda", "ScalerCooldown"),
        ("chat", "keda", "ScalerNotActive"),
        ("new-engine", "hpa", "4 replicas"),
    ]
    assert [d.what for d in watch.decisions if d.by == "keda"] == ["ScalerActive", "ScalerCooldown", "ScalerNotActive"]


async def test_a_cluster_without_keda_has_no_cooldowns() -> None:
    async with kubernetes_api() as api, client_of(api.url) as client:
        api.absent.add("scaledobjects")
        watch = ScalerWatch(client, "inference-dev", lambda _: None)
        await watch.first_look()
        async with background(watch.run()):
            await api.until_watched("horizontalpodautoscalers")
        assert (watch.cooldowns, watch.decisions) == ({}, [])


async def test_the_cooldown_is_kedas_default_where_none_is_set() -> None:
    async with kubernetes_api() as api, client_of(api.url) as client:
        api.put("scaledobjects", scaled_object("code"))
        watch = ScalerWatch(client, "inference-dev", lambda name: name.removesuffix("-engine"))
        await watch.first_look()
    assert watch.cooldowns == {"code": 300.0}


def scaling_event(uid: str, reason: str, count: int, *, message: str = "m", series: bool = False) -> ScalingEvent:
    by = "horizontal-pod-autoscaler" if reason == "SuccessfulRescale" else "keda-operator"
    return ScalingEvent(uid, reason, "ScaledObject/chat", by, message, count, series)


def test_only_what_happened_meanwhile_counts() -> None:
    before = [
        scaling_event("1", "KEDAScaleTargetDeactivated", 1),
        scaling_event("2", "SuccessfulRescale", 5, message="New size: 3"),
    ]
    after = [
        *before[:1],
        scaling_event("2", "SuccessfulRescale", 7, message="New size: 3"),
        scaling_event("3", "SuccessfulRescale", 1, message="New size: 1"),
    ]
    decisions = [
        Decision(9.0, "chat", "keda", "ScalerActive"),
        Decision(12.0, "chat", "keda", "ScalerActive"),
        Decision(13.5, "chat", "hpa", "3 replicas"),
        Decision(14.5, "chat", "hpa", "1 replicas"),
    ]
    assert scaled_by(before, after, decisions, start=10.0) == {
        "events": {
            "SuccessfulRescale": {
                "count": 3,
                "at_least": False,
                "by": "horizontal-pod-autoscaler",
                "objects": {"ScaledObject/chat": 3},
                "messages": {"New size: 3": 2, "New size: 1": 1},
            }
        },
        "decisions": [
            [2.0, "chat", "keda", "ScalerActive"],
            [3.5, "chat", "hpa", "3 replicas"],
            [4.5, "chat", "hpa", "1 replicas"],
        ],
        "decided": {"keda ScalerActive": 1, "hpa": 2},
    }


def test_a_series_that_was_open_before_is_named_though_its_count_stands_still() -> None:
    event = scaling_event("1", "KEDAScaleTargetActivated", 2, series=True)
    entry = scaled_by([event], [event], [], start=time.monotonic())["events"]["KEDAScaleTargetActivated"]
    assert (entry["count"], entry["at_least"]) == (0, True)


def api_event(name: str, reason: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "inference-dev", "uid": name},
        "involvedObject": {"kind": "ScaledObject", "name": "chat"},
        "reason": reason,
        **more,
    }


async def test_events_of_both_recorders_are_read() -> None:
    """KEDA 2.21 writes events.k8s.io events (series, reportingComponent), the HPA legacy ones (count, source)."""
    async with kubernetes_api() as api:
        api.put(
            "events",
            api_event(
                "a",
                "KEDAScaleTargetActivated",
                message="Scaled",
                reportingComponent="keda-operator",
                series={"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"},
                eventTime="2026-01-01T00:00:00.000000Z",
            ),
        )
        api.put(
            "events",
            api_event(
                "b", "SuccessfulRescale", message="New", count=4, source={"component": "horizontal-pod-autoscaler"}
            ),
        )
        api.put("events", api_event("c", "KEDAScaleTargetDeactivated", reportingComponent="keda-operator"))
        api.put("events", api_event("d", "Scheduled", count=9))
        async with client_of(api.url) as client:
            found = await scaling_events(client, "inference-dev")
    assert [(event.uid, event.by, event.message, event.count, event.series) for event in found] == [
        ("a", "keda-operator", "Scaled", 2, True),
        ("b", "horizontal-pod-autoscaler", "New", 4, False),
        ("c", "keda-operator", "", 1, False),
    ]
