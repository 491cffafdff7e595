"""The life of one pod, from the node to which it is bound until its object is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from lightkube.resources.core_v1 import Pod

from local.node_agent.events import PodEvents
from local.node_agent.fields import PodFields, meta
from local.node_agent.grace import GracePeriod, first_of
from local.node_agent.kubernetes import API_ERRORS, ObjectGoneError
from local.node_agent.launch import PodSetting
from local.node_agent.pod_containers import DEFAULT_GRACE_SECONDS, PodContainers
from local.node_agent.pod_folder import PodFolder, PodRecord, drop_old_logs
from local.node_agent.service_account import keep_tokens_fresh, write_tokens
from local.node_agent.states import Running, now
from local.node_agent.status import FAILED, SUCCEEDED, PodSituation, TransitionTimes, pod_status
from local.node_agent.status_writer import StatusWriter
from local.node_agent.surroundings import NodeFacts, Surroundings
from local.node_agent.tasks import background
from local.node_agent.volumes import VolumeError, Volumes, keep_secrets_fresh

log = logging.getLogger(__name__)

# The kubelet goes from 0.5 s to 2 min 2 s; a person in front of a laptop does not wait that long.
FIRST_VOLUME_RETRY_SECONDS = 0.5
LONGEST_VOLUME_RETRY_SECONDS = 5.0
DELETE_RETRY_SECONDS = 0.5


class PodRunner:
    """Runs one pod.

    Attributes:
        pod: as the API server last showed it.
    """

    def __init__(self, pod: Pod, node: NodeFacts, surroundings: Surroundings) -> None:
        """Takes up the record that an earlier agent left; needs a running event loop.

        Raises:
            AddressesExhaustedError: there is no address for the pod.
        """
        self.pod = pod
        self._node = node
        self._around = surroundings
        self._uid = meta(pod).uid or ""
        self._name = f"{meta(pod).namespace}/{meta(pod).name}"
        self._ending = asyncio.Event()
        self._gone = asyncio.Event()
        self._grace: GracePeriod | None = None
        self._fresh_tokens: asyncio.Task[None] | None = None
        self._fresh_secrets: asyncio.Task[None] | None = None

        self._folder = PodFolder.of(surroundings.pods, meta(pod).namespace or "", meta(pod).name or "", self._uid)
        record = self._folder.load()
        status = pod.status
        # Its end was reported by somebody else, or so long ago that its record is gone: nothing runs.
        self._ended_before = record is None and (status and status.phase) in (SUCCEEDED, FAILED)
        self._start_time = record.start_time if record else (status and status.startTime) or now()
        self._volumes_ready = record is not None and record.volumes_ready
        self._pod_ip = surroundings.addresses.allocate(self._uid, status.podIP if status else None)
        self._folder.create()

        fields = PodFields(pod, self._pod_ip, node.address, node.allocatable)
        self._volumes = Volumes(fields, surroundings.api, self._folder.volumes, surroundings.claims)
        setting = PodSetting(
            fields, self._volumes, self._folder, surroundings.api, surroundings.endpoint, surroundings.mark
        )
        self._events = PodEvents(surroundings.api, pod)
        self._times = TransitionTimes(pod)
        self._writer = StatusWriter(surroundings.api, pod, self._status)
        self._containers = PodContainers(
            setting, surroundings, self._events, record.containers if record else {}, self._changed
        )

    @property
    def running_containers(self) -> set[str]:
        """Ids of the containers that have a process, as far as the record says."""
        records = self._containers.records.values()
        return {record.container_id for record in records if isinstance(record.state, Running)}

    @property
    def is_gone(self) -> bool:
        """The pod's object does not exist any more."""
        return self._gone.is_set()

    # --- what the API server says -------------------------------------------------------------------

    def update(self, pod: Pod) -> None:
        """The pod's object has changed: its deletion may have begun, or a readiness gate opened."""
        self.pod = pod
        if meta(pod).deletionTimestamp is not None:
            wanted = meta(pod).deletionGracePeriodSeconds
            self._end_within(DEFAULT_GRACE_SECONDS if wanted is None else wanted)
        if not self._ended_before:
            self._writer.changed()

    def gone(self) -> None:
        """The object does not exist any more: the processes must not either."""
        self._gone.set()
        self._end_within(0)

    def _end_within(self, seconds: float) -> None:
        if self._grace is None:
            self._grace = GracePeriod(seconds)
        else:
            self._grace.shorten(seconds)
        self._ending.set()

    # --- the life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the pod until its object is gone. Cancelled, it leaves the pod's processes alone."""
        writer = background(self._writer.run(), f"{self._name}: status")
        try:
            self._containers.adopt()
            self.update(self.pod)
            await self._live()
            await self._containers.stop(self._grace or GracePeriod(0))
            await self._remove()
        finally:
            writer.cancel()
            for task in (self._fresh_tokens, self._fresh_secrets):
                if task is not None:
                    task.cancel()
            await self._containers.abandon()

    async def _live(self) -> None:
        """Run the containers until the pod's deletion begins; a fault in that comes out here."""
        work = asyncio.create_task(self._work())
        try:
            await first_of(asyncio.wait({work}), self._ending.wait())
            if work.done():
                work.result()
                await self._ending.wait()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _work(self) -> None:
        if self._ended_before:
            return
        if not self._volumes_ready:
            await self._lay_out_volumes()
        elif self._volumes.tokens():
            # Of an earlier agent: nobody knows how old its tokens are.
            self._keep_tokens_fresh(0.0)
        if self._volumes.has_secrets:
            self._fresh_secrets = background(keep_secrets_fresh(self._volumes), f"{self._name}: Secrets")
        await self._containers.run()

    async def _lay_out_volumes(self) -> None:
        """Make the volumes; as long as something is missing, wait and say so."""
        retry = FIRST_VOLUME_RETRY_SECONDS
        while True:
            try:
                await self._volumes.lay_out()
                delay = await write_tokens(self._around.api, self.pod, self._volumes.tokens())
                break
            except (VolumeError, ObjectGoneError) as error:
                self._events.warning("FailedMount", str(error), str(error))
            except API_ERRORS as error:
                log.info("%s: its volumes wait for the API: %s", self._name, error)
            await asyncio.sleep(retry)
            retry = min(2 * retry, LONGEST_VOLUME_RETRY_SECONDS)
        self._volumes_ready = True
        self._changed()
        self._keep_tokens_fresh(delay)

    def _keep_tokens_fresh(self, delay: float) -> None:
        work = keep_tokens_fresh(self._around.api, self.pod, self._volumes.tokens(), delay)
        self._fresh_tokens = background(work, f"{self._name}: tokens")

    # --- its end ------------------------------------------------------------------------------------

    async def _remove(self) -> None:
        """Report the end, remove the object, forget the pod; its logs stay."""
        if not self._ended_before:
            await self._unless_gone(self._writer.flushed())
        await self._unless_gone(self._delete())
        self._folder.keep_only_logs()
        drop_old_logs(self._around.pods)
        self._around.addresses.release(self._uid)

    async def _unless_gone(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something about the object, until that is done or the object is gone anyway."""
        await first_of(work, self._gone.wait())

    async def _delete(self) -> None:
        while True:
            try:
                await self._around.api.delete_pod(meta(self.pod))
            except ObjectGoneError:
                return
            except API_ERRORS as error:
                log.info("%s: its deletion waits for the API: %s", self._name, error)
                await asyncio.sleep(DELETE_RETRY_SECONDS)
            else:
                return

    # --- the record and the status ------------------------------------------------------------------

    def _changed(self) -> None:
        """Something about the pod is different: first to disk, then to the API server."""
        record = PodRecord(
            namespace=meta(self.pod).namespace or "",
            name=meta(self.pod).name or "",
            uid=self._uid,
            start_time=self._start_time,
            volumes_ready=self._volumes_ready,
            containers=self._containers.records,
        )
        self._folder.save(record)
        self._writer.changed()

    def _status(self) -> dict[str, Any]:
        situation = PodSituation(
            pod=self.pod,
            records=self._containers.records,
            pod_ip=self._pod_ip,
            host_ip=self._node.address,
            start_time=self._start_time,
            volumes_ready=self._volumes_ready,
            terminating=self._ending.is_set(),
        )
        return pod_status(situation, self._times, now())
