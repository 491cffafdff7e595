"""The containers of one pod: in which order they begin and end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from lightkube.models.core_v1 import Container

from local.node_agent.attendant import ContainerSetting
from local.node_agent.backoff import RestartBackoff
from local.node_agent.container_runner import ContainerRunner
from local.node_agent.events import PodEvents
from local.node_agent.fields import spec
from local.node_agent.grace import GracePeriod
from local.node_agent.launch import PodSetting
from local.node_agent.states import ContainerRecord, Waiting
from local.node_agent.status import ALWAYS, NEVER, is_sidecar
from local.node_agent.surroundings import Surroundings

ON_FAILURE = "OnFailure"
# The API server's default for terminationGracePeriodSeconds.
DEFAULT_GRACE_SECONDS = 30


class PodContainers:
    """The runners of a pod's containers."""

    def __init__(
        self,
        setting: PodSetting,
        surroundings: Surroundings,
        events: PodEvents,
        records: Mapping[str, ContainerRecord],
        on_change: Callable[[], None],
    ) -> None:
        """Nothing is started yet.

        Args:
            setting: where and how they run.
            surroundings: what all pods share.
            events: of the pod.
            records: what an earlier agent knew, by container.
            on_change: called whenever a record changes.
        """
        self._setting = setting
        self._around = surroundings
        self._events = events
        self._on_change = on_change
        pod = spec(setting.fields.pod)
        grace = pod.terminationGracePeriodSeconds
        self._grace_seconds = DEFAULT_GRACE_SECONDS if grace is None else grace
        policy = pod.restartPolicy or ALWAYS
        self._init = {c.name: self._runner(c, _init_policy(c, policy), records) for c in self._init_specs}
        self._main = {c.name: self._runner(c, policy, records) for c in pod.containers}

    @property
    def records(self) -> dict[str, ContainerRecord]:
        """What is known now, by container."""
        return {name: runner.record for name, runner in (*self._init.items(), *self._main.items())}

    def adopt(self) -> None:
        """Take over the processes of an earlier agent, before anything else can happen to them."""
        for runner in (*self._init.values(), *self._main.values()):
            runner.adopt()

    async def run(self) -> None:
        """Init containers one after the other, then all others; returns when they have ended for good.

        Cancelling it leaves the containers that have begun as they are.
        """
        for container in self._init_specs:
            runner = self._init[container.name]
            runner.start()
            if is_sidecar(container):
                await runner.started()
                continue
            await runner.finished()
            if not runner.record.succeeded:
                return
        for runner in self._main.values():
            runner.start()
        await asyncio.gather(*(runner.finished() for runner in self._main.values()))
        await self._stop_init(GracePeriod(self._grace_seconds))

    async def stop(self, grace: GracePeriod) -> None:
        """End all containers together, then the sidecars in reverse order; none begins again."""
        await asyncio.gather(*(runner.stop(grace) for runner in self._main.values()))
        await self._stop_init(grace)

    async def abandon(self) -> None:
        """Stop looking after them; their processes go on."""
        for runner in (*self._init.values(), *self._main.values()):
            await runner.abandon()

    async def _stop_init(self, grace: GracePeriod) -> None:
        for runner in reversed(self._init.values()):
            await runner.stop(grace)

    @property
    def _init_specs(self) -> list[Container]:
        return spec(self._setting.fields.pod).initContainers or []

    def _runner(self, container: Container, policy: str, records: Mapping[str, ContainerRecord]) -> ContainerRunner:
        program = self._around.table.find(container.image)
        if program is None:
            raise ValueError(f"{container.image} is not in images.toml")
        setting = ContainerSetting(
            container=container,
            program=program,
            policy=policy,
            grace_seconds=self._grace_seconds,
            backoff=RestartBackoff(initial=self._around.initial_backoff),
            pod=self._setting,
            http=self._around.http,
            events=self._events,
            on_change=self._on_change,
        )
        first = Waiting(reason="PodInitializing" if self._init_specs else "ContainerCreating")
        return ContainerRunner(setting, records.get(container.name) or ContainerRecord(state=first))


def _init_policy(container: Container, policy: str) -> str:
    """An init container is repeated until it succeeds, unless the pod is never to be restarted."""
    if is_sidecar(container):
        return ALWAYS
    return NEVER if policy == NEVER else ON_FAILURE
