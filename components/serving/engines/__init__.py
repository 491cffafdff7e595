"""Engines of the serving stack `manifests`: one file each, behind `components.serving.engines.base.EngineProgram`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from components.serving.base import EngineArgs
    from components.serving.engines.base import EngineProgram

ENGINES: Final[Mapping[str, tuple[str, str]]] = {
    "vllm": ("components.serving.engines.vllm", "Vllm"),
    "sglang": ("components.serving.engines.sglang", "Sglang"),
    "tgi": ("components.serving.engines.tgi", "Tgi"),
    "triton": ("components.serving.engines.triton", "Triton"),
    "custom": ("components.serving.engines.custom", "Custom"),
}
"""Module and class of each engine."""


def program_of(args: EngineArgs) -> EngineProgram:
    """The engine that these arguments are for.

    Raises:
        ValueError: there is none of this name; the message lists those there are.
    """
    if args.kind not in ENGINES:
        raise ValueError(f"engine {args.kind!r} is not built; built: {', '.join(sorted(ENGINES))}")
    module, name = ENGINES[args.kind]
    program: EngineProgram = getattr(importlib.import_module(module), name)(args)
    return program
