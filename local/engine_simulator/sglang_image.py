"""``python3`` of the image lmsysorg/sglang, on this machine.

``python3 -m sglang.launch_server ...`` is the simulated engine; everything else (probes) is the real interpreter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

LAUNCH = ["-m", "sglang.launch_server"]


def main(argv: Sequence[str]) -> int:
    """Run what the image's interpreter is asked for; returns the exit status of a simulated engine."""
    if list(argv[:2]) != LAUNCH:
        os.execv(sys.executable, [sys.executable, *argv])  # noqa: S606 - that is the point
    from local.engine_simulator.__main__ import run_sglang

    return run_sglang(argv[2:], dict(os.environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
