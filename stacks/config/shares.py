"""Each pod's share of a GPU that several take turns on: what `gpu_memory_utilization` is where nobody wrote it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

DEFAULT_UTILIZATION = 0.85
"""Of a whole GPU, or of a slice of its own (MIG): the practitioners' guides."""

PODS_PER_GPU = range(2, 49)
"""As the types have it: more is an error of its own."""

TAKING_TURNS = frozenset({"time-slicing", "mps"})
"""Ways of sharing in which every pod sees the memory of the whole GPU, and must leave the others theirs."""


def utilization_of_share(pods_per_gpu: int) -> float:
    """Share of a GPU's memory that each of so many pods on it may take, rounded down to whole percent.

    All together take as much of the GPU as one alone would.
    """
    return max(1, int(DEFAULT_UTILIZATION * 100 / pods_per_gpu)) / 100


def with_memory_shares(raw: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The raw configuration with `engine.gpu_memory_utilization` filled in where pods take turns on a GPU.

    What is broken stays as it is: the types and the checks report it.
    """
    pools, deployments = raw.get("node_pools"), raw.get("model_deployments")
    if not _is_list(pools) or not _is_list(deployments):
        return raw
    pods = {
        pool["name"]: _pods_per_gpu(pool)
        for pool in pools
        if isinstance(pool, Mapping) and isinstance(pool.get("name"), str)
    }
    if not any(count > 1 for count in pods.values()):
        return raw
    return {**raw, "model_deployments": [_with_share(item, pods) for item in deployments]}


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _pods_per_gpu(pool: Mapping[Any, Any]) -> int:
    sharing = pool.get("sharing")
    mode = sharing.get("mode") if isinstance(sharing, Mapping) else None
    if not isinstance(sharing, Mapping) or not isinstance(mode, str) or mode not in TAKING_TURNS:
        return 1
    replicas = sharing.get("replicas")
    return replicas if type(replicas) is int and replicas in PODS_PER_GPU else 1


def _with_share(deployment: object, pods: Mapping[Any, int]) -> object:
    if not isinstance(deployment, Mapping) or not isinstance(deployment.get("node_pool"), str):
        return deployment
    count, engine = pods.get(deployment["node_pool"], 1), deployment.get("engine", {})
    if count <= 1 or not isinstance(engine, Mapping) or "gpu_memory_utilization" in engine:
        return deployment
    return {**deployment, "engine": {**engine, "gpu_memory_utilization": utilization_of_share(count)}}
