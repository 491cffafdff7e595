"""The watch of replicas and the proof of who scaled, against a double of the Kubernetes API.

Shows: changes only, writers from managed fields, survival of ended watches. Does not show the real API
server's timing, access rules or managed fields; the tests on the embedded cluster do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lightkube.models.meta_v1 import ManagedFieldsEntry

from load.replicas import Change, ReplicaWatch, connect, timeline
from load.run import background
from load.scaling import (
    ClusterError,
    Rescale,
    ScalingEvent,
    cooldowns,
    replicas_writer,
    scaled_by,
    scaling_events,
)
from tests.unit.load.doubles import KubernetesApi, client_of, deployment, kubernetes_api, pod, write_kubeconfig

pytestmark = pytest.mark.unit

DEADLINE = 10.0


@asynccontextmanager
async def watching(api: KubernetesApi) -> AsyncIterator[ReplicaWatch]:
    async with client_of(api.url) as client:
        watch = ReplicaWatch(client, "inference-dev")
        await watch.first_look()
        async with background(watch.run()):
            yield watch


async def test_only_changes_are_noted_with_the_writer_of_each() -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 0, 0))
        async with watching(api) as watch:
            for desired, ready, writer in (
                (1, 0, "keda"),
                (1, 0, "keda"),
                (1, 1, "keda"),
                (3, 1, "kube-controller-manager"),
                (0, 0, "keda"),
            ):
                api.put("deployments", deployment("chat", desired, ready, writer=writer))
            assert await watch.until(lambda: len(watch.changes) >= 5, DEADLINE)
            assert [change[1:] for change in watch.changes] == [
                ("chat", 0, 0),
                ("chat", 1, 0),
                ("chat", 1, 1),
                ("chat", 3, 1),
                ("chat", 0, 0),
            ]
            assert [change[1:] for change in watch.rescales] == [
                ("chat", 0, 1, "keda"),
                ("chat", 1, 3, "kube-controller-manager"),
                ("chat", 3, 0, "keda"),
            ]
            assert watch.startup_seconds == {"chat": "3.0"}
            assert watch.models == ["chat"]


async def test_a_model_is_at_zero_when_no_pod_is_left() -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 0, 0))
        api.put("pods", pod("chat", "chat-1", ready=True))
        async with watching(api) as watch:
            assert (watch.pods("chat"), watch.at_zero("chat")) == ([True], False)
            api.put("pods", pod("chat", "chat-1", ready=False))
            assert await watch.until(lambda: watch.pods("chat") == [False], DEADLINE)
            api.delete("pods", "chat-1")
            assert await watch.until(lambda: watch.at_zero("chat"), DEADLINE)


async def test_a_pod_that_ended_keeps_no_model_from_zero() -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 0, 0))
        api.put("pods", pod("chat", "evicted", ready=False, phase="Failed"))
        async with watching(api) as watch:
            assert watch.at_zero("chat")


async def test_what_happened_while_the_watch_was_down_is_seen_afterwards() -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 1, 1))
        api.put("pods", pod("chat", "chat-1", ready=True))
        async with watching(api) as watch:
            await api.until_watched("deployments", "pods")
            api.forget("pods", "chat-1")
            api.end_watches_as_too_old()
            assert await watch.until(lambda: watch.pods("chat") == [], DEADLINE)
            api.put("deployments", deployment("chat", 0, 0))
            assert await watch.until(lambda: watch.at_zero("chat"), DEADLINE)
            assert watch.trouble is None


async def test_waiting_for_what_never_comes_ends() -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 1, 1))
        async with watching(api) as watch:
            assert not await watch.until(lambda: watch.at_zero("chat"), 0.05)


async def test_an_api_that_does_not_answer_is_one_message() -> None:
    async with kubernetes_api() as api:
        url = api.url
    async with client_of(url) as client:
        with pytest.raises(ClusterError) as caught:
            await ReplicaWatch(client, "inference-dev").first_look()
    assert str(caught.value).startswith(f"the Kubernetes API at {url} does not answer as it should (")
    assert str(caught.value).endswith("): run `make up`, or check --kubeconfig and --namespace")


@pytest.mark.parametrize("content", [None, "", "- a list", "clusters: []", "a: {b", "clusters: [{name: x}]"])
async def test_a_kubeconfig_that_is_none_is_one_message(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ClusterError) as caught:
        async with connect(path):
            pass
    assert str(caught.value).startswith(f"{path}: not a usable kubeconfig (")
    assert str(caught.value).endswith("): run `make up`, or check --kubeconfig")


async def test_a_kubeconfig_leads_to_its_server(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "https://127.0.0.1:6443")
    async with connect(path) as client:
        assert client.config.cluster.server == "https://127.0.0.1:6443"


def test_the_timeline_begins_with_the_state_at_the_start() -> None:
    changes = [Change(1.0, "chat", 0, 0), Change(4.0, "chat", 2, 0), Change(6.5, "chat", 2, 1)]
    assert timeline(changes, ["chat", "code"], 5.0) == {"chat": [[0.0, 2, 0], [1.5, 2, 1]], "code": []}


async def test_replicas_of_several_deployments_of_a_model_add_up() -> None:
    async with kubernetes_api() as api:
        for name, model, desired, ready in (("p", "chat", 2, 1), ("d", "chat", 1, 1), ("c", "code", 5, 5)):
            content = deployment(model, desired, ready)
            content["metadata"]["name"] = name
            api.put("deployments", content)
        async with watching(api) as watch:
            assert watch.counts("chat") == (3, 2)
            assert watch.models == ["chat", "code"]


def managed(manager: str, second: int, fields: dict[str, Any]) -> ManagedFieldsEntry:
    return ManagedFieldsEntry(manager=manager, time=datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), fieldsV1=fields)


def test_the_latest_owner_of_the_replicas_wrote_them() -> None:
    owns: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    entries = [
        managed("pulumi", 1, owns),
        managed("keda", 2, owns),
        managed("kube-controller-manager", 3, {"f:status": {"f:replicas": {}}}),
    ]
    assert replicas_writer(entries) == "keda"
    assert replicas_writer(entries[2:]) == replicas_writer([]) == "unknown"


def scaling_event(uid: str, reason: str, count: int, message: str = "m", by: str = "keda-operator") -> ScalingEvent:
    return ScalingEvent(uid, reason, "ScaledObject/chat", by, message, count)


def test_only_what_happened_meanwhile_proves_who_scaled() -> None:
    before = [scaling_event("1", "KEDAScaleTargetActivated", 2), scaling_event("2", "SuccessfulRescale", 5)]
    after = [
        scaling_event("1", "KEDAScaleTargetActivated", 2),
        scaling_event("2", "SuccessfulRescale", 7, "New size: 3", "horizontal-pod-autoscaler"),
        scaling_event("3", "SuccessfulRescale", 1, "New size: 1", "horizontal-pod-autoscaler"),
    ]
    rescales = [Rescale(12.0, "chat", 0, 1, "keda"), Rescale(13.5, "chat", 1, 3, "kube-controller-manager")]
    assert scaled_by(before, after, rescales, start=10.0) == {
        "events": {
            "SuccessfulRescale": {
                "count": 3,
                "by": "horizontal-pod-autoscaler",
                "objects": {"ScaledObject/chat": 3},
                "messages": {"New size: 3": 2, "New size: 1": 1},
            }
        },
        "writers": {"keda": 1, "kube-controller-manager": 1},
        "changes": [[2.0, "chat", 0, 1, "keda"], [3.5, "chat", 1, 3, "kube-controller-manager"]],
    }


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
    assert [(event.uid, event.by, event.message, event.count) for event in found] == [
        ("a", "keda-operator", "Scaled", 2),
        ("b", "horizontal-pod-autoscaler", "New", 4),
        ("c", "keda-operator", "", 1),
    ]


async def test_cooldowns_come_from_the_scaled_objects_of_each_model() -> None:
    async with kubernetes_api() as api, client_of(api.url) as client:
        for name, labels, spec in (
            ("a", {"inference.platform/model": "chat"}, {"cooldownPeriod": 25}),
            ("b", {}, {"scaleTargetRef": {"name": "code"}}),
        ):
            target = {"scaleTargetRef": {"name": "ignored"}}
            api.put(
                "scaledobjects",
                {
                    "kind": "ScaledObject",
                    "apiVersion": "keda.sh/v1alpha1",
                    "metadata": {"name": name, "labels": labels},
                    "spec": {**target, **spec},
                },
            )
        # 300 s is KEDA's own default.
        assert await cooldowns(client, "inference-dev") == {"chat": 25.0, "code": 300.0}
        api.absent.add("scaledobjects")
        assert await cooldowns(client, "inference-dev") == {}
