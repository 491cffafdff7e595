"""Instance types from GPU names: what makes one configuration mean the same on every cloud."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from planner.catalog import Instance, gpus, instances
from stacks.config.vocabulary import CLOUDS_WITH_INSTANCES


def resolve_instance(cloud: str, accelerator: str, gpus_per_node: int | None) -> Instance | None:
    """The instance type that a GPU's name means on a cloud; None if the cloud has none.

    The cheapest with as many GPUs as wanted (None: the fewest there are) whose main memory is at least the GPUs': an
    engine reads weights through it. Types without a price come last, types with less memory after those.

    Args:
        cloud: one that makes machines limits the choice to its own; on others every row counts.
        accelerator: key of the GPU in the catalogue.
        gpus_per_node: None for the fewest.
    """
    rows = [
        row
        for row in instances().values()
        if row.gpu == accelerator and (cloud not in CLOUDS_WITH_INSTANCES or row.cloud == cloud)
    ]
    counts = {row.gpus for row in rows}
    wanted = min(counts, default=0) if gpus_per_node is None else gpus_per_node
    fitting = [row for row in rows if row.gpus == wanted]
    if not fitting:
        return None
    gpu_memory = gpus()[accelerator].memory_gib

    def order(row: Instance) -> tuple[bool, float, float]:
        price = math.inf if row.price_per_hour is None else row.price_per_hour
        return row.memory_gib < gpu_memory * row.gpus, price, row.memory_gib

    return min(fitting, key=order)


def accelerators_of(cloud: str) -> dict[str, list[int]]:
    """GPUs that a cloud has, each with the numbers per node that it offers."""
    found: dict[str, set[int]] = {}
    for row in instances().values():
        if cloud not in CLOUDS_WITH_INSTANCES or row.cloud == cloud:
            found.setdefault(row.gpu, set()).add(row.gpus)
    return {gpu: sorted(counts) for gpu, counts in sorted(found.items())}


def with_instance_types(raw: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The raw configuration with `instance_type` filled in wherever `accelerator` says it.

    What is broken stays as it is: the types and the checks report it.
    """
    pools, cloud = raw.get("node_pools"), raw.get("cloud")
    if not isinstance(pools, Sequence) or isinstance(pools, (str, bytes)) or not isinstance(cloud, str):
        return raw
    return {**raw, "node_pools": [_with_instance_type(pool, cloud) for pool in pools]}


def _with_instance_type(pool: object, cloud: str) -> object:
    if not isinstance(pool, Mapping) or "instance_type" in pool:
        return pool
    accelerator, count = pool.get("accelerator"), pool.get("gpus_per_node")
    if not isinstance(accelerator, str) or not (count is None or type(count) is int):
        return pool
    row = resolve_instance(cloud, accelerator, count)
    return pool if row is None else {**pool, "instance_type": row.key}
