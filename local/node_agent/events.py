"""Events about pods, as `kubectl describe pod` shows them; lost while the API is away."""

from __future__ import annotations

import asyncio
import logging

from lightkube.resources.core_v1 import Pod

from local.node_agent.fields import meta
from local.node_agent.kubernetes import API_ERRORS, KubernetesApi

log = logging.getLogger(__name__)

# The kubelet counts repeated events up; here a repetition within this time is left out.
REPEAT_AFTER_SECONDS = 30.0
MESSAGE_LIMIT = 1000  # the API allows 1024 bytes


class PodEvents:
    """Records events about one pod without making anybody wait."""

    def __init__(self, api: KubernetesApi, pod: Pod) -> None:
        """Needs a running event loop when events are recorded."""
        self._api = api
        self._pod = pod
        self._last: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def normal(self, reason: str, subject: str, message: str) -> None:
        """Something happened as it should; ``subject`` tells repetitions apart."""
        self._record("Normal", reason, subject, message)

    def warning(self, reason: str, subject: str, message: str) -> None:
        """Something went wrong."""
        self._record("Warning", reason, subject, message)

    def _record(self, kind: str, reason: str, subject: str, message: str) -> None:
        time = asyncio.get_running_loop().time()
        last = self._last.get((reason, subject))
        if last is not None and time - last < REPEAT_AFTER_SECONDS:
            return
        self._last[reason, subject] = time
        log.info("%s/%s: %s: %s", meta(self._pod).namespace, meta(self._pod).name, reason, message)
        task = asyncio.create_task(self._send(kind, reason, message[:MESSAGE_LIMIT]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, kind: str, reason: str, message: str) -> None:
        try:
            await self._api.record_event(meta(self._pod), kind, reason, message)
        except API_ERRORS as error:
            log.debug("event not recorded: %s", error)
