"""How long names may be at AWS."""

from __future__ import annotations

from typing import Final

from components.clouds.names import shortened

ROLE_PREFIX: Final = 38
"""Longest `name_prefix` of an IAM role or an EventBridge rule: 64 characters less the 26 that the provider appends."""

NODE_GROUP_PREFIX: Final = 37
"""Longest `node_group_name_prefix`: 63 less 26."""

QUEUE_PREFIX: Final = 54
"""Of an SQS queue: 80 less 26."""

BUCKET_PREFIX: Final = 37
"""Of an S3 bucket: 63 less 26."""


def prefix(name: str, longest: int) -> str:
    """The name, shortened where it is too long, and a dash: what a provider appends its own characters to."""
    return f"{shortened(name, longest - 1)}-"
