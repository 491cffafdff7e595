"""The life of one container: start, end, and start again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import uuid
from typing import Any

from local.node_agent.actions import reject_unbuilt
from local.node_agent.attendant import RETRY_SECONDS, Attendant, ContainerSetting
from local.node_agent.fields import ContainerConfigError, meta
from local.node_agent.files import PRIVATE
from local.node_agent.grace import GracePeriod, first_of
from local.node_agent.kubernetes import API_ERRORS
from local.node_agent.launch import Launch, mark_of, prepare
from local.node_agent.processes import Process, ProcessIdentity
from local.node_agent.states import (
    EXIT_START_ERROR,
    ContainerRecord,
    Running,
    Terminated,
    Waiting,
    now,
    terminated_from_exit,
)

log = logging.getLogger(__name__)

# FallbackToLogsOnError: the kubelet takes at most the last 2048 bytes of the log.
LOG_TAIL_BYTES = 2048


class ContainerRunner:
    """Runs one container until it has ended for good, or is stopped.

    Attributes:
        record: what is known of the container now.
    """

    def __init__(self, setting: ContainerSetting, record: ContainerRecord) -> None:
        self._setting = setting
        self._container = setting.container
        self._attendant: Attendant | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._progress = asyncio.Event()
        self.record = record

    def adopt(self) -> None:
        """Take over the process of an earlier agent; if it has ended, the record says so from now on."""
        state = self.record.state
        if not isinstance(state, Running):
            return
        process = Process.adopt(ProcessIdentity(state.pid, state.start_ticks))
        if process is None:
            self._set_ended(terminated_from_exit(state, self.record.container_id, None))
            return
        self._attendant = Attendant(process, self._setting, self)
        self._attendant.attend_adopted(
            running_for=(now() - state.started_at).total_seconds(),
            started=self.record.started,
            ready=self.record.ready,
        )

    def start(self) -> None:
        """Begin; a process that was taken over before is not started again."""
        self._task = asyncio.create_task(self._run())

    async def finished(self) -> None:
        """Wait until it has ended for good.

        Raises:
            Exception: what stopped the runner, if that was a fault of its own.
        """
        if self._task is not None:
            await asyncio.shield(self._task)

    async def started(self) -> None:
        """Wait until its startup probe has succeeded, or it has ended for good."""
        while not self.record.started and self._task is not None and not self._task.done():
            self._progress.clear()
            await first_of(self._progress.wait(), asyncio.wait({self._task}))

    async def stop(self, grace: GracePeriod) -> None:
        """End the process in order and never start it again; returns when it has ended."""
        self._stopping = True
        if self._attendant is None:
            # Not started, or between two starts: starting is one step, so nothing can slip through.
            await self._cancel()
            return
        if self._task is None:
            # Taken over, and the pod's deletion came before anything else.
            self.start()
        await self._attendant.end(grace)
        await self.finished()

    async def abandon(self) -> None:
        """Stop looking after the container; its process goes on, for a later agent to take over."""
        await self._cancel()
        if self._attendant is not None:
            self._attendant.abandon()

    async def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- the life -----------------------------------------------------------------------------------

    async def _run(self) -> None:
        if self._attendant is None and self._ended_for_good():
            return
        while True:
            attendant = self._attendant or await self._start()
            if attendant is not None:
                await self._accompany(attendant)
            if self._stopping or self._ended_for_good():
                return
            await self._back_off()

    async def _start(self) -> Attendant | None:
        """Start the process; None if that failed, which the record then says."""
        launch = await self._prepared()
        again = bool(self.record.container_id)
        if again:
            self._setting.backoff.restarted(asyncio.get_running_loop().time())
        update: dict[str, Any] = {
            "restart_count": self.record.restart_count + (1 if again else 0),
            "container_id": f"process://{uuid.uuid4().hex}",
            "last_terminated": self._previous_end(),
            "started": False,
            "ready": False,
        }
        try:
            process = self._spawn(launch, update["container_id"], update["restart_count"])
        except OSError as error:
            self._set(state=_start_error(error, update["container_id"]), **update)
            self._setting.events.warning("Failed", self._container.name, f"Error: {error}")
            return None
        identity = process.identity
        self._attendant = Attendant(process, self._setting, self)
        # Written to disk here: from now on a later agent would find the process.
        state = Running(started_at=now(), pid=identity.pid, start_ticks=identity.start_ticks)
        self._set(state=state, **update)
        self._attendant.attend_new(launch)
        self._setting.events.normal("Started", self._container.name, f"Started {self._container.name}")
        return self._attendant

    async def _prepared(self) -> Launch:
        """The container's command line; waits, and says why, as long as something is missing."""
        while True:
            try:
                reject_unbuilt(self._container)
                return await prepare(self._container, self._setting.program, self._setting.pod)
            except ContainerConfigError as error:
                self._wait("CreateContainerConfigError", str(error))
                self._setting.events.warning("Failed", self._container.name, f"Error: {error}")
            except API_ERRORS as error:
                log.info("%s: waiting for the API: %s", self._setting.full_name, error)
            await asyncio.sleep(RETRY_SECONDS)

    def _spawn(self, launch: Launch, container_id: str, restart: int) -> Process:
        pod = self._setting.pod
        log_file = pod.folder.log_file(self._container.name, restart)
        output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
        try:
            env = launch.env | mark_of(pod, container_id)
            return Process.spawn(launch.command, env, launch.folder, output)
        finally:
            os.close(output)

    async def _accompany(self, attendant: Attendant) -> None:
        """Stay with the process to its end."""
        code = await attendant.process.wait()
        attendant.stop_probing()
        self._attendant = None
        state = self.record.state
        if isinstance(state, Running):
            ended = terminated_from_exit(state, self.record.container_id, code)
            if ended.exit_code and self._container.terminationMessagePolicy == "FallbackToLogsOnError":
                ended = ended.model_copy(update={"message": self._log_tail() or ended.message})
            self._set_ended(ended)

    async def _back_off(self) -> None:
        delay = self._setting.backoff.delay_after_end(asyncio.get_running_loop().time())
        if delay <= 0:
            return
        pod = meta(self._setting.pod.fields.pod)
        message = (
            f"back-off {delay:g}s restarting failed container={self._container.name} "
            f"pod={pod.name}_{pod.namespace}({pod.uid})"
        )
        self._wait("CrashLoopBackOff", message)
        self._setting.events.warning("BackOff", self._container.name, message)
        await asyncio.sleep(delay)

    def _ended_for_good(self) -> bool:
        state = self.record.state
        if not isinstance(state, Terminated):
            return False
        policy = self._setting.policy
        return policy == "Never" or (policy == "OnFailure" and state.exit_code == 0)

    # --- the record ---------------------------------------------------------------------------------

    def mark_started(self) -> None:
        """See HealthRecord."""
        self._set(started=True)

    def mark_ready(self, ready: bool) -> None:
        """See HealthRecord."""
        if self.record.ready != ready:
            self._set(ready=ready)

    def _previous_end(self) -> Terminated | None:
        state = self.record.state
        return state if isinstance(state, Terminated) else self.record.last_terminated

    def _wait(self, reason: str, message: str) -> None:
        state = Waiting(reason=reason, message=message)
        if state != self.record.state:
            self._set(state=state, last_terminated=self._previous_end())

    def _set_ended(self, state: Terminated) -> None:
        self._set(state=state, started=False, ready=False)

    def _set(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of ContainerRecord
        self.record = self.record.model_copy(update=changes)
        self._progress.set()
        self._setting.on_change()

    def _log_tail(self) -> str:
        path = self._setting.pod.folder.log_file(self._container.name, self.record.restart_count)
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
        return ""


def _start_error(error: OSError, container_id: str) -> Terminated:
    """What the kubelet reports for a program that cannot be executed."""
    return Terminated(
        exit_code=EXIT_START_ERROR,
        reason="StartError",
        message=str(error),
        container_id=container_id,
        started_at=now(),
        finished_at=now(),
    )
