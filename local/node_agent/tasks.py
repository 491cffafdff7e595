"""Background tasks whose faults are not lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)


def background(work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
    """Start a task; a fault in it is logged with the place where it happened. Keep the task."""
    task = asyncio.create_task(work, name=what)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s stopped by a fault of the node agent", task.get_name(), exc_info=task.exception())
