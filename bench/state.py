"""How often Pulumi writes its state during a benchmark."""

from __future__ import annotations

from typing import Final

STATE_ONCE: Final = {"PULUMI_EXPERIMENTAL": "true", "PULUMI_SKIP_CHECKPOINTS": "true"}
"""Variables with which a command writes its state once, at its end. As a rule it does so twice per resource, in a file
that grows with them."""
