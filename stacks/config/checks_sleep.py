"""Checks of sleep mode: which engine and serving stack have it, and whether there is room for a sleeper's weights."""

from __future__ import annotations

from collections.abc import Iterator

from planner.sizing import weights_gib
from planner.sleep import ENGINE_PROCESS_GIB, pod_memory_gib
from stacks.config.models import EnvironmentConfig, ModelDeployment, NodePool
from stacks.config.models_deployment import SleepWhenIdle
from stacks.config.models_topology import Disaggregated
from stacks.config.placement import instance_of, place, shares_per_gpu
from stacks.config.salvage import has
from stacks.config.vocabulary import EngineName, IdleKind, ServingStack
from stacks.errors import FieldError


def idle_of(deployment: ModelDeployment) -> SleepWhenIdle | None:
    """How the model sleeps when it is idle; None if it does not, or if that is broken."""
    if not has(deployment, "scaling") or not has(deployment.scaling, "idle"):
        return None
    idle = deployment.scaling.idle
    return idle if isinstance(idle, SleepWhenIdle) else None


def check_sleep(
    config: EnvironmentConfig, pool: NodePool | None, deployment: ModelDeployment, path: str
) -> Iterator[FieldError]:
    """All errors of a model that sleeps when it is idle.

    Args:
        config: valid, or salvaged from an invalid one.
        pool: the deployment's node pool, None if there is no such pool.
        deployment: valid, or salvaged.
        path: where it stands.
    """
    idle = idle_of(deployment)
    if idle is None:
        return
    scaling = f"{path}.scaling"
    if has(config, "serving_stack") and config.serving_stack is not ServingStack.MANIFESTS:
        message = f"the serving stack {config.serving_stack} has nobody who wakes a sleeping engine"
        fix = "Set serving_stack: manifests, or remove scaling.idle."
        yield FieldError(f"{scaling}.idle.kind", IdleKind.SLEEP, message, (IdleKind.SCALE.value,), fix)
    if has(deployment, "engine") and has(deployment.engine, "name") and deployment.engine.name is not EngineName.VLLM:
        message = f"sleep mode is vLLM's, and the engine is {deployment.engine.name}"
        fix = "Set engine.name: vllm, or remove scaling.idle."
        yield FieldError(f"{scaling}.idle.kind", IdleKind.SLEEP, message, (IdleKind.SCALE.value,), fix)
    if has(deployment.scaling, "min_replicas") and deployment.scaling.min_replicas == 0:
        message = "an idle model cannot sleep and go away: scaling.idle says that it sleeps"
        fix = "Set min_replicas to 1, or remove scaling.idle to scale to zero."
        yield FieldError(f"{scaling}.min_replicas", 0, message, fix=fix)
    if has(deployment, "topology") and isinstance(deployment.topology, Disaggregated):
        message = "workers that prefill and workers that decode fetch from one another, and cannot sleep"
        fix = "Set topology: {kind: aggregated}, or remove scaling.idle."
        yield FieldError(f"{scaling}.idle.kind", IdleKind.SLEEP, message, (IdleKind.SCALE.value,), fix)
    adapters = has(deployment, "engine") and has(deployment.engine, "lora_adapters") and deployment.engine.lora_adapters
    if adapters and has(idle, "level") and idle.level > 1:
        message = "drops the adapters with the weights, and vLLM reads only the weights again"
        yield FieldError(f"{scaling}.idle.level", idle.level, message, ("1",), "Set it to 1.")
    if pool is not None and has(idle, "level") and idle.level == 1:
        yield from _check_host_memory(config, pool, deployment, f"{scaling}.idle.level")


def _check_host_memory(
    config: EnvironmentConfig, pool: NodePool, deployment: ModelDeployment, path: str
) -> Iterator[FieldError]:
    """Level 1 keeps the weights in the pod's memory, which is the pod's limit."""
    cloud = config.cloud if has(config, "cloud") else None
    placement, instance = place(cloud, pool, deployment), instance_of(pool)
    if placement is None or instance is None:
        return
    weights = weights_gib(placement.model, placement.quantization)
    gpus = instance.gpus * shares_per_gpu(pool)
    memory = pod_memory_gib(instance.memory_gib, placement.tensor_parallel, gpus)
    if weights + ENGINE_PROCESS_GIB <= memory:
        return
    message = (
        f"{placement.model.key} keeps {weights:.1f} GiB of weights in its pod's memory while it sleeps, beside "
        f"{ENGINE_PROCESS_GIB:g} GiB of the engine; a pod with {placement.tensor_parallel} of the {gpus} GPUs or "
        f"slices of a {instance.key} has {memory:.1f} GiB"
    )
    yield FieldError(path, 1, message, ("2",), "Set it to 2, or choose an instance type with more memory.")
