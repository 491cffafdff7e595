"""All policies."""

from __future__ import annotations

from typing import Any, Final

from policy.rule import Rule
from policy.rules import access, allowed, engines, images, nodes, scaling

RULES: Final[tuple[Rule[Any], ...]] = (
    *scaling.RULES,
    *images.RULES,
    *engines.RULES,
    *nodes.RULES,
    *access.RULES,
    *allowed.RULES,
)
