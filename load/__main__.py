"""``python -m load``."""

from __future__ import annotations

from load.cli import app

if __name__ == "__main__":
    app(prog_name="python -m load")
