"""What the cluster does meanwhile: the replicas and pods of each model, by watch; reads only.

Objects are found by their labels ``inference.platform/component: engine`` and
``inference.platform/model``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from lightkube import AsyncClient
from lightkube.core.client import LabelSelector
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from load.follow import Follower, model_of

COMPONENT_LABEL: Final = "inference.platform/component"
ENGINES: Final = {COMPONENT_LABEL: "engine"}
STARTUP_ANNOTATION: Final = "simulation.inference.platform/startup-seconds"
# Pods that keep their record but run nothing any more.
_ENDED: Final = ("Succeeded", "Failed")


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
        startup_seconds: simulated start-up time by model, as the engine Deployment states it.
    """

    def __init__(self, client: AsyncClient, namespace: str) -> None:
        self.changes: list[Change] = []
        self.pod_changes: list[PodChange] = []
        self.startup_seconds: dict[str, str] = {}
        self._deployments: dict[str, tuple[str, Counts]] = {}
        self._pods: dict[str, tuple[str, bool]] = {}
        self._changed = asyncio.Event()
        engines: LabelSelector = dict(ENGINES)
        self._follow_deployments: Follower[Deployment] = Follower(
            client, Deployment, namespace, self._saw_deployment, self._lost_deployment, engines
        )
        self._follow_pods: Follower[Pod] = Follower(client, Pod, namespace, self._saw_pod, self._lost_pod, engines)

    @property
    def models(self) -> list[str]:
        """Models that have an engine Deployment, sorted."""
        return sorted({model for model, _ in self._deployments.values()})

    @property
    def trouble(self) -> str | None:
        """Last error of the API, ``None`` while all is well."""
        return self._follow_deployments.trouble or self._follow_pods.trouble

    def model_of_deployment(self, name: str) -> str | None:
        """The model that an engine Deployment serves."""
        return self._deployments[name][0] if name in self._deployments else None

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
        await self._follow_deployments.first_look()
        await self._follow_pods.first_look()

    async def catch_up(self) -> None:
        """Wait until the watched state is the one that the API has at this moment.

        Raises:
            ClusterError: the API cannot be reached or refuses.
        """
        await self._follow_deployments.catch_up()
        await self._follow_pods.catch_up()

    async def run(self) -> None:
        """Follow the state until cancelled; outlives restarts of the API server."""
        async with asyncio.TaskGroup() as watches:
            watches.create_task(self._follow_deployments.run())
            watches.create_task(self._follow_pods.run())

    def _saw_deployment(self, item: Deployment) -> None:
        metadata, spec, status = item.metadata, item.spec, item.status
        if metadata is None or spec is None:
            return
        name = str(metadata.name)
        model = model_of(metadata) or name
        desired = 1 if spec.replicas is None else spec.replicas
        self._deployments[name] = (model, Counts(desired, (status.readyReplicas if status else None) or 0))
        annotations = (spec.template.metadata.annotations if spec.template.metadata else None) or {}
        if STARTUP_ANNOTATION in annotations:
            self.startup_seconds[model] = annotations[STARTUP_ANNOTATION]
        self._note(model)

    def _lost_deployment(self, name: str) -> None:
        gone = self._deployments.pop(name, None)
        if gone is not None:
            self._note(gone[0])

    def _saw_pod(self, item: Pod) -> None:
        if item.metadata is None:
            return
        name = str(item.metadata.name)
        if item.status is not None and item.status.phase in _ENDED:
            self._lost_pod(name)
            return
        conditions = (item.status.conditions if item.status else None) or []
        ready = any(condition.type == "Ready" and condition.status == "True" for condition in conditions)
        model = model_of(item.metadata) or name
        self._pods[name] = (model, ready)
        self._note_pods(model)

    def _lost_pod(self, name: str) -> None:
        gone = self._pods.pop(name, None)
        if gone is not None:
            self._note_pods(gone[0])

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
