"""Small files, written so that a reader sees the old content or the new, never half of it."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700


def write(path: Path, content: bytes | str, mode: int = PRIVATE) -> None:
    """Replace a file in one step; its folders are made, readable by the owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    data = content.encode() if isinstance(content, str) else content
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
