"""What the cluster does meanwhile: the replicas and pods of each model, by watch; reads only.

Objects are found by their labels ``inference.platform/component: engine`` and
``inference.platform/model``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import httpx2  # lightkube's HTTP client: its errors are the ones that reach us
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ConfigError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from load.scaling import MODEL_LABEL, ClusterError, Rescale, reason_of, replicas_writer

COMPONENT_LABEL: Final = "inference.platform/component"
ENGINES: Final = {COMPONENT_LABEL: "engine"}
STARTUP_ANNOTATION: Final = "simulation.inference.platform/startup-seconds"
_RETRY_SECONDS: Final = 0.5
# Pods that keep their record but run nothing any more.
_ENDED: Final = ("Succeeded", "Failed")

_Object = TypeVar("_Object", Deployment, Pod)


class Change(NamedTuple):
    """Replicas of one model from ``at`` (clock) on."""

    at: float
    model: str
    desired: int
    ready: int


class PodChange(NamedTuple):
    """Pods of one model from ``at`` (clock) on: how many exist, and how many of them are ready."""

    at: float
    model: str
    existing: int
    ready: int


class Counts(NamedTuple):
    """Replicas of one engine Deployment."""

    desired: int
    ready: int


class ReplicaWatch:
    """Follows the engine Deployments and pods of a namespace.

    Attributes:
        changes: of desired or ready replicas, oldest first; never two alike in a row for a model.
        pod_changes: of the pods that exist or are ready, likewise.
        rescales: of ``spec.replicas``, oldest first.
        trouble: last error of the API, ``None`` while all is well.
        startup_seconds: simulated start-up time by model, as the engine Deployment states it.
    """

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self.changes: list[Change] = []
        self.pod_changes: list[PodChange] = []
        self.rescales: list[Rescale] = []
        self.trouble: str | None = None
        self.startup_seconds: dict[str, str] = {}
        self._client = client
        self._namespace = namespace
        self._deployments: dict[str, tuple[str, Counts]] = {}
        self._pods: dict[str, tuple[str, bool]] = {}
        self._versions: dict[type[Deployment | Pod], str] = {}
        self._changed = asyncio.Event()

    @property
    def models(self) -> list[str]:
        """Models that have an engine Deployment, sorted."""
        return sorted({model for model, _ in self._deployments.values()})

    def counts(self, model: str) -> Counts:
        """Replicas of a model now, over all its Deployments."""
        own = [counts for name, counts in self._deployments.values() if name == model]
        return Counts(sum(counts.desired for counts in own), sum(counts.ready for counts in own))

    def pods(self, model: str) -> list[bool]:
        """One entry for each pod of a model that exists: is it ready."""
        return [ready for name, ready in self._pods.values() if name == model]

    def at_zero(self, model: str) -> bool:
        """No replica is wanted and no pod is left."""
        return self.counts(model).desired == 0 and not self.pods(model)

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition over the watched state; ``False`` when it did not hold within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def first_look(self) -> None:
        """Read the state once.

        Raises:
            ClusterError: the API cannot be reached or refuses.
        """
        try:
            self._versions[Deployment] = await self._list(Deployment, self._saw_deployment)
            self._versions[Pod] = await self._list(Pod, self._saw_pod)
        except (httpx2.HTTPError, OSError) as error:
            raise ClusterError(
                f"the Kubernetes API at {self._client.config.cluster.server} does not answer as it should "
                f"({reason_of(error)}): run `make up`, or check --kubeconfig and --namespace"
            ) from None

    async def run(self) -> None:
        """Follow the state until cancelled; outlives restarts of the API server."""
        async with asyncio.TaskGroup() as watches:
            watches.create_task(self._follow(Deployment, self._saw_deployment, self._deployments))
            watches.create_task(self._follow(Pod, self._saw_pod, self._pods))

    async def _follow(self, kind: type[_Object], saw: Callable[[_Object], None], known: dict[str, Any]) -> None:
        while True:
            try:
                # From where the first look ended, then from a new list after each trouble: nothing is missed.
                version = self._versions.pop(kind, None) or await self._list(kind, saw, known)
                self.trouble = None
                watch = self._client.watch(
                    kind, namespace=self._namespace, labels=dict(ENGINES), resource_version=version
                )
                async for event, item in watch:
                    if event == "DELETED":
                        self._lost(known, str(item.metadata and item.metadata.name))
                    elif event != "BOOKMARK":
                        saw(item)
            except (httpx2.HTTPError, OSError) as error:
                # The API server restarts or the version is too old: what changed meanwhile is in a new list.
                self.trouble = reason_of(error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _list(
        self, kind: type[_Object], saw: Callable[[_Object], None], known: dict[str, Any] | None = None
    ) -> str:
        listing = self._client.list(kind, namespace=self._namespace, labels=dict(ENGINES))
        items = [item async for item in listing]
        for item in items:
            saw(item)
        for name in set(known or ()) - {str(item.metadata and item.metadata.name) for item in items}:
            self._lost(known or {}, name)
        return listing.resourceVersion

    def _saw_deployment(self, item: Deployment) -> None:
        metadata, spec, status = item.metadata, item.spec, item.status
        if metadata is None or spec is None:
            return
        name, model = str(metadata.name), _model_of(metadata)
        desired = 1 if spec.replicas is None else spec.replicas
        before = self._deployments.get(name)
        self._deployments[name] = (model, Counts(desired, (status.readyReplicas if status else None) or 0))
        annotations = (spec.template.metadata.annotations if spec.template.metadata else None) or {}
        if STARTUP_ANNOTATION in annotations:
            self.startup_seconds[model] = annotations[STARTUP_ANNOTATION]
        if before is not None and before[1].desired != desired:
            writer = replicas_writer(metadata.managedFields or [])
            self.rescales.append(Rescale(time.monotonic(), model, before[1].desired, desired, writer))
        self._note(model)

    def _saw_pod(self, item: Pod) -> None:
        if item.metadata is None:
            return
        if item.status is not None and item.status.phase in _ENDED:
            self._lost(self._pods, str(item.metadata.name))
            return
        conditions = (item.status.conditions if item.status else None) or []
        ready = any(condition.type == "Ready" and condition.status == "True" for condition in conditions)
        model = _model_of(item.metadata)
        self._pods[str(item.metadata.name)] = (model, ready)
        self._note_pods(model)

    def _lost(self, known: dict[str, Any], name: str) -> None:
        gone = known.pop(name, None)
        if gone is not None:
            note = self._note if known is self._deployments else self._note_pods
            note(gone[0])

    def _note(self, model: str) -> None:
        change = Change(time.monotonic(), model, *self.counts(model))
        if _last_of(model, self.changes) != change[2:]:
            self.changes.append(change)
        self._changed.set()

    def _note_pods(self, model: str) -> None:
        pods = self.pods(model)
        change = PodChange(time.monotonic(), model, len(pods), sum(pods))
        if _last_of(model, self.pod_changes) != change[2:]:
            self.pod_changes.append(change)
        self._changed.set()


def _last_of(model: str, changes: Sequence[Change | PodChange]) -> tuple[int, int] | None:
    """The counts that a model had last."""
    return next((change[2:] for change in reversed(changes) if change.model == model), None)


def timeline(changes: list[Change], models: list[str], start: float) -> dict[str, list[list[float]]]:
    """``[[t, desired, ready], ...]`` by model, ``t`` in seconds after ``start`` (clock), where it begins."""
    lines: dict[str, list[list[float]]] = {model: [] for model in models}
    for change in changes:
        line = lines.setdefault(change.model, [])
        if change.at <= start:
            line.clear()
        line.append([round(max(0.0, change.at - start), 3), change.desired, change.ready])
    return lines


@asynccontextmanager
async def connect(kubeconfig: Path) -> AsyncIterator[AsyncClient]:
    """A client of the cluster that a kubeconfig names.

    Raises:
        ClusterError: no such file, or not a kubeconfig.
    """
    try:
        client = AsyncClient(config=KubeConfig.from_file(kubeconfig).get(), trust_env=False)
    except Exception as error:
        # lightkube checks a kubeconfig by what then fails: a lookup, an assertion, a certificate's decoding.
        reason = str(error) if isinstance(error, ConfigError) else f"{type(error).__name__}: {error}"
        raise ClusterError(
            f"{kubeconfig}: not a usable kubeconfig ({reason}): run `make up`, or check --kubeconfig"
        ) from None
    try:
        yield client
    finally:
        await client.close()


def _model_of(metadata: ObjectMeta) -> str:
    return str((metadata.labels or {}).get(MODEL_LABEL) or metadata.name)
