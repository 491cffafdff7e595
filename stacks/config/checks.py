"""Checks that need more than one field of the configuration, or the catalogue.

Each takes a configuration of which broken fields may be absent (see `salvage.py`), so that one mistake does
not
hide another, and says why something cannot be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from planner.catalog import gpus, instances
from stacks.config.checks_chart import check_chart
from stacks.config.checks_cloud import check_cloud
from stacks.config.checks_deployment import check_deployment
from stacks.config.checks_engines import check_engine
from stacks.config.checks_gateway import check_gateway
from stacks.config.checks_images import check_images
from stacks.config.checks_kv_offload import check_kv_offload
from stacks.config.checks_observability import check_observability
from stacks.config.checks_secrets import check_references
from stacks.config.checks_sleep import check_sleep
from stacks.config.checks_topologies import check_topologies
from stacks.config.checks_traces import check_traces
from stacks.config.checks_weights import check_weights
from stacks.config.models import EnvironmentConfig, MigSharing, ModelDeployment, NodePool
from stacks.config.placement import gpu_of, instance_of
from stacks.config.resolve import accelerators_of
from stacks.config.salvage import has
from stacks.config.vocabulary import (
    BUILT_CLOUDS,
    BUILT_ENGINES,
    BUILT_SERVING_STACKS,
    BUILT_TOPOLOGIES,
    CLOUDS_WITH_INSTANCES,
    CapacityType,
    Cloud,
)
from stacks.errors import MISSING, FieldError, nearest, unknown_choice

SYSTEM_POOL = "system"
"""Name of the CPU nodes: observability, autoscaling and the gateway run there."""


def check(config: EnvironmentConfig) -> Iterator[FieldError]:
    """All errors between fields.

    Args:
        config: valid, or salvaged from an invalid one.
    """
    pools = config.node_pools if has(config, "node_pools") else ()
    deployments = config.model_deployments if has(config, "model_deployments") else ()
    yield from _not_built(config, deployments)
    yield from _unique("node_pools", pools)
    yield from _unique("model_deployments", deployments)
    for index, pool in enumerate(pools):
        yield from _check_pool(config, pool, f"node_pools[{index}]")
    by_name = {pool.name: pool for pool in pools if has(pool, "name")}
    # A pool whose name is broken may be the one that is meant.
    names_known = bool(pools) and all(has(pool, "name") for pool in pools)
    for index, deployment in enumerate(deployments):
        if names_known:
            yield from _check_pool_name(deployment, by_name, f"model_deployments[{index}]")
        cloud = config.cloud if has(config, "cloud") else None
        found = by_name.get(deployment.node_pool) if has(deployment, "node_pool") else None
        yield from check_deployment(cloud, found, deployment, f"model_deployments[{index}]")
        yield from check_engine(config, deployment, f"model_deployments[{index}]")
        yield from check_sleep(config, found, deployment, f"model_deployments[{index}]")
        yield from check_traces(deployment, f"model_deployments[{index}]")
        yield from check_kv_offload(config, found, deployment, f"model_deployments[{index}]")
    yield from check_gateway(config)
    yield from check_images(config)
    yield from check_observability(config)
    yield from check_cloud(config)
    yield from check_chart(config, deployments)
    yield from check_references(config, deployments)
    yield from check_topologies(config, deployments)
    yield from check_weights(config, deployments)


def _unbuilt(path: str, word: StrEnum, built: frozenset[StrEnum]) -> Iterator[FieldError]:
    if word not in built:
        choices = tuple(sorted(item.value for item in built))
        yield FieldError(path, word, "is not built yet", choices, f"Built so far: {', '.join(choices)}.")


def _not_built(config: EnvironmentConfig, deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    cloud = config.cloud if has(config, "cloud") else None
    if cloud is not None:
        yield from _unbuilt("cloud", cloud, frozenset(BUILT_CLOUDS))
    if has(config, "serving_stack"):
        yield from _unbuilt("serving_stack", config.serving_stack, frozenset(BUILT_SERVING_STACKS))
    for index, deployment in enumerate(deployments):
        path = f"model_deployments[{index}]"
        if has(deployment, "engine") and has(deployment.engine, "name"):
            yield from _unbuilt(f"{path}.engine.name", deployment.engine.name, frozenset(BUILT_ENGINES))
        if has(deployment, "topology") and has(deployment.topology, "kind"):
            yield from _unbuilt(f"{path}.topology.kind", deployment.topology.kind, frozenset(BUILT_TOPOLOGIES))


def _unique(section: str, items: Sequence[NodePool | ModelDeployment]) -> Iterator[FieldError]:
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        if not has(item, "name"):
            continue
        if item.name in first:
            message = f"already the name of {section}[{first[item.name]}]"
            yield FieldError(f"{section}[{index}].name", item.name, message, fix="Give each its own name.")
        first.setdefault(item.name, index)


def _check_pool(config: EnvironmentConfig, pool: NodePool, path: str) -> Iterator[FieldError]:
    if has(pool, "name") and pool.name == SYSTEM_POOL:
        message = "the name of the CPU nodes that every environment has"
        yield FieldError(f"{path}.name", pool.name, message, fix="Choose another name, for example after the GPU.")
    if has(pool, "min_nodes", "max_nodes") and pool.min_nodes > pool.max_nodes:
        yield FieldError(
            f"{path}.min_nodes",
            pool.min_nodes,
            f"is more than max_nodes, {pool.max_nodes}",
            fix=f"Lower min_nodes to {pool.max_nodes} or raise max_nodes to {pool.min_nodes}.",
        )
    yield from _check_instance(config, pool, path)
    yield from _check_mig(pool, path)


def _check_instance(config: EnvironmentConfig, pool: NodePool, path: str) -> Iterator[FieldError]:
    if not has(pool, "instance_type"):
        return
    where = f"{path}.instance_type"
    cloud = config.cloud if has(config, "cloud") and config.cloud in CLOUDS_WITH_INSTANCES else None
    if not pool.instance_type:
        yield from _check_accelerator(cloud, pool, path)
        return
    yield from _check_both(pool, path)
    instance = instance_of(pool)
    if instance is None:
        rows = [key for key, row in instances().items() if cloud is None or row.cloud == cloud]
        fix = "The catalogue is planner/catalog/instances.toml."
        yield unknown_choice(where, pool.instance_type, "no instance type of the catalogue", rows, fix)
        return
    if cloud is not None and instance.cloud != cloud:
        same = [key for key, row in instances().items() if row.cloud == cloud and row.gpu == instance.gpu]
        message = f"an instance type of {instance.cloud}, but cloud is {cloud}"
        yield FieldError(where, pool.instance_type, message, tuple(same), "Choose a type of this cloud.")
    spot = has(pool, "capacity_type") and pool.capacity_type in {CapacityType.SPOT, CapacityType.SPOT_WITH_FALLBACK}
    if spot and not instance.spot:
        choices = (CapacityType.RESERVED.value, CapacityType.ON_DEMAND.value)
        message = f"{instance.key} is not to be had as spot"
        yield FieldError(f"{path}.capacity_type", pool.capacity_type, message, choices, "Use capacity blocks.")


def _check_accelerator(cloud: Cloud | None, pool: NodePool, path: str) -> Iterator[FieldError]:
    """Why no instance type came of the GPU's name."""
    if not has(pool, "accelerator", "gpus_per_node"):
        return
    if pool.accelerator is None:
        fix = "Name the GPU (accelerator: l4) or the machine (instance_type: g6.2xlarge)."
        yield FieldError(f"{path}.accelerator", MISSING, "required, but not given, where instance_type is not", fix=fix)
        return
    offered = accelerators_of(cloud.value if cloud is not None else "")
    if pool.accelerator not in offered:
        where = f"no GPU of {cloud}" if cloud is not None and pool.accelerator in gpus() else "no GPU of the catalogue"
        yield unknown_choice(f"{path}.accelerator", pool.accelerator, where, offered)
    elif pool.gpus_per_node is not None and pool.gpus_per_node not in offered[pool.accelerator]:
        counts = tuple(str(count) for count in offered[pool.accelerator])
        message = f"no machine{f' of {cloud}' if cloud is not None else ''} has so many {pool.accelerator}"
        yield FieldError(f"{path}.gpus_per_node", pool.gpus_per_node, message, counts, "Choose one of these numbers.")


def _check_both(pool: NodePool, path: str) -> Iterator[FieldError]:
    """A GPU and a machine that contradict each other."""
    instance = instance_of(pool)
    if instance is None or not has(pool, "accelerator", "gpus_per_node"):
        return
    if pool.accelerator is not None and pool.accelerator != instance.gpu:
        message = f"{instance.key} has the GPU {instance.gpu}"
        yield FieldError(f"{path}.accelerator", pool.accelerator, message, (instance.gpu,), "Remove one of the two.")
    elif pool.gpus_per_node is not None and pool.gpus_per_node != instance.gpus:
        message = f"{instance.key} has {instance.gpus} GPUs"
        yield FieldError(f"{path}.gpus_per_node", pool.gpus_per_node, message, (str(instance.gpus),), "Remove it.")


def _check_mig(pool: NodePool, path: str) -> Iterator[FieldError]:
    gpu = gpu_of(pool)
    if gpu is None or not has(pool, "sharing") or not isinstance(pool.sharing, MigSharing):
        return
    if not gpu.mig_profiles:
        able = ", ".join(sorted(row.key for row in gpus().values() if row.mig_profiles))
        yield FieldError(
            f"{path}.sharing.mode",
            pool.sharing.mode,
            f"{gpu.name} ({pool.instance_type}) has no MIG",
            ("none", "time-slicing", "mps"),
            f"GPUs with MIG: {able}.",
        )
    elif has(pool.sharing, "profile") and pool.sharing.profile not in gpu.mig_profiles:
        message = f"no MIG profile of the {gpu.name}"
        yield unknown_choice(f"{path}.sharing.profile", pool.sharing.profile, message, gpu.mig_profiles)


def _check_pool_name(deployment: ModelDeployment, pools: dict[str, NodePool], path: str) -> Iterator[FieldError]:
    if has(deployment, "node_pool") and deployment.node_pool not in pools:
        close = nearest(deployment.node_pool, pools)
        fix = "" if close else "Add such a pool to node_pools, or name one that is there."
        message = "no node pool has this name"
        yield unknown_choice(f"{path}.node_pool", deployment.node_pool, message, pools, fix)
