"""A model deployment on the GPUs of its node pool, in the planner's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.alternatives import Placement
from planner.catalog import Gpu, Instance, gpus, instances, models
from planner.lora import NO_LORA, LoraSlots
from planner.sizing import EngineLimits, budget, derive_engine_limits, mig_memory_gib
from stacks.config.models import Engine, MigSharing, ModelDeployment, MpsSharing, NodePool, TimeSlicing
from stacks.config.salvage import has
from stacks.config.vocabulary import CLOUDS_WITH_INSTANCES, Cloud

if TYPE_CHECKING:
    from planner.flags.words import Value

ENGINE_QUANTIZATION = {
    "fp8": "fp8",
    "awq": "int4",
    "awq_marlin": "int4",
    "gptq": "int4",
    "gptq_marlin": "int4",
    "bitsandbytes": "int4",
}
"""vLLM's --quantization in the planner's terms; other methods are sized as the checkpoint is stored."""

FP8_CACHES = frozenset({"fp8", "fp8_e4m3", "fp8_e5m2"})


def instance_of(pool: NodePool) -> Instance | None:
    """The pool's row of the catalogue, None if there is none or it could not be worked out."""
    return instances().get(pool.instance_type) if has(pool, "instance_type") else None


def gpu_of(pool: NodePool) -> Gpu | None:
    """The GPU of the pool's instance type, None if the type is unknown."""
    instance = instance_of(pool)
    return None if instance is None else gpus()[instance.gpu]


def shares_per_gpu(pool: NodePool) -> int:
    """How many pods one GPU of the pool serves; 1 if it is not shared or the sharing is broken."""
    sharing = pool.sharing
    if isinstance(sharing, (TimeSlicing, MpsSharing)) and has(sharing, "replicas"):
        return sharing.replicas
    gpu = gpu_of(pool)
    if isinstance(sharing, MigSharing) and has(sharing, "profile") and gpu is not None:
        profile = gpu.mig_profiles.get(sharing.profile)
        return 1 if profile is None else profile.per_gpu
    return 1


def memory_gib(pool: NodePool) -> float | None:
    """Memory that a pod sees on one GPU or slice, None if it is unknown."""
    gpu = gpu_of(pool)
    if gpu is None or not has(pool, "sharing"):
        return None
    if not isinstance(pool.sharing, MigSharing):
        return gpu.memory_gib
    profile = gpu.mig_profiles.get(pool.sharing.profile) if has(pool.sharing, "profile") else None
    return None if profile is None else mig_memory_gib(profile)


def quantization(engine: Engine) -> str | None:
    """How the engine is told to store linear layers, None if as the checkpoint has them."""
    return ENGINE_QUANTIZATION.get(str(extra_argument(engine, "quantization")))


def kv_cache_dtype(engine: Engine) -> str:
    """`fp8` if the engine is told so, else `auto`."""
    return "fp8" if extra_argument(engine, "kv-cache-dtype") in FP8_CACHES else "auto"


def extra_argument(engine: Engine, flag: str) -> Value | None:
    """The value of a further flag, with dashes and underscores alike as vLLM has it; None if it is not given."""
    if not has(engine, "extra_args"):
        return None
    return next((value for name, value in engine.extra_args.items() if name.replace("_", "-") == flag), None)


def lora_slots(engine: Engine) -> LoraSlots:
    """Room for the engine's adapters; none if it has none, or they are broken."""
    if not has(engine, "lora_adapters", "max_loras") or not engine.lora_adapters:
        return NO_LORA
    ranks = [adapter.rank for adapter in engine.lora_adapters if has(adapter, "rank")]
    return LoraSlots(engine.max_loras or len(engine.lora_adapters), max(ranks, default=NO_LORA.rank))


def place(cloud: Cloud | None, pool: NodePool, deployment: ModelDeployment) -> Placement | None:
    """The deployment in the planner's terms; None if the model or the GPU is unknown or a needed field is broken."""
    instance, memory = instance_of(pool), memory_gib(pool)
    if not has(deployment, "source", "engine") or not has(deployment.source, "hugging_face"):
        return None
    engine = deployment.engine
    model = models().get(deployment.source.hugging_face)
    if model is None or instance is None or memory is None:
        return None
    if not has(engine, "tensor_parallel", "gpu_memory_utilization", "max_model_len", "extra_args"):
        return None
    sharing = pool.sharing
    return Placement(
        model=model,
        instance=instance,
        memory_gib=memory,
        tensor_parallel=engine.tensor_parallel,
        gpu_memory_utilization=engine.gpu_memory_utilization,
        max_model_len=engine.max_model_len,
        quantization=quantization(engine),
        kv_cache_dtype=kv_cache_dtype(engine),
        lora=lora_slots(engine),
        mig_profile=sharing.profile if isinstance(sharing, MigSharing) else None,
        clouds=frozenset({cloud} if cloud in CLOUDS_WITH_INSTANCES else CLOUDS_WITH_INSTANCES),
    )


def engine_limits(pool: NodePool, deployment: ModelDeployment) -> EngineLimits | None:
    """What one replica of a checked deployment holds; None for a model that is not in the catalogue.

    Raises:
        DoesNotFitError: the deployment was not checked before.
    """
    gpu, model = gpu_of(pool), models().get(deployment.source.hugging_face)
    if gpu is None or model is None:
        return None
    engine, sharing = deployment.engine, pool.sharing
    return derive_engine_limits(
        model,
        gpu,
        engine.tensor_parallel,
        engine.gpu_memory_utilization,
        engine.max_model_len,
        engine.max_num_seqs,
        mig_profile=sharing.profile if isinstance(sharing, MigSharing) else None,
        quantization=quantization(engine),
        kv_cache_dtype=kv_cache_dtype(engine),
        lora=lora_slots(engine),
    )


def static_memory_share(pool: NodePool, deployment: ModelDeployment) -> float | None:
    """Share of the GPU's memory for weights and KV cache alone, two digits; None for a model of unknown size.

    Engines that are told this share take what they compute with in addition.
    """
    gpu, model, memory = gpu_of(pool), models().get(deployment.source.hugging_face), memory_gib(pool)
    if gpu is None or model is None or memory is None:
        return None
    engine = deployment.engine
    parts = budget(
        model,
        memory,
        engine.tensor_parallel,
        engine.gpu_memory_utilization,
        quantization=quantization(engine),
        kv_cache_dtype=kv_cache_dtype(engine),
        max_num_seqs=engine.max_num_seqs,
    )
    return round((parts.usable_gib - parts.overhead_gib) / memory, 2)
