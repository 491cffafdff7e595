"""Looks after one process of a container: postStart, probes, preStop and its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import aiohttp
from lightkube.models.core_v1 import Container

from local.node_agent.actions import Actions
from local.node_agent.backoff import RestartBackoff
from local.node_agent.events import PodEvents
from local.node_agent.fields import ContainerConfigError, meta
from local.node_agent.grace import GracePeriod, Hook, end_process, first_of, signal_number
from local.node_agent.images import ImageProgram
from local.node_agent.kubernetes import API_ERRORS
from local.node_agent.launch import Launch, PodSetting, prepare
from local.node_agent.probes import ProbeKind, Prober
from local.node_agent.processes import Process
from local.node_agent.tasks import background

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


@dataclass(frozen=True)
class ContainerSetting:
    """What one container is and how it is treated.

    Attributes:
        container: as the pod describes it.
        program: what stands for its image.
        policy: restartPolicy: Always, OnFailure or Never.
        grace_seconds: the pod's terminationGracePeriodSeconds.
        backoff: delays between its restarts.
        pod: where and how the pod's containers run.
        http: for its probes.
        events: of the pod.
        on_change: called after every change of the container's record.
    """

    container: Container
    program: ImageProgram
    policy: str
    grace_seconds: float
    backoff: RestartBackoff
    pod: PodSetting
    http: aiohttp.ClientSession
    events: PodEvents
    on_change: Callable[[], None]

    @property
    def full_name(self) -> str:
        """Namespace, pod and container, for logs."""
        pod = meta(self.pod.fields.pod)
        return f"{pod.namespace}/{pod.name}/{self.container.name}"


class HealthRecord(Protocol):
    """Where the results of probes go."""

    def mark_started(self) -> None:
        """The startup probe has succeeded, or there is none."""

    def mark_ready(self, ready: bool) -> None:
        """The readiness probe's result, or ready where there is none."""


class Attendant:
    """One process, from its start to its end.

    Attributes:
        process: the process.
    """

    def __init__(self, process: Process, setting: ContainerSetting, record: HealthRecord) -> None:
        self.process = process
        self._setting = setting
        self._container = setting.container
        self._record = record
        self._launch: Launch | None = None
        self._probing: asyncio.Task[None] | None = None
        self._killing: asyncio.Task[None] | None = None

    def attend_new(self, launch: Launch) -> None:
        """Begin with a process that was just started."""
        self._launch = launch
        work = self._attend_new()
        self._probing = background(work, f"{self._setting.full_name}: probes")

    def attend_adopted(self, *, running_for: float, started: bool, ready: bool) -> None:
        """Begin with a process of an earlier agent, which has seen it ``started`` and ``ready``."""
        work = self._probe(running_for=running_for, started=started, ready=ready)
        self._probing = background(work, f"{self._setting.full_name}: probes")

    def stop_probing(self) -> None:
        """No more probes; the process ends or has ended."""
        if self._probing is not None:
            self._probing.cancel()

    async def end(self, grace: GracePeriod) -> None:
        """End the process in order; returns when it has ended."""
        self.stop_probing()
        if self._killing is not None and not self._killing.done():
            # Its liveness probe has already set its end going; only the time may be shorter now.
            await first_of(asyncio.wait({self._killing}), grace.over())
            self.process.kill()
            await self.process.wait()
        else:
            await self._end(grace, "")

    def abandon(self) -> None:
        """Leave the process as it is."""
        for task in (self._probing, self._killing):
            if task is not None:
                task.cancel()
        self.process.release()

    async def _attend_new(self) -> None:
        lifecycle = self._container.lifecycle
        if lifecycle is not None and lifecycle.postStart is not None:
            outcome = await (await self._actions()).run_hook(lifecycle.postStart)
            if not outcome.ok:
                self._setting.events.warning("FailedPostStartHook", self._container.name, outcome.message)
                self._kill(self._setting.grace_seconds, "FailedPostStartHook: ")
                return
        await self._probe(running_for=0.0, started=False, ready=False)

    async def _probe(self, *, running_for: float, started: bool, ready: bool) -> None:
        probes = (await self._actions()).probes()
        await Prober(probes, self, running_for=running_for, started=started, ready=ready).run()

    async def _actions(self) -> Actions:
        setting = self._setting
        while self._launch is None:
            # An adopted process: how it was started is worked out again, for its exec probes and hooks.
            try:
                self._launch = await prepare(self._container, setting.program, setting.pod)
            except (ContainerConfigError, *API_ERRORS) as error:
                log.info("%s: probes and hooks wait: %s", setting.full_name, error)
                await asyncio.sleep(RETRY_SECONDS)
        pod_ip = setting.pod.fields.pod_ip
        return Actions(self._container, setting.program, self._launch, pod_ip, setting.http)

    # --- what the probes say ------------------------------------------------------------------------

    def on_started(self) -> None:
        """See ProbeListener."""
        self._record.mark_started()

    def on_ready(self, ready: bool) -> None:
        """See ProbeListener."""
        self._record.mark_ready(ready)

    def on_attempt_failed(self, kind: ProbeKind, message: str) -> None:
        """See ProbeListener."""
        subject = f"{self._container.name} {kind.value}"
        self._setting.events.warning("Unhealthy", subject, f"{kind.value} probe failed: {message}")

    def on_unhealthy(self, kind: ProbeKind) -> None:
        """See ProbeListener. The probe's own grace period goes before the pod's."""
        startup = kind is ProbeKind.STARTUP
        probe = self._container.startupProbe if startup else self._container.livenessProbe
        own = probe.terminationGracePeriodSeconds if probe else None
        grace_seconds = self._setting.grace_seconds if own is None else own
        self._kill(grace_seconds, f"{kind.value} probe failed. ")

    # --- its end ------------------------------------------------------------------------------------

    def _kill(self, grace_seconds: float, why: str) -> None:
        """End an unhealthy process; its container is then started again."""
        if self._killing is None:
            work = self._end(GracePeriod(grace_seconds), why)
            self._killing = background(work, f"{self._setting.full_name}: end")

    async def _end(self, grace: GracePeriod, why: str) -> None:
        name = self._container.name
        self._setting.events.normal("Killing", name, f"{why}Stopping container {name}")
        lifecycle = self._container.lifecycle
        wanted = lifecycle.stopSignal if lifecycle else None
        stop_signal = signal_number(wanted, self._setting.program.stop_signal)
        await end_process(self.process, grace, stop_signal, self._pre_stop())

    def _pre_stop(self) -> Hook | None:
        handler = self._container.lifecycle.preStop if self._container.lifecycle else None
        if handler is None:
            return None

        async def run() -> None:
            outcome = await (await self._actions()).run_hook(handler)
            if not outcome.ok:
                self._setting.events.warning("FailedPreStopHook", self._container.name, outcome.message)

        return run
