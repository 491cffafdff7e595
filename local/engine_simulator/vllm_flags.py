"""Flags of ``vllm serve`` that the simulator accepts and ignores: a pod's arguments need no change for it.

They are those of the pinned engine's own parser, from the catalogue that the configuration is checked against
(`planner/flags`), so that the simulator refuses what the engine would. Flags that the simulator models are in
:mod:`local.engine_simulator.arguments`.
"""

from __future__ import annotations

from typing import Final

from components.versions import VLLM_ENGINE
from planner.flags.catalogue import Flag, catalogue

ENGINE_VERSION: Final = VLLM_ENGINE.rpartition(":")[2]

MODELLED: Final = frozenset(
    {
        "--model",
        "--host",
        "--port",
        "--uds",
        "--served-model-name",
        "--api-key",
        "--shutdown-timeout",
        "--enable-sleep-mode",
        "--enable-prompt-tokens-details",
        "--enable-force-include-usage",
        "--max-model-len",
        "--max-num-seqs",
        "--max-num-batched-tokens",
        "--gpu-memory-utilization",
        "--tensor-parallel-size",
        "--block-size",
        "--num-gpu-blocks-override",
        "--kv-cache-dtype",
        "--dtype",
        "--quantization",
        "--enable-prefix-caching",
        "--enable-lora",
        "--lora-modules",
        "--max-loras",
        "--max-lora-rank",
        "--kv-transfer-config",
    }
)
"""Flags that shape the simulation."""


def ignored_flags() -> tuple[Flag, ...]:
    """All other flags of the engine."""
    flags = catalogue("vllm", ENGINE_VERSION).flags.values()
    return tuple(flag for flag in flags if flag.name not in MODELLED)
