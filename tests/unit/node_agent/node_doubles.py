"""Doubles for the node agent's tests: an API server in memory, pods, and a loop in virtual time."""

# ruff: noqa: ARG002 - the API server in memory takes the same arguments as the real one

from __future__ import annotations

import asyncio
import base64
import copy
import ipaddress
import selectors
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Node, Pod, Secret

from local.node_agent.actions import http_client
from local.node_agent.addresses import PodAddresses
from local.node_agent.agent import Agent
from local.node_agent.images import ImageTable
from local.node_agent.kubernetes import ObjectGoneError, Token
from local.node_agent.service_account import ApiEndpoint
from local.node_agent.surroundings import Surroundings

T = TypeVar("T")

DEADLINE_SECONDS = 20.0
IMAGE = "test/program:v1"
# Below 127.0.0.0/8 every address can be bound without any set-up.
POD_NETWORK = ipaddress.IPv4Network("127.77.0.0/24")
HOST_IP = "10.244.255.1"

TABLE = ImageTable.model_validate(
    {
        "images": {
            "test/program": {
                "runs": "simulated",
                "description": "whatever a test needs",
                "entrypoint": ["python3"],
                "programs": {"python3": [sys.executable]},
            }
        }
    }
)


def make_pod(name: str = "web", *, uid: str | None = None, **spec: Any) -> Pod:
    """A pod with one container ``main``, as the API server would complete it.

    Args:
        name: its name, in namespace ``shop``.
        uid: default: made from the name.
        spec: fields of the spec; ``container`` is merged into the container, ``metadata`` into the metadata.
    """
    container = {"name": "main", "image": IMAGE, **spec.pop("container", {})}
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": uid or f"uid-{name}",
        "generation": 1,
        **spec.pop("metadata", {}),
    }
    defaults = {
        "nodeName": "gpu-0",
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "serviceAccountName": "default",
        "containers": [container],
    }
    return parsed(Pod, {"metadata": metadata, "spec": defaults | spec})


def parsed(kind: type[T], body: Any) -> T:
    """An object of the API from its JSON."""
    return msgspec.convert(body, kind)


def script(text: str) -> dict[str, Any]:
    """A container that runs a Python program."""
    return {"command": ["python3", "-c", text]}


SLEEP = script("import time; time.sleep(1000)")


async def eventually(condition: Callable[[], T | None], what: str = "the condition") -> T:
    """Wait until ``condition`` gives something true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_SECONDS
    while True:
        result = condition()
        if result:
            return result
        assert loop.time() < deadline, f"{what} did not come true within {DEADLINE_SECONDS:g} s"
        await asyncio.sleep(0.005)


class FakeApi:
    """An API server in memory; ``outage`` makes it refuse everything and break its watches.

    Attributes:
        pods: by uid, as plain JSON.
        patches: every status patch: pod's name and body.
        deleted: names of the pods that the agent removed.
        events: reasons and messages of recorded events.
    """

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.config_maps: dict[str, dict[str, str]] = {}
        self.secrets: dict[str, dict[str, bytes]] = {}
        self.patches: list[tuple[str, dict[str, Any]]] = []
        self.deleted: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.tokens = 0
        self.outage = False
        self._watchers: set[asyncio.Queue[tuple[str, str, dict[str, Any]] | None]] = set()

    # --- what tests do ------------------------------------------------------------------------------

    def add_node(self, name: str = "gpu-0", *, fake: bool = True, labels: Mapping[str, str] | None = None) -> None:
        """A node of KWOK's, or one that is not."""
        annotations = {"kwok.x-k8s.io/node": "fake"} if fake else {}
        self.nodes[name] = {
            "metadata": {"name": name, "annotations": annotations, "labels": dict(labels or {})},
            "status": {"addresses": [{"type": "InternalIP", "address": HOST_IP}], "allocatable": {"cpu": "8"}},
        }
        self._tell("node", "ADDED", self.nodes[name])

    def add_pod(self, pod: Pod) -> None:
        """A pod that the scheduler has bound."""
        body = pod.to_dict()
        scheduled = {"type": "PodScheduled", "status": "True"}
        body.setdefault("status", {"phase": "Pending", "conditions": [scheduled]})
        self.pods[body["metadata"]["uid"]] = body
        self._tell("pod", "ADDED", body)

    def begin_deletion(self, name: str, grace: int = 30) -> None:
        """`kubectl delete pod`."""
        body = self.pod(name)
        end = datetime.now(UTC) + timedelta(seconds=grace)
        body["metadata"]["deletionTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
        body["metadata"]["deletionGracePeriodSeconds"] = grace
        self._tell("pod", "MODIFIED", body)

    def remove(self, name: str) -> None:
        """`kubectl delete pod --force`: the object is gone without the agent."""
        body = self.pod(name)
        del self.pods[body["metadata"]["uid"]]
        self._tell("pod", "DELETED", body)

    def break_watches(self) -> None:
        """What clients see of a restart of the API server."""
        for watcher in self._watchers:
            watcher.put_nowait(None)

    def pod(self, name: str) -> dict[str, Any]:
        """The pod's JSON."""
        return next(body for body in self.pods.values() if body["metadata"]["name"] == name)

    def status(self, name: str) -> dict[str, Any]:
        """The pod's status."""
        status: dict[str, Any] = self.pod(name).get("status", {})
        return status

    def container(self, name: str, container: str = "main") -> dict[str, Any]:
        """The container's status; empty before there is one."""
        statuses = self.status(name).get("containerStatuses", [])
        return next((status for status in statuses if status["name"] == container), {})

    def condition(self, name: str, kind: str) -> str | None:
        """The status of one condition."""
        conditions = self.status(name).get("conditions", [])
        return next((condition["status"] for condition in conditions if condition["type"] == kind), None)

    # --- KubernetesApi ------------------------------------------------------------------------------

    async def list_pods(self) -> tuple[list[Pod], str]:
        self._reachable()
        return [parsed(Pod, copy.deepcopy(body)) for body in self.pods.values()], "1"

    async def watch_pods(self, version: str) -> AsyncIterator[tuple[str, Pod]]:
        async for kind, body in self._watch("pod"):
            yield kind, parsed(Pod, body)

    async def list_nodes(self) -> tuple[list[Node], str]:
        self._reachable()
        return [parsed(Node, copy.deepcopy(body)) for body in self.nodes.values()], "1"

    async def watch_nodes(self, version: str) -> AsyncIterator[tuple[str, Node]]:
        async for kind, body in self._watch("node"):
            yield kind, parsed(Node, body)

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        self._reachable()
        data = self.config_maps.get(f"{namespace}/{name}")
        return None if data is None else ConfigMap(data=data)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        self._reachable()
        data = self.secrets.get(f"{namespace}/{name}")
        if data is None:
            return None
        return Secret(data={key: base64.b64encode(value).decode() for key, value in data.items()})

    async def patch_pod_status(self, pod: ObjectMeta, status: dict[str, Any]) -> None:
        self._reachable()
        body = self.pods.get(pod.uid or "")
        if body is None:
            raise ObjectGoneError("pods not found")
        self.patches.append((pod.name or "", copy.deepcopy(status)))
        body["status"] = _merged(body.get("status", {}), status)
        self._tell("pod", "MODIFIED", body)

    async def delete_pod(self, pod: ObjectMeta) -> None:
        self._reachable()
        body = self.pods.pop(pod.uid or "", None)
        if body is None:
            raise ObjectGoneError("pods not found")
        self.deleted.append(pod.name or "")
        self._tell("pod", "DELETED", body)

    async def request_token(self, pod: Pod, audience: str | None, expiration_seconds: int | None) -> Token:
        self._reachable()
        self.tokens += 1
        expires = datetime.now(UTC) + timedelta(seconds=expiration_seconds or 3600)
        return Token(f"token-{self.tokens}-for-{audience}", expires)

    async def record_event(self, pod: ObjectMeta, kind: str, reason: str, message: str) -> None:
        self._reachable()
        self.events.append((reason, message))

    # --- inside -------------------------------------------------------------------------------------

    def _reachable(self) -> None:
        if self.outage:
            raise httpx2.ConnectError("connection refused")

    def _tell(self, what: str, kind: str, body: dict[str, Any]) -> None:
        for watcher in self._watchers:
            watcher.put_nowait((what, kind, copy.deepcopy(body)))

    async def _watch(self, what: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        self._reachable()
        queue: asyncio.Queue[tuple[str, str, dict[str, Any]] | None] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            while (event := await queue.get()) is not None:
                if event[0] == what:
                    yield event[1], event[2]
            raise httpx2.ReadError("connection reset")
        finally:
            self._watchers.discard(queue)


def _merged(before: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Strategic merge of a status: conditions by type, the rest replaced, None removed."""
    conditions = {condition["type"]: condition for condition in before.get("conditions", [])}
    for condition in patch.get("conditions", []):
        merged = conditions.get(condition["type"], {}) | condition
        conditions[condition["type"]] = {name: value for name, value in merged.items() if value is not None}
    result = before | patch | {"conditions": list(conditions.values())}
    return {name: value for name, value in result.items() if value is not None}


@asynccontextmanager
async def running_agent(api: FakeApi, state: Path, *, backoff: float = 0.05) -> AsyncIterator[Agent]:
    """An agent at work; afterwards it has gone, as if it had been stopped, and left its processes."""
    (state / "pods").mkdir(parents=True, exist_ok=True)
    async with http_client() as http:
        surroundings = Surroundings(
            api=api,
            table=TABLE,
            addresses=PodAddresses(POD_NETWORK, state / "addresses.json"),
            state=state,
            endpoint=ApiEndpoint("https://10.244.255.1:6443", b"authority"),
            http=http,
            initial_backoff=backoff,
        )
        agent = Agent(surroundings, {}, HOST_IP)
        task = asyncio.create_task(agent.run())
        try:
            yield agent
            assert not task.done(), "the agent has ended by itself"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def new_state(tmp_path: Path) -> Path:
    """A state directory."""
    return tmp_path / f"state-{uuid.uuid4().hex[:8]}"


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__(_VirtualSelector(self))
        self.virtual = 0.0

    def time(self) -> float:
        return self.virtual


class _VirtualSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._virtual_loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen: the test waits for something that cannot come"
        self._virtual_loop.virtual += timeout
        return super().select(0)


def in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a loop in virtual time, which starts at 0."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(work)
