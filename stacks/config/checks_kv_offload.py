"""Checks of KV offload: what the engine, the serving stack and the machine have room and words for."""

from __future__ import annotations

from collections.abc import Iterator

from planner.sizing import weights_gib
from planner.sleep import ENGINE_PROCESS_GIB, pod_memory_gib
from stacks.config.checks_sleep import idle_of
from stacks.config.models import EnvironmentConfig, ModelDeployment, NodePool
from stacks.config.models_kv_offload import KvCacheServer, KvOffload
from stacks.config.models_topology import Disaggregated
from stacks.config.placement import instance_of, place, shares_per_gpu
from stacks.config.salvage import has
from stacks.config.vocabulary import Cloud, EngineName, KvOffloadBackend, ServingStack
from stacks.errors import MISSING, FieldError

LMCACHE_ONLY = ("disk_gib", "remote_url", "server")
WRITTEN_HERE = frozenset({"kv-transfer-config", "kv-offloading-size", "kv-offloading-backend"})
LARGEST_PORT = 65_535


def check_kv_offload(
    config: EnvironmentConfig, pool: NodePool | None, deployment: ModelDeployment, path: str
) -> Iterator[FieldError]:
    """All errors of a model that keeps keys and values beside its GPUs.

    Args:
        config: valid, or salvaged from an invalid one.
        pool: the deployment's node pool, None if there is no such pool.
        deployment: valid, or salvaged.
        path: where it stands.
    """
    if not has(deployment, "engine") or not has(deployment.engine, "kv_offload"):
        return
    engine, offload = deployment.engine, deployment.engine.kv_offload
    if offload is None:
        return
    where = f"{path}.engine.kv_offload"
    if has(engine, "name") and engine.name is not EngineName.VLLM:
        message = f"is written in vLLM's flags, and the engine is {engine.name}"
        yield FieldError(where, MISSING, message, fix="Set engine.name: vllm, or remove it.")
    if has(deployment, "topology") and isinstance(deployment.topology, Disaggregated):
        message = "puts another connector in the place of NIXL's: no block would come from prefill workers"
        yield FieldError(where, MISSING, message, fix="Remove it, or set topology: {kind: aggregated}.")
    for name in engine.extra_args if has(engine, "extra_args") else ():
        flag = name.replace("_", "-").partition(".")[0]
        if flag in WRITTEN_HERE:
            message = f"kv_offload writes --{flag} itself"
            yield FieldError(f"{path}.engine.extra_args.{name}", MISSING, message, fix="Remove one of the two.")
    yield from _check_chart_values(deployment, path)
    yield from _check_places(config, offload, where)
    if pool is not None:
        yield from _check_room(config, pool, deployment, where)


def _check_chart_values(deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    if not has(deployment, "chart_values"):
        return
    values = deployment.chart_values
    spec = values.get("servingEngineSpec")
    model = spec.get("modelSpec") if isinstance(spec, dict) else None
    given = {
        "cacheserverSpec": "cacheserverSpec" in values,
        "servingEngineSpec.modelSpec.lmcacheConfig": isinstance(model, dict) and "lmcacheConfig" in model,
    }
    for name, there in given.items():
        if there:
            message = "engine.kv_offload says the same in other words"
            yield FieldError(f"{path}.chart_values.{name}", MISSING, message, fix="Remove one of the two.")


def _check_places(config: EnvironmentConfig, offload: KvOffload, where: str) -> Iterator[FieldError]:
    """Disk and remote cache: who has them."""
    if has(offload, "backend") and offload.backend is not KvOffloadBackend.LMCACHE:
        for name in LMCACHE_ONLY:
            if has(offload, name) and getattr(offload, name) is not None:
                message = f"vLLM's own offload knows the pod's memory alone, and the backend is {offload.backend}"
                fix = "Set backend: lmcache, or remove it."
                yield FieldError(f"{where}.{name}", MISSING, message, (KvOffloadBackend.LMCACHE.value,), fix)
    if has(offload, "remote_url") and offload.remote_url is not None:
        port = int(offload.remote_url.rpartition(":")[2])
        if port > LARGEST_PORT:
            yield FieldError(f"{where}.remote_url", offload.remote_url, f"{port} is no port", fix="1 to 65535.")
    if has(offload, "server") and offload.server is not None:
        yield from _check_server(config, offload, offload.server, f"{where}.server")


def _check_server(
    config: EnvironmentConfig, offload: KvOffload, server: KvCacheServer, where: str
) -> Iterator[FieldError]:
    if has(offload, "remote_url") and offload.remote_url is not None:
        message = "an engine has one remote cache, and remote_url names one"
        yield FieldError(where, MISSING, message, fix="Keep one of the two.")
    if has(config, "serving_stack") and config.serving_stack is not ServingStack.PRODUCTION_STACK:
        message = f"the chart makes it, and serving_stack is {config.serving_stack}"
        fix = "Set remote_url to a cache that is there, or serving_stack: production-stack."
        yield FieldError(where, MISSING, message, fix=fix)
    if has(config, "cloud") and config.cloud is Cloud.LOCAL:
        message = "nothing stands in for LMCache's server on the local cloud"
        yield FieldError(where, MISSING, message, fix="Leave it out there.")
    image = server.image if has(server, "image") else ""
    if image.endswith(":latest"):
        message = "floats: engines and server must speak one version of LMCache's protocol"
        yield FieldError(f"{where}.image", image, message, fix="Name a version.")


def _check_room(
    config: EnvironmentConfig, pool: NodePool, deployment: ModelDeployment, where: str
) -> Iterator[FieldError]:
    """The pod's limit holds the engine, what it keeps while it sleeps, and the blocks."""
    offload, instance = deployment.engine.kv_offload, instance_of(pool)
    if offload is None:
        return
    disk = offload.disk_gib if has(offload, "disk_gib") else None
    if disk is not None and has(pool, "disk_gib") and disk >= pool.disk_gib:
        message = f"is the whole disk of a node of the pool {pool.name}, {pool.disk_gib} GiB, or more"
        yield FieldError(
            f"{where}.disk_gib", disk, message, fix=f"Lower it, or raise disk_gib of the pool {pool.name}."
        )
    placement = place(config.cloud if has(config, "cloud") else None, pool, deployment)
    if placement is None or instance is None or not has(offload, "cpu_gib"):
        return
    idle = idle_of(deployment)
    asleep = idle is not None and has(idle, "level") and idle.level == 1
    weights = weights_gib(placement.model, placement.quantization) if asleep else 0.0
    gpus = instance.gpus * shares_per_gpu(pool)
    memory = pod_memory_gib(instance.memory_gib, placement.tensor_parallel, gpus)
    room = memory - ENGINE_PROCESS_GIB - weights
    if offload.cpu_gib <= room:
        return
    kept = f" and {weights:.1f} GiB of weights while it sleeps" if asleep else ""
    message = (
        f"a pod with {placement.tensor_parallel} of the {gpus} GPUs or slices of a {instance.key} has {memory:.1f} GiB "
        f"of memory, of which the engine takes {ENGINE_PROCESS_GIB:g}{kept}"
    )
    fix = f"Set it to {int(room)} or less, or choose" if room >= 1 else "Remove kv_offload, or choose"
    yield FieldError(f"{where}.cpu_gib", offload.cpu_gib, message, fix=f"{fix} an instance type with more memory.")
