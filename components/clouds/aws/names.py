"""Names within AWS' limits of length, which an environment's name and a pool's name together can exceed."""

from __future__ import annotations

import hashlib
from typing import Final

DIGEST: Final = 6

ROLE_PREFIX: Final = 38
"""Longest `name_prefix` of an IAM role or an EventBridge rule: 64 characters less the 26 that the provider appends."""

NODE_GROUP_PREFIX: Final = 37
"""Longest `node_group_name_prefix`: 63 less 26."""

QUEUE_PREFIX: Final = 54
"""Of an SQS queue: 80 less 26."""

BUCKET_PREFIX: Final = 37
"""Of an S3 bucket: 63 less 26."""


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


def prefix(name: str, longest: int) -> str:
    """The same, with a dash at the end: what a provider appends its own characters to."""
    return f"{shortened(name, longest - 1)}-"
