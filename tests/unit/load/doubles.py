"""Servers in this process that stand in for the gateway and for the Kubernetes API.

They prove what the load tool does with given answers, not that real servers give these answers.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from lightkube import AsyncClient, KubeConfig
from lightkube.config.models import Cluster, User

Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def event(content: dict[str, Any] | str) -> bytes:
    """One server-sent event."""
    payload = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))
    return f"data: {payload}\n\n".encode()


def answer_events(model: str, tokens: int, *, counted: int | None = None) -> list[bytes]:
    """The events of a whole streamed answer in vLLM's shape."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    count = tokens if counted is None else counted
    return [
        event({**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
        *(event({**head, "choices": [{"index": 0, "delta": {"content": " t"}}]}) for _ in range(tokens)),
        event({**head, "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": count}}),
        event("[DONE]"),
    ]


async def send_events(
    request: web.Request, events: list[bytes], *, cut: bool = False, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    """Stream events; ``cut`` drops the connection after the last instead of ending the answer."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **(headers or {})})
    await response.prepare(request)
    for one in events:
        await response.write(one)
    if cut:
        assert request.transport is not None
        request.transport.close()
    else:
        await response.write_eof()
    return response


async def whole(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """A right answer, streamed or not, marked as simulated."""
    headers = {"x-simulated": "true"}
    if body["stream"]:
        return await send_events(request, answer_events(body["model"], body["max_tokens"]), headers=headers)
    usage = {"prompt_tokens": 3, "completion_tokens": body["max_tokens"]}
    return web.json_response({"model": body["model"], "usage": usage}, headers=headers)


class Gateway:
    """Chat completions that answer as told.

    Attributes:
        url: base URL.
        bodies: the bodies received, in order.
        most_in_flight: highest number of requests that were open at once.
    """

    def __init__(self, answer: Answer) -> None:
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.most_in_flight = 0
        self.received = asyncio.Condition()
        self._answer = answer
        self._in_flight = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note the request, then answer it."""
        body = await request.json()
        async with self.received:
            self.bodies.append(body)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            self.received.notify_all()
        try:
            return await self._answer(request, body)
        finally:
            self._in_flight -= 1

    async def until_received(self, count: int) -> None:
        """Wait until ``count`` requests have come."""
        async with self.received:
            await self.received.wait_for(lambda: len(self.bodies) >= count)


@asynccontextmanager
async def gateway(answer: Answer = whole) -> AsyncIterator[Gateway]:
    """A running gateway double."""
    double = Gateway(answer)
    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/v1/chat/completions", double.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    double.url = f"http://127.0.0.1:{server.port}"
    try:
        yield double
    finally:
        await server.close()


PATHS = {
    "deployments": ("/apis/apps/v1", "Deployment"),
    "pods": ("/api/v1", "Pod"),
    "events": ("/api/v1", "Event"),
    "scaledobjects": ("/apis/keda.sh/v1alpha1", "ScaledObject"),
    "horizontalpodautoscalers": ("/apis/autoscaling/v2", "HorizontalPodAutoscaler"),
}


class KubernetesApi:
    """List and watch over objects in memory, with a resource version that grows.

    Attributes:
        url: base URL.
        lists: how often each kind was listed.
        absent: kinds that answer 404, as a kind does whose definition is not installed.
        silent_until: how often a kind is listed before its watches tell anything.
    """

    def __init__(self) -> None:
        self.url = ""
        self.lists = dict.fromkeys(PATHS, 0)
        self.absent: set[str] = set()
        self.silent_until: dict[str, int] = {}
        self._version = 1
        self._watched = asyncio.Condition()
        self._listed = asyncio.Condition()
        self._objects: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in PATHS}
        self._log: dict[str, list[tuple[int, dict[str, Any]]]] = {kind: [] for kind in PATHS}
        self._watchers: dict[str, list[asyncio.Queue[dict[str, Any] | None]]] = {kind: [] for kind in PATHS}

    def put(self, kind: str, content: dict[str, Any]) -> None:
        """Create or change an object; watchers are told."""
        name = content["metadata"]["name"]
        known = name in self._objects[kind]
        self._version += 1
        content["metadata"]["resourceVersion"] = str(self._version)
        self._objects[kind][name] = content
        self._tell(kind, "MODIFIED" if known else "ADDED", content)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object; watchers are told."""
        gone = copy.deepcopy(self._objects[kind].pop(name))
        self._version += 1
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell(kind, "DELETED", gone)

    def forget(self, kind: str, name: str) -> None:
        """Delete an object without telling anybody: what happens while a watch is down."""
        del self._objects[kind][name]

    async def until_watched(self, *kinds: str) -> None:
        """Wait until each kind is watched, at most ten seconds."""
        async with asyncio.timeout(10), self._watched:
            await self._watched.wait_for(lambda: all(self._watchers[kind] for kind in kinds))

    def end_watches_as_too_old(self) -> None:
        """Answer all watches as etcd's compaction makes the API server do."""
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired"}
        for kind, watchers in self._watchers.items():
            self._tell(kind, "ERROR", {**status, "message": "too old resource version"})
            for watcher in watchers:
                watcher.put_nowait(None)

    def _tell(self, kind: str, change: str, content: dict[str, Any]) -> None:
        if change != "ERROR":
            self._log[kind].append((self._version, {"type": change, "object": content}))
        for watcher in self._watchers[kind]:
            watcher.put_nowait({"type": change, "object": content})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """List or watch."""
        kind = request.match_info["kind"]
        if kind in self.absent:
            return web.json_response({"kind": "Status", "code": 404, "message": "no such kind"}, status=404)
        prefix, name = PATHS[kind]
        if "watch" in request.query:
            return await self._watch(request, kind)
        async with self._listed:
            self.lists[kind] += 1
            self._listed.notify_all()
        return web.json_response(
            {
                "kind": f"{name}List",
                "apiVersion": prefix.removeprefix("/apis/").removeprefix("/api/"),
                "metadata": {"resourceVersion": str(self._version)},
                "items": list(self._objects[kind].values()),
            }
        )

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        for version, earlier in self._log[kind]:
            if version > int(request.query["resourceVersion"]):
                queue.put_nowait(earlier)
        async with self._watched:
            self._watchers[kind].append(queue)
            self._watched.notify_all()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        try:
            while (change := await queue.get()) is not None:
                async with self._listed:
                    await self._listed.wait_for(lambda: self.lists[kind] >= self.silent_until.get(kind, 0))
                await response.write(json.dumps(change).encode() + b"\n")
        finally:
            self._watchers[kind].remove(queue)
        return response


@asynccontextmanager
async def kubernetes_api() -> AsyncIterator[KubernetesApi]:
    """A running API double."""
    double = KubernetesApi()
    app = web.Application()
    for kind, (prefix, _) in PATHS.items():
        app.router.add_get(f"{prefix}/namespaces/inference-dev/{{kind:{kind}}}", double.handle)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server()
    double.url = f"http://127.0.0.1:{server.port}"
    try:
        yield double
    finally:
        double.end_watches_as_too_old()
        await server.close()


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[AsyncClient]:
    """A client of an API double."""
    config = KubeConfig.from_one(cluster=Cluster(server=url), user=User(token="t"))
    client = AsyncClient(config=config.get(), trust_env=False)
    try:
        yield client
    finally:
        await client.close()


def write_kubeconfig(path: Path, server: str) -> None:
    """A kubeconfig with a token for a server."""
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )


def deployment(model: str, desired: int, ready: int, *, startup: str | None = "3.0") -> dict[str, Any]:
    """An engine Deployment as the API shows it."""
    annotations = {} if startup is None else {"simulation.inference.platform/startup-seconds": startup}
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": f"{model}-engine",
            "namespace": "inference-dev",
            "labels": {"inference.platform/component": "engine", "inference.platform/model": model},
        },
        "spec": {
            "replicas": desired,
            "selector": {"matchLabels": {"app": model}},
            "template": {
                "metadata": {"labels": {"app": model}, "annotations": annotations},
                "spec": {"containers": [{"name": "engine"}]},
            },
        },
        "status": {"readyReplicas": ready} if ready else {},
    }


def scaled_object(
    name: str, *, reason: str = "ScalerNotActive", labels: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """KEDA's object as the API shows it; it scales the Deployment ``<name>-engine``."""
    active = {"type": "Active", "status": str(reason == "ScalerActive"), "reason": reason}
    return {
        "kind": "ScaledObject",
        "apiVersion": "keda.sh/v1alpha1",
        "metadata": {"name": name, "namespace": "inference-dev", "labels": labels or {}},
        "spec": {"scaleTargetRef": {"name": f"{name}-engine"}, **spec},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "x"}, active]},
    }


def hpa(name: str, replicas: int, scaled_at: str | None) -> dict[str, Any]:
    """An HPA as the API shows it; it scales the Deployment ``<name>-engine``."""
    status: dict[str, Any] = {"currentReplicas": replicas, "desiredReplicas": replicas}
    return {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": {"name": f"keda-hpa-{name}", "namespace": "inference-dev"},
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "Deployment", "name": f"{name}-engine"}},
        "status": status if scaled_at is None else {**status, "lastScaleTime": scaled_at},
    }


def pod(model: str, name: str, *, ready: bool, phase: str = "Running") -> dict[str, Any]:
    """An engine pod as the API shows it."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "namespace": "inference-dev",
            "labels": {"inference.platform/component": "engine", "inference.platform/model": model},
        },
        "spec": {"containers": [{"name": "engine"}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }
