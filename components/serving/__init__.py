"""Serving stacks: what turns a model deployment into workloads. One class each, behind `components.serving.base`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from components.serving.base import ServingContext, ServingStack

SERVING_STACKS: Final[Mapping[str, tuple[str, str]]] = {
    "manifests": ("components.serving.manifests", "Manifests"),
    "production-stack": ("components.serving.production_stack.stack", "ProductionStack"),
}
"""Module and class of each serving stack."""


def load_serving_stack(name: str, context: ServingContext) -> ServingStack:
    """The serving stack of this name, at work in an environment.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in SERVING_STACKS:
        raise ValueError(f"serving stack {name!r} is not built yet; built: {', '.join(sorted(SERVING_STACKS))}")
    module, kind = SERVING_STACKS[name]
    stack: ServingStack = getattr(importlib.import_module(module), kind)(context)
    return stack
