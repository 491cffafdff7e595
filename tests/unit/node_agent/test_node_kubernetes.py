"""What goes over the wire to the API server, and how an informer comes through its failures.

Not proven here: TLS and client certificates, and the real API server's answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from aiohttp import web
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import Cluster, User

from local.node_agent.fields import meta
from local.node_agent.informer import Changed, Listed, follow
from local.node_agent.kubernetes import LightkubeApi, ObjectGoneError, Token
from tests.unit.node_agent.node_doubles import make_pod

pytestmark = pytest.mark.unit

PODS = "/api/v1/pods"
POD = "/api/v1/namespaces/shop/pods/web"


@dataclass
class Recorded:
    """An HTTP server that notes requests and gives prepared answers, in order, per method and path."""

    answers: dict[tuple[str, str], list[tuple[int, Any]]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, *answers: tuple[int, Any]) -> None:
        self.answers[method, path] = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else None
        kind = request.headers.get("Content-Type", "")
        self.requests.append((request.method, request.path, dict(request.query), kind, body))
        key = ("WATCH" if "watch" in request.query else request.method, request.path)
        status, answer = self.answers[key].pop(0)
        if key[0] != "WATCH" or status != 200:
            # Without a charset, as the API server says it: the client takes errors apart only then.
            headers = {"Content-Type": "application/json"}
            return web.Response(body=json.dumps(answer).encode(), status=status, headers=headers)
        response = web.StreamResponse()
        await response.prepare(request)
        for event in answer:
            await response.write(json.dumps(event).encode() + b"\n")
        return response


@pytest.fixture
def server() -> Recorded:
    return Recorded()


@pytest.fixture
async def client(server: Recorded) -> AsyncIterator[LightkubeApi]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api = LightkubeApi(config(f"http://127.0.0.1:{runner.addresses[0][1]}"))
    yield api
    await api.aclose()
    await runner.cleanup()


def config(server: str) -> SingleConfig:
    single = KubeConfig.from_one(cluster=Cluster(server=server), user=User(token="secret")).get()
    assert single is not None
    return single


def failure(code: int, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}


def event(kind: str, name: str, version: str) -> dict[str, Any]:
    body = make_pod(name).to_dict()
    body["metadata"]["resourceVersion"] = version
    return {"type": kind, "object": body}


def listing(version: str, *names: str) -> tuple[int, dict[str, Any]]:
    return 200, {"metadata": {"resourceVersion": version}, "items": [make_pod(name).to_dict() for name in names]}


async def test_a_status_is_patched_strategically_for_one_uid_only(server: Recorded, client: LightkubeApi) -> None:
    server.answer("PATCH", f"{POD}/status", (200, make_pod().to_dict()))
    await client.patch_pod_status(meta(make_pod()), {"phase": "Running", "podIP": None})
    body = {"metadata": {"uid": "uid-web"}, "status": {"phase": "Running", "podIP": None}}
    kind = "application/strategic-merge-patch+json"
    assert server.requests == [("PATCH", f"{POD}/status", {}, kind, body)]


async def test_a_pod_is_deleted_at_once_for_one_uid_only(server: Recorded, client: LightkubeApi) -> None:
    server.answer("DELETE", POD, (200, {"kind": "Status", "status": "Success"}))
    await client.delete_pod(meta(make_pod()))
    body = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "uid-web"},
    }
    assert server.requests == [("DELETE", POD, {}, "application/json", body)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failure(404, 'pods "web" not found'), ObjectGoneError),
        (failure(409, "Precondition failed: UID in precondition: a, UID in object meta: b"), ObjectGoneError),
        (failure(409, "the object has been modified"), httpx2.HTTPStatusError),
        (failure(403, "forbidden"), httpx2.HTTPStatusError),
        (failure(500, "etcd is away"), httpx2.HTTPStatusError),
    ],
)
async def test_gone_is_told_from_worth_a_retry(
    server: Recorded, client: LightkubeApi, answer: tuple[int, Any], error: type[Exception]
) -> None:
    server.answer("DELETE", POD, answer)
    server.answer("PATCH", f"{POD}/status", answer)
    with pytest.raises(error):
        await client.delete_pod(meta(make_pod()))
    with pytest.raises(error):
        await client.patch_pod_status(meta(make_pod()), {})


async def test_configmaps_and_secrets_that_do_not_exist(server: Recorded, client: LightkubeApi) -> None:
    path = "/api/v1/namespaces/shop"
    server.answer("GET", f"{path}/configmaps/c", failure(404, "no"), (200, {"data": {"a": "1"}}), failure(403, "no"))
    server.answer("GET", f"{path}/secrets/s", failure(404, "no"), (200, {"data": {"a": "MQ=="}}))
    assert await client.config_map("shop", "c") is None
    found = await client.config_map("shop", "c")
    assert found is not None
    assert found.data == {"a": "1"}
    with pytest.raises(httpx2.HTTPStatusError):
        await client.config_map("shop", "c")
    assert await client.secret("shop", "s") is None
    secret = await client.secret("shop", "s")
    assert secret is not None
    assert secret.data == {"a": "MQ=="}


async def test_a_token_is_bound_to_its_pod(server: Recorded, client: LightkubeApi) -> None:
    path = "/api/v1/namespaces/shop/serviceaccounts/default/token"
    status = {"token": "abc", "expirationTimestamp": "2026-01-01T00:00:00Z"}
    server.answer("POST", path, (201, {"spec": {"audiences": []}, "status": status}))
    token = await client.request_token(make_pod(), "vault", 3607)
    assert token == Token("abc", datetime(2026, 1, 1, tzinfo=UTC))
    assert server.requests[0][4]["spec"] == {
        "audiences": ["vault"],
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "uid-web"},
        "expirationSeconds": 3607,
    }


async def test_an_event_names_its_pod(server: Recorded, client: LightkubeApi) -> None:
    path = "/api/v1/namespaces/shop/events"
    server.answer("POST", path, (201, {"metadata": {}, "involvedObject": {}}))
    await client.record_event(meta(make_pod()), "Warning", "BackOff", "back-off 1s")
    body = server.requests[0][4]
    assert body["metadata"]["name"].startswith("web.")
    assert body["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "web",
        "namespace": "shop",
        "uid": "uid-web",
    }
    assert [body[name] for name in ("type", "reason", "message", "count")] == ["Warning", "BackOff", "back-off 1s", 1]


async def first(count: int, client: LightkubeApi) -> list[Any]:
    """The first news about pods: names of a list, or kind and name of a change."""
    news: list[Any] = []
    async for item in follow("pods", client.list_pods, client.watch_pods):
        if isinstance(item, Listed):
            news.append([meta(pod).name for pod in item.objects])
        else:
            assert isinstance(item, Changed)
            news.append((item.kind, meta(item.item).name))
        if len(news) == count:
            return news
    raise AssertionError("it must never end")


async def test_an_informer_lists_again_when_its_version_is_too_old(server: Recorded, client: LightkubeApi) -> None:
    server.answer("GET", PODS, listing("5", "a"), listing("9", "a", "b"))
    gone = {"type": "ERROR", "object": failure(410, "too old resource version")[1]}
    server.answer("WATCH", PODS, (200, [event("ADDED", "b", "6"), gone]), (200, [event("MODIFIED", "a", "10")]))
    async with asyncio.timeout(10):
        assert await first(4, client) == [["a"], ("ADDED", "b"), ["a", "b"], ("MODIFIED", "a")]
    queries = [query for _, _, query, _, _ in server.requests]
    assert [query["fieldSelector"] for query in queries] == ["spec.nodeName!="] * 4
    assert [query.get("resourceVersion") for query in queries] == [None, "5", None, "9"]


async def test_an_informer_goes_on_from_its_version_when_the_server_ends_the_watch(
    server: Recorded, client: LightkubeApi
) -> None:
    server.answer("GET", PODS, listing("5"))
    server.answer("WATCH", PODS, (200, [event("ADDED", "a", "6")]), (200, [event("DELETED", "a", "7")]))
    async with asyncio.timeout(10):
        assert await first(3, client) == [[], ("ADDED", "a"), ("DELETED", "a")]
    assert [query.get("resourceVersion") for _, _, query, _, _ in server.requests] == [None, "5", "6"]


async def test_an_informer_waits_for_a_server_that_refuses(server: Recorded, client: LightkubeApi) -> None:
    server.answer("GET", PODS, failure(503, "starting"), failure(403, "RBAC is not there yet"), listing("5", "a"))
    async with asyncio.timeout(10):
        assert await first(1, client) == [["a"]]


async def test_nobody_listens() -> None:
    api = LightkubeApi(config("http://127.0.0.1:1"))
    calls: list[Callable[[], Any]] = [api.list_pods, lambda: api.config_map("shop", "c")]
    for call in calls:
        with pytest.raises(httpx2.ConnectError):
            await call()
    await api.aclose()
