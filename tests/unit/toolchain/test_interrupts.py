"""Who is started in the background starts others that can be interrupted.

Not proven here: that Pulumi's commands are five seconds shorter for it (docs/measurements.md).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
CHILD = "import subprocess; subprocess.run(['grep', 'SigIgn', '/proc/self/status'], check=True)"


@pytest.mark.parametrize(
    ("before", "ignored"), [("", True), ("from toolchain.interrupts import heed_interrupts as h; h(); ", False)]
)
def test_children_of_a_background_job(before: str, ignored: bool) -> None:
    script = f'trap "" INT; exec {sys.executable} -c "{before}{CHILD}"'
    told = subprocess.run(["sh", "-c", script], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    mask = int(told.split()[1], 16)
    assert bool(mask & (1 << (signal.SIGINT - 1))) is ignored
