"""The watch of replicas against a double of the Kubernetes API.

Shows: changes only, survival of ended watches, one message for what cannot be watched. Does not show the real
API server's timing or access rules; the tests on the embedded cluster do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from load.follow import ClusterError, connect
from load.replicas import Change, ReplicaWatch, timeline
from load.run import background
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


async def test_only_changes_are_noted() -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 0, 0))
        async with watching(api) as watch:
            for desired, ready in ((1, 0), (1, 0), (1, 1), (3, 1), (0, 0)):
                api.put("deployments", deployment("chat", desired, ready))
            assert await watch.until(lambda: len(watch.changes) >= 5, DEADLINE)
            assert [change[1:] for change in watch.changes] == [
                ("chat", 0, 0),
                ("chat", 1, 0),
                ("chat", 1, 1),
                ("chat", 3, 1),
                ("chat", 0, 0),
            ]
            assert watch.startup_seconds == {"chat": "3.0"}
            assert watch.models == ["chat"]
            assert watch.model_of_deployment("chat-engine") == "chat"
            assert watch.model_of_deployment("other") is None


async def test_who_catches_up_has_seen_what_the_api_knew_at_that_moment() -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 0, 0))
        async with watching(api) as watch:
            await api.until_watched("deployments", "pods")
            api.silent_until = {"deployments": 2, "pods": 2}
            api.put("deployments", deployment("chat", 1, 1))
            api.put("pods", pod("chat", "chat-1", ready=True))
            assert (watch.counts("chat"), watch.pods("chat")) == ((0, 0), [])
            async with asyncio.timeout(DEADLINE):
                await watch.catch_up()
            assert (watch.counts("chat"), watch.pods("chat")) == ((1, 1), [True])


async def test_pods_that_exist_and_are_ready_are_noted() -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 0, 0))
        async with watching(api) as watch:
            api.put("pods", pod("chat", "chat-1", ready=False))
            api.put("pods", pod("chat", "chat-1", ready=True))
            api.put("pods", pod("chat", "chat-1", ready=True))
            api.put("pods", pod("chat", "chat-2", ready=False))
            api.delete("pods", "chat-1")
            assert await watch.until(lambda: len(watch.pod_changes) >= 4, DEADLINE)
            assert [change[1:] for change in watch.pod_changes] == [
                ("chat", 1, 0),
                ("chat", 1, 1),
                ("chat", 2, 1),
                ("chat", 1, 0),
            ]


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
