"""What an import brings with it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def imported_with(modules: Sequence[str], *, beginning: tuple[str, ...]) -> list[str]:
    """Modules with one of these beginnings that are there once ``modules`` are imported."""
    code = f"import sys, {', '.join(modules)}\nprint('\\n'.join(n for n in sys.modules if n.startswith({beginning!r})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()
