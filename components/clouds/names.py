"""Names within the clouds' limits of length, which an environment's name and a pool's name together can exceed."""

from __future__ import annotations

import hashlib
from typing import Final

DIGEST: Final = 6
"""Characters."""


def digest(text: str) -> str:
    """A few characters that tell a text apart from others."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST]


def shortened(name: str, longest: int) -> str:
    """The name, cut and told apart by a digest of the whole where it is too long.

    Raises:
        ValueError: there is no room for a digest.
    """
    if len(name) <= longest:
        return name
    if longest <= DIGEST + 1:
        raise ValueError(f"no name of {longest} characters can be told apart from others")
    return f"{name[: longest - DIGEST - 1].rstrip('-')}-{digest(name)}"
