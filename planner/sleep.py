"""vLLM's sleep mode: what an engine that sleeps frees and keeps, and how long falling asleep and waking take.

Level 1 copies the weights to the memory of the pod and drops the KV cache; waking copies them back. Level 2 drops both;
waking reads the weights again. The default times are those of one published measurement, scaled by the weights of a
GPU, since copying them is what takes the time:

    vLLM Production Stack, tutorials/19-engine-sleep-wakeup-mode.md, ibm-granite/granite-3.0-3b-a800m-instruct, level 1:
    39.26 GiB freed, 1.20 GiB still in use, 5.75 s to fall asleep, 0.285 s to wake.

The model card gives 3.3 billion parameters, in bfloat16. vLLM's own figures (blog of 2025-10-26, A100, level 1) wake
Phi-3-vision's 4.15 billion parameters in 0.82 s, which is 2.3 times as long per GiB: expect a spread of that size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from planner.memory import GIB

PUBLISHED_KEPT_GIB: Final = 1.20
PUBLISHED_SLEEP_SECONDS: Final = 5.75
PUBLISHED_WAKE_SECONDS: Final = 0.285
PUBLISHED_WEIGHTS_GIB: Final = 3.3e9 * 2 / GIB

PUBLISHED_RELOAD_GIB_S: Final = 4.15e9 * 2 / GIB / 2.58
"""Waking from level 2 from a local disk: Phi-3-vision in 2.58 s (vLLM blog of 2025-10-26, A100)."""

LEVELS: Final = (1, 2)

ENGINE_PROCESS_GIB: Final = 4.0
"""What vLLM's own processes take of a pod's memory beside weights: an estimate."""

PODS_SHARE_OF_NODE: Final = 0.8
"""As in components/scheduling.py: what all engine pods of a node ask for of its memory."""


def pod_memory_gib(node_memory_gib: float, gpus: int, gpus_of_node: int) -> float:
    """Memory of a pod with so many of a node's GPUs (or slices), GiB."""
    return node_memory_gib * PODS_SHARE_OF_NODE * gpus / gpus_of_node


@dataclass(frozen=True)
class SleepEstimate:
    """What sleeping does to one replica.

    Attributes:
        freed_gib: memory of each GPU that is free while it sleeps.
        kept_gib: memory of each GPU that is not: CUDA's context and graphs.
        host_gib: memory of the pod that holds its weights meanwhile.
        sleep_seconds: until it is freed.
        wake_seconds: from the call until the engine runs again.
    """

    freed_gib: float
    kept_gib: float
    host_gib: float
    sleep_seconds: float
    wake_seconds: float


def estimate_sleep(
    level: int,
    weights_gib: float,
    used_gib: float,
    tensor_parallel: int = 1,
    reload_gib_s: float = PUBLISHED_RELOAD_GIB_S,
) -> SleepEstimate:
    """Work out a sleep.

    Args:
        level: 1 or 2.
        weights_gib: of the whole replica.
        used_gib: what the engine takes of each GPU while it is awake.
        tensor_parallel: GPUs of the replica; each copies its own share, at the same time.
        reload_gib_s: how fast a node reads weights again; level 2 only.

    Raises:
        ValueError: no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"sleep level {level} must be one of {', '.join(map(str, LEVELS))}")
    kept = min(PUBLISHED_KEPT_GIB, used_gib)
    share = weights_gib / tensor_parallel / PUBLISHED_WEIGHTS_GIB
    if level == 1:
        seconds = (PUBLISHED_SLEEP_SECONDS * share, PUBLISHED_WAKE_SECONDS * share)
        return SleepEstimate(used_gib - kept, kept, weights_gib, *seconds)
    # Dropping copies nothing, and nobody has published how long it takes: it counts as nothing.
    return SleepEstimate(used_gib - kept, kept, 0.0, 0.0, weights_gib / reload_gib_s)
