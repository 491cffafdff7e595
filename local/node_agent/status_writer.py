"""Brings a pod's status to the API server: at once, in order, and only what has changed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from lightkube.resources.core_v1 import Pod

from local.node_agent.fields import meta
from local.node_agent.grace import first_of
from local.node_agent.kubernetes import API_ERRORS, KubernetesApi, ObjectGoneError

log = logging.getLogger(__name__)

# Changes that belong together (started, then ready) come within this time and make one patch.
SETTLE_SECONDS = 0.002
FIRST_RETRY_SECONDS = 0.1
LONGEST_RETRY_SECONDS = 1.0


class StatusWriter:
    """Writes one pod's status as long as the pod exists."""

    def __init__(self, api: KubernetesApi, pod: Pod, compute: Callable[[], dict[str, Any]]) -> None:
        """``compute`` gives the status of now; it is called when there is something to write."""
        self._api = api
        self._pod = pod
        self._compute = compute
        self._changed = asyncio.Event()
        self._written: dict[str, Any] | None = None
        self._idle = asyncio.Event()
        self._gone = asyncio.Event()

    def changed(self) -> None:
        """The status may be another one now."""
        self._idle.clear()
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled, or until the pod does not exist any more."""
        retry = FIRST_RETRY_SECONDS
        while not self._gone.is_set():
            await self._changed.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._changed.clear()
            try:
                await self._write()
            except API_ERRORS as error:
                self._log_once(error, first=retry == FIRST_RETRY_SECONDS)
                self._changed.set()
                await asyncio.sleep(retry)
                retry = min(2 * retry, LONGEST_RETRY_SECONDS)
                continue
            retry = FIRST_RETRY_SECONDS
            if not self._changed.is_set():
                self._idle.set()

    async def flushed(self) -> None:
        """Wait until the API server has the latest status, or the pod does not exist any more."""
        if not self._gone.is_set():
            self.changed()
            await first_of(self._idle.wait(), self._gone.wait())

    def _log_once(self, error: Exception, *, first: bool) -> None:
        """An outage is one line per pod, not one per attempt."""
        if first:
            pod = meta(self._pod)
            log.info("%s/%s: its status waits for the API: %s", pod.namespace, pod.name, error)

    async def _write(self) -> None:
        status = self._compute()
        if status == self._written:
            return
        try:
            await self._api.patch_pod_status(meta(self._pod), status)
        except ObjectGoneError:
            self._gone.set()
            return
        self._written = status
