"""Checks of one model deployment: scaling, flags, simulation, and whether the model fits its GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from planner.alternatives import Placement, nearest_ways
from planner.catalog import gpus, is_own_model, models
from planner.sizing import (
    budget,
    computes,
    describe,
    kv_cache_tokens,
    needed_tokens,
    tensor_parallel_choices,
)
from stacks.config.checks_arguments import check_arguments, engine_catalogue
from stacks.config.checks_sleep import idle_of
from stacks.config.checks_slo import check_slo
from stacks.config.engine_flags import flags_of
from stacks.config.models import ModelDeployment, MpsSharing, NodePool, Scaling, TimeSlicing
from stacks.config.placement import extra_argument, instance_of, place, shares_per_gpu
from stacks.config.salvage import has
from stacks.config.vocabulary import Cloud, SharingMode
from stacks.errors import MISSING, FieldError, unknown_choice

if TYPE_CHECKING:
    from planner.flags.words import Value


def check_deployment(
    cloud: Cloud | None, pool: NodePool | None, deployment: ModelDeployment, path: str
) -> Iterator[FieldError]:
    """All errors between the fields of one model deployment and its pool.

    Args:
        cloud: None if it is not known.
        pool: the deployment's node pool, None if there is no such pool.
        deployment: valid, or salvaged.
        path: where it stands.
    """
    if has(deployment, "scaling"):
        yield from _check_scaling(deployment.scaling, f"{path}.scaling")
    if has(deployment, "slo"):
        yield from check_slo(deployment.slo, f"{path}.slo")
    yield from _check_simulation(cloud, deployment, path)
    yield from _check_flags(cloud, pool, deployment, f"{path}.engine")
    yield from _check_model(cloud, deployment, path)
    if pool is not None and has(deployment, "engine"):
        yield from _check_gpus(cloud, pool, deployment, f"{path}.engine")


def _check_scaling(scaling: Scaling, path: str) -> Iterator[FieldError]:
    if has(scaling, "min_replicas", "max_replicas") and scaling.min_replicas > scaling.max_replicas:
        low, high = scaling.min_replicas, scaling.max_replicas
        yield FieldError(
            f"{path}.min_replicas",
            low,
            f"is more than max_replicas, {high}",
            fix=f"Lower min_replicas to {high} or raise max_replicas to {low}.",
        )
    # The cooldown is KEDA's step from the last replica to none: nothing else uses it.
    if not has(scaling, "min_replicas", "cooldown_seconds") or scaling.min_replicas > 0:
        return
    cooldown = scaling.cooldown_seconds
    if has(scaling, "startup_budget_seconds") and cooldown < scaling.startup_budget_seconds:
        start = scaling.startup_budget_seconds
        yield FieldError(
            f"{path}.cooldown_seconds",
            cooldown,
            f"is less than startup_budget_seconds, {start}: a model that is still loading would be taken "
            f"away, "
            "and never answer",
            fix=f"Set cooldown_seconds to {start} or more, or lower startup_budget_seconds to {cooldown}.",
        )
    if has(scaling, "polling_interval_seconds") and cooldown < 2 * scaling.polling_interval_seconds:
        polling = scaling.polling_interval_seconds
        yield FieldError(
            f"{path}.cooldown_seconds",
            cooldown,
            f"is less than two looks of KEDA (polling_interval_seconds {polling}): traffic between two "
            f"looks would "
            "not be seen",
            fix=f"Set cooldown_seconds to {2 * polling} or more.",
        )


def _check_simulation(cloud: Cloud | None, deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    simulation = deployment.simulation if has(deployment, "simulation") else None
    if simulation is None:
        return
    if cloud not in {None, Cloud.LOCAL}:
        message = f"engines are simulated on the local cloud only, and cloud is {cloud}"
        yield FieldError(f"{path}.simulation", MISSING, message, fix="Remove it.")
    if not has(simulation, "startup_seconds") or not has(deployment, "scaling"):
        return
    if has(deployment.scaling, "startup_budget_seconds"):
        most = deployment.scaling.startup_budget_seconds
        if simulation.startup_seconds > most:
            yield FieldError(
                f"{path}.simulation.startup_seconds",
                simulation.startup_seconds,
                f"is more than scaling.startup_budget_seconds, {most}: the engine would be given up while it starts",
                fix=f"Lower it to {most} or less, or raise scaling.startup_budget_seconds.",
            )


def _check_flags(
    cloud: Cloud | None, pool: NodePool | None, deployment: ModelDeployment, path: str
) -> Iterator[FieldError]:
    if not has(deployment, "engine") or not has(deployment.engine, "extra_args"):
        return
    if not deployment.engine.extra_args:
        return
    known, table = engine_catalogue(deployment), flags_of(deployment.engine)
    seen: dict[str, str] = {}
    rest: dict[str, Value] = {}
    for name, value in deployment.engine.extra_args.items():
        where = f"{path}.extra_args.{name}"
        # Another name of a flag is that flag: device-memory-utilization is gpu-memory-utilization.
        entry = None if known is None else known.find(f"--{name}")
        flag = (entry.name if entry else name).removeprefix("--").replace("_", "-")
        if flag in table.derived:
            message = f"the platform writes --{flag} itself"
            yield FieldError(where, value, message, fix=f"Remove it: {table.derived[flag]}.")
        elif flag in table.unsupported:
            # The value may be a secret: it is not repeated.
            reason = table.unsupported[flag]
            yield FieldError(where, MISSING, f"--{flag} is not supported", fix=f"Remove it: {reason}.")
        elif flag in seen:
            yield FieldError(where, value, f"the same flag as {seen[flag]}", fix="Remove one of them.")
        else:
            rest[name] = value
        seen.setdefault(flag, name)
    yield from check_arguments(cloud, pool, deployment, rest, path)


def _check_model(cloud: Cloud | None, deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    if not has(deployment, "source") or not has(deployment.source, "hugging_face"):
        return
    name = deployment.source.hugging_face
    model = models().get(name)
    if model is None or (cloud is Cloud.LOCAL and is_own_model(name)):
        # On other clouds the engine itself finds out about the model: a warning, see warnings.py.
        if cloud is Cloud.LOCAL:
            yield unknown_choice(
                f"{path}.source.hugging_face",
                name,
                "not in the catalogue, and the simulated engine takes its sizes from there",
                models(),
                "Or add a row to planner/catalog/models.toml.",
            )
        return
    if not has(deployment, "engine") or not has(deployment.engine, "max_model_len"):
        return
    length = deployment.engine.max_model_len
    if length is not None and length > model.max_position_embeddings:
        most = model.max_position_embeddings
        message = f"is more than the {most} tokens that {name} was trained for: vLLM refuses to start"
        yield FieldError(f"{path}.engine.max_model_len", length, message, fix=f"Set it to {most} or less.")


def _check_gpus(cloud: Cloud | None, pool: NodePool, deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    shared = list(_check_shared(pool, deployment, path))
    yield from shared
    placement = place(cloud, pool, deployment)
    wrong_size = list(_check_tensor_parallel(pool, deployment, placement, path)) if not shared else []
    yield from wrong_size
    if placement is None:
        return
    gpu = gpus()[placement.instance.gpu]
    if not computes(gpu, placement.model.dtype) and extra_argument(deployment.engine, "dtype") is None:
        message = f"{placement.model.key} is stored in bfloat16, which the {gpu.name} cannot compute"
        fix = "Add dtype: half, or choose a pool with a newer GPU."
        yield FieldError(f"{path}.extra_args.dtype", MISSING, message, ("half",), fix)
    too_long = (placement.max_model_len or 0) > placement.model.max_position_embeddings
    if not shared and not wrong_size and not too_long:
        yield from _check_fit(placement, path.removesuffix("engine") + "source.hugging_face")


def _check_shared(pool: NodePool, deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    if not has(pool, "sharing") or pool.sharing.mode is SharingMode.NONE:
        return
    engine, mode = deployment.engine, pool.sharing.mode
    if has(engine, "tensor_parallel") and engine.tensor_parallel > 1:
        message = f"a replica cannot span GPUs of the pool {pool.name}, whose GPUs are shared ({mode})"
        yield FieldError(f"{path}.tensor_parallel", engine.tensor_parallel, message, fix="Set it to 1.")
    if not isinstance(pool.sharing, (TimeSlicing, MpsSharing)) or not has(engine, "gpu_memory_utilization"):
        return
    replicas, share = shares_per_gpu(pool), engine.gpu_memory_utilization
    most = int(100 / replicas) / 100
    if share * replicas > 1:
        yield FieldError(
            f"{path}.gpu_memory_utilization",
            share,
            f"{replicas} pods share each GPU of the pool {pool.name} ({mode}) and each sees all of its "
            f"memory: "
            f"{replicas} x {share:g} is more than 1{_awake_at_once(deployment)}",
            fix=f"Set it to {most:g} or less.",
        )


def _awake_at_once(deployment: ModelDeployment) -> str:
    """Why sleeping does not let models share more memory than there is."""
    sleeps = idle_of(deployment) is not None
    return ", and nobody keeps models that sleep when idle from being awake at once" if sleeps else ""


def _check_tensor_parallel(
    pool: NodePool, deployment: ModelDeployment, placement: Placement | None, path: str
) -> Iterator[FieldError]:
    instance = instance_of(pool)
    if instance is None or not has(deployment.engine, "tensor_parallel"):
        return
    size = deployment.engine.tensor_parallel
    where = f"{path}.tensor_parallel"
    if size > instance.gpus:
        message = f"is more than the {instance.gpus} GPUs of a {instance.key}, and a replica runs on one node"
        yield FieldError(where, size, message, fix=f"Set it to {instance.gpus} or less, or choose a larger type.")
    elif placement is not None:
        sizes = list(tensor_parallel_choices(placement.model, instance.gpus))
        if size not in sizes:
            model = placement.model
            message = f"does not divide the {model.heads} heads ({model.kv_heads} KV heads) of {model.key}"
            choices = tuple(str(item) for item in sizes)
            yield FieldError(where, size, message, choices, "Choose one of them.")


def _check_fit(placement: Placement, path: str) -> Iterator[FieldError]:
    if placement.fits():
        return
    parts = budget(
        placement.model,
        placement.memory_gib,
        placement.tensor_parallel,
        placement.gpu_memory_utilization,
        quantization=placement.quantization,
        kv_cache_dtype=placement.kv_cache_dtype,
        lora=placement.lora,
    )
    tokens = kv_cache_tokens(
        placement.model,
        placement.memory_gib,
        placement.tensor_parallel,
        placement.gpu_memory_utilization,
        quantization=placement.quantization,
        kv_cache_dtype=placement.kv_cache_dtype,
        lora=placement.lora,
    )
    gpu = gpus()[placement.instance.gpu].name
    slice_name = "" if placement.mig_profile is None else f" {placement.mig_profile} slice"
    needed = needed_tokens(placement.model, placement.max_model_len)
    ways = nearest_ways(placement)
    yield FieldError(
        path,
        placement.model.key,
        f"does not fit {placement.tensor_parallel} x {gpu}{slice_name}: {describe(parts, tokens, needed)}",
        fix=f"What fits: {'; '.join(ways)}." if ways else "No instance type of the catalogue fits it.",
    )
