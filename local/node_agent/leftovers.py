"""Processes of an earlier agent that nobody looks after any more."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from local.node_agent.launch import MARK
from local.node_agent.processes import ProcessIdentity

log = logging.getLogger(__name__)


def kill_unattended(mark: str, attended: set[str]) -> int:
    """End every process that an agent with this mark started, unless its container is attended.

    Finds what no record names: processes whose pod's record is lost, exec probes that outlived
    their agent, and what a container has put into a session of its own.

    Args:
        mark: prefix of the marks of this state directory.
        attended: ids of the containers whose processes have been taken over.

    Returns:
        How many were ended.
    """
    count = 0
    for pid, container in _marked(mark):
        if container not in attended and ProcessIdentity.of(pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                count += 1
    return count


def _marked(mark: str) -> Iterator[tuple[int, str]]:
    """Processes with this mark, and the container that each belongs to."""
    prefix = f"{MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        # A process of another user, or one that has just ended.
        with contextlib.suppress(OSError):
            for variable in (folder / "environ").read_bytes().split(b"\0"):
                if variable.startswith(prefix):
                    yield int(folder.name), variable[len(prefix) :].decode(errors="replace")
