"""The memory that a command takes with every process that it starts."""

from __future__ import annotations

import os
import threading
from pathlib import Path

INTERVAL_SECONDS = 0.1
PAGE = os.sysconf("SC_PAGE_SIZE")


class PeakMemory:
    """Largest sum of resident memory of this process' descendants while the context lasts.

    Sampled every `INTERVAL_SECONDS`: what lives shorter may be missed. Pages that processes share are counted in each.

    Attributes:
        peak: bytes.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._sampler.join()

    def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, sum(resident(process) for process in descendants(os.getpid())))
            if self._ended.wait(INTERVAL_SECONDS):
                return


def descendants(process: int) -> set[int]:
    """Numbers of the processes that a process started, and that those started, as far as their parents live."""
    children: dict[int, list[int]] = {}
    for name in (entry.name for entry in Path("/proc").iterdir()):
        if name.isdigit() and (parent := _parent(int(name))) is not None:
            children.setdefault(parent, []).append(int(name))
    found: set[int] = set()
    pending = [process]
    while pending:
        for child in children.get(pending.pop(), []):
            found.add(child)
            pending.append(child)
    return found


def resident(process: int) -> int:
    """Resident memory of a process in bytes; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0


def _parent(process: int) -> int | None:
    try:
        # The name, in parentheses, may hold anything.
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return None
