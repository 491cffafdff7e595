"""Regions, zones and partitions, known without asking the account: a preview needs no credentials for them.

An account's zones can differ from these where AWS shows each account its own; `preflight` looks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

DEFAULT_REGION: Final = "us-east-1"

REGION: Final = re.compile(r"^[a-z]{2}(-[a-z]+)+-[0-9]$")

ZONE_LETTERS: Final[Mapping[str, str]] = {"ap-northeast-1": "acd", "ca-central-1": "abd", "cn-north-1": "ab"}
"""Regions whose first three zones are not a, b and c (zone list of EC2, read from moto 5.2.5, 2026-11)."""

NO_COMMON_ZONES: Final = frozenset({"us-west-1"})
"""Each account sees two of three zones there, not everyone the same ones: they have to be named."""


def default_zones(region: str) -> tuple[str, ...]:
    """Three zones of a region; none where they have to be named."""
    if region in NO_COMMON_ZONES:
        return ()
    return tuple(f"{region}{letter}" for letter in ZONE_LETTERS.get(region, "abc"))


def partition(region: str) -> str:
    """Second part of an ARN."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def managed_policy(region: str, name: str) -> str:
    """ARN of a policy that AWS keeps."""
    return f"arn:{partition(region)}:iam::aws:policy/{name}"
