"""Memory of a command with all its processes. Does not show how good a sample is of what lives for less than one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.memory import PeakMemory, descendants, resident

pytestmark = pytest.mark.unit

MIB = 2**20
GRANDCHILD = f"held = b'x' * {100 * MIB}; print('held', flush=True); input()"
CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GRANDCHILD!r}], check=True)"


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_the_memory_of_a_process_that_a_process_started_counts() -> None:
    with PeakMemory() as memory:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        before = len(descendants(child.pid))
        alone = resident(child.pid)
        wait_until(lambda: memory.peak > 100 * MIB, 10)
    child.communicate("\n")
    assert before == 1
    # No upper bound: until it runs its program, a new process has the memory of the one that it was forked from.
    assert alone < 100 * MIB < memory.peak
    assert child.pid not in descendants(os.getpid())


def test_what_has_ended_takes_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not Path(f"/proc/{ended.pid}").exists()
    assert resident(ended.pid) == 0
