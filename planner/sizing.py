"""How much of a model fits on a GPU: KV cache, context and concurrency.

The budget is vLLM's own (`vllm/v1/kv_cache_interface.py`, `vllm/config/cache.py`):

    KV cache = memory * gpu_memory_utilization - weights / GPUs of the replica - overhead

and is handed out in blocks of 16 tokens. `planner/memory.py` has the terms and their sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict, Unpack

from planner.catalog import Gpu, Model
from planner.lora import NO_LORA, LoraSlots
from planner.memory import (
    BLOCK_TOKENS,
    DTYPE_BYTES,
    GIB,
    MAX_BATCHED_TOKENS,
    MAX_DEFAULT_SEQS,
    QUANTIZED_BYTES,
    SAMPLER_BYTES_PER_LOGIT,
    SizingError,
    at_least_one,
    kv_bytes_per_token,
    mig_memory_gib,
    overhead_gib,
    tokens_in,
    weights_gib,
)

__all__ = [
    "BLOCK_TOKENS",
    "DTYPE_BYTES",
    "GIB",
    "QUANTIZED_BYTES",
    "SizingError",
    "kv_bytes_per_token",
    "mig_memory_gib",
    "overhead_gib",
    "tokens_in",
    "weights_gib",
]

DEFAULT_GPU_MEMORY_UTILIZATION = 0.85
"""The practitioners' guides recommend 0.85 of 0.80 to 0.90; vLLM's own default has risen to 0.92."""

MEAN_REQUEST_TOKENS = 1366
"""Mean prompt plus answer of the Azure LLM inference trace 2023, conversation: 1154.7 + 211.1 tokens."""

MIN_CONTEXT_TOKENS = 2048
"""What a deployment without a stated context must hold to count as fitting."""

BFLOAT16_COMPUTE_CAPABILITY = 8.0


class DoesNotFitError(ValueError):
    """The model does not fit; the message states the sizes."""


@dataclass(frozen=True)
class EngineLimits:
    """What one replica can hold.

    Attributes:
        weights_gib: weights of the whole replica (over all its GPUs), GiB.
        kv_cache_tokens: tokens that the KV cache holds, a multiple of 16.
        max_model_len: longest prompt plus answer, tokens.
        max_num_seqs: most requests in one batch.
    """

    weights_gib: float
    kv_cache_tokens: int
    max_model_len: int
    max_num_seqs: int


@dataclass(frozen=True)
class Budget:
    """Where the memory of each GPU of a replica goes, GiB."""

    usable_gib: float
    weights_gib: float
    overhead_gib: float
    adapters_gib: float = 0.0

    @property
    def kv_cache_gib(self) -> float:
        """What is left for the KV cache; negative if the weights alone are too much."""
        return self.usable_gib - self.weights_gib - self.overhead_gib - self.adapters_gib


class Options(TypedDict, total=False):
    """How an engine is started, beside tensor parallelism and its share of the memory.

    Keys:
        pipeline_parallel: groups of GPUs that hold a part of the layers each; default 1.
        quantization: see `weights_gib`.
        kv_cache_dtype: `auto` (default) or `fp8`.
        max_num_seqs: requests in one batch; default: as many mean requests as fit, at most 256.
        max_num_batched_tokens: tokens in one step; default 2048.
        cuda_graphs: see `overhead_gib`; default True.
        lora: room for adapters; default none.
    """

    pipeline_parallel: int
    quantization: str | None
    kv_cache_dtype: str
    max_num_seqs: float | None
    max_num_batched_tokens: int
    cuda_graphs: bool
    lora: LoraSlots


def budget(
    model: Model,
    memory_gib: float,
    tensor_parallel: int = 1,
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION,
    **options: Unpack[Options],
) -> Budget:
    """Split the memory of each GPU into weights, overhead and the rest.

    Args:
        model: the catalogue's row.
        memory_gib: what CUDA offers on one GPU (or MIG slice), GiB.
        tensor_parallel: GPUs that share each layer.
        gpu_memory_utilization: share of memory_gib that the engine may take.
        options: see `Options`.

    Raises:
        SizingError: a figure out of range.
    """
    stages = options.get("pipeline_parallel", 1)
    at_least_one(tensor_parallel=tensor_parallel, pipeline_parallel=stages)
    if not 0 < gpu_memory_utilization <= 1:
        raise SizingError(f"gpu_memory_utilization is {gpu_memory_utilization}; it must be above 0 and at most 1")
    usable = memory_gib * gpu_memory_utilization
    per_gpu = weights_gib(model, options.get("quantization")) / tensor_parallel / stages
    adapters = options.get("lora", NO_LORA).gib(model, tensor_parallel) / stages
    seqs = options.get("max_num_seqs")

    def overhead(requests: float) -> float:
        return overhead_gib(
            vocab=model.vocab,
            hidden=model.hidden,
            intermediate=model.intermediate,
            tensor_parallel=tensor_parallel,
            nccl=tensor_parallel * stages > 1,
            max_num_seqs=requests,
            max_num_batched_tokens=options.get("max_num_batched_tokens", MAX_BATCHED_TOKENS),
            cuda_graphs=options.get("cuda_graphs", True),
        )

    if seqs is None:
        # Without rounding: a step in the number of requests would make more memory hold fewer tokens.
        each = (
            MEAN_REQUEST_TOKENS * _cache_bytes(model, tensor_parallel, options) + model.vocab * SAMPLER_BYTES_PER_LOGIT
        )
        seqs = min(MAX_DEFAULT_SEQS, max(0.0, (usable - per_gpu - adapters - overhead(0)) * GIB / each))
    return Budget(usable, per_gpu, overhead(seqs), adapters)


def kv_cache_tokens(
    model: Model,
    memory_gib: float,
    tensor_parallel: int = 1,
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION,
    **options: Unpack[Options],
) -> int:
    """Tokens that the KV cache of one replica holds; 0 if the weights alone are too much.

    Args and errors as in `budget` and `kv_bytes_per_token`.
    """
    left = budget(model, memory_gib, tensor_parallel, gpu_memory_utilization, **options).kv_cache_gib
    return tokens_in(left, _cache_bytes(model, tensor_parallel, options))


def needed_tokens(model: Model, max_model_len: int | None) -> int:
    """Tokens that the KV cache must hold for the engine to start: one request of full length.

    vLLM refuses to start with less ("To serve at least one request with the model's max seq len ...").
    """
    return max_model_len or min(MIN_CONTEXT_TOKENS, model.max_position_embeddings)


def fits(
    model: Model,
    memory_gib: float,
    tensor_parallel: int = 1,
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION,
    max_model_len: int | None = None,
    **options: Unpack[Options],
) -> bool:
    """Whether the weights and one request of full length fit.

    Args and errors as in `kv_cache_tokens`; max_model_len None asks for 2048 tokens.
    """
    have = kv_cache_tokens(model, memory_gib, tensor_parallel, gpu_memory_utilization, **options)
    return have >= needed_tokens(model, max_model_len)


def derive_engine_limits(  # noqa: PLR0917 - the order in which one thinks of them
    model: Model,
    gpu: Gpu,
    tensor_parallel: int = 1,
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION,
    max_model_len: int | None = None,
    max_num_seqs: int | None = None,
    *,
    mig_profile: str | None = None,
    share: float = 1.0,
    pipeline_parallel: int = 1,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    lora: LoraSlots = NO_LORA,
) -> EngineLimits:
    """What one replica holds, with what was not given derived from what fits.

    Args:
        model: the catalogue's row.
        gpu: the catalogue's row.
        tensor_parallel: GPUs that share each layer.
        gpu_memory_utilization: share of the memory that the engine may take.
        max_model_len: tokens; default: the model's longest context, or what the KV cache holds if less.
        max_num_seqs: requests; default: as many mean requests (1,366 tokens) as the KV cache holds, 1 to 256.
        mig_profile: name of the MIG slice that each rank gets instead of the whole GPU.
        share: part of the GPU's memory that is this replica's: 1 / replicas with time-slicing and MPS, which split
            compute but not memory, so that the engines on a GPU have to leave room for each other.
        pipeline_parallel: see `Options`.
        quantization: see `weights_gib`.
        kv_cache_dtype: `auto` or `fp8`.
        lora: room for adapters.

    Raises:
        DoesNotFitError: the weights, or one request of full length, do not fit.
        SizingError: a figure out of range, or a MIG profile that the GPU does not have.
    """
    memory = memory_of(gpu, mig_profile, share)
    options = Options(
        quantization=quantization, kv_cache_dtype=kv_cache_dtype, pipeline_parallel=pipeline_parallel, lora=lora
    )
    parts = budget(model, memory, tensor_parallel, gpu_memory_utilization, **options)
    each = _cache_bytes(model, tensor_parallel, options)
    tokens, needed = tokens_in(parts.kv_cache_gib, each), needed_tokens(model, max_model_len)
    if tokens < needed:
        raise DoesNotFitError(f"{model.key}: {describe(parts, tokens, needed)}")
    length = max_model_len or min(model.max_position_embeddings, tokens)
    # Linear attention keeps a state of each sequence in the same memory.
    mean = MEAN_REQUEST_TOKENS + model.state_bytes / tensor_parallel / pipeline_parallel / each
    seqs = max_num_seqs or min(MAX_DEFAULT_SEQS, max(1, int(tokens // mean)))
    return EngineLimits(weights_gib(model, quantization), tokens, length, seqs)


def memory_of(gpu: Gpu, mig_profile: str | None = None, share: float = 1.0) -> float:
    """What CUDA offers to one rank, GiB: of the whole GPU, of a MIG slice, or of a part with time-slicing and MPS.

    Raises:
        SizingError: the GPU has no such profile, or the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise SizingError(f"share is {share}; it must be above 0 and at most 1")
    if mig_profile is None:
        return gpu.memory_gib * share
    if mig_profile not in gpu.mig_profiles:
        raise SizingError(f"{gpu.name} has no MIG profile {mig_profile!r}")
    return mig_memory_gib(gpu.mig_profiles[mig_profile]) * share


def describe(parts: Budget, tokens: int, needed: int) -> str:
    """One sentence with the sizes of a deployment that does not fit."""
    return (
        f"each GPU gives the engine {parts.usable_gib:.1f} GiB; weights take {parts.weights_gib:.1f} GiB, "
        f"{f'LoRA adapters {parts.adapters_gib:.1f} GiB, ' if parts.adapters_gib else ''}"
        f"the runtime {parts.overhead_gib:.1f} GiB: room for {tokens} tokens of KV cache, {needed} are needed"
    )


def tensor_parallel_choices(model: Model, gpus: int) -> Iterator[int]:
    """Tensor-parallel sizes up to `gpus` that vLLM accepts for the model, ascending.

    The attention heads must divide evenly; the KV heads must divide evenly or be replicated evenly.
    """
    for size in range(1, gpus + 1):
        even = model.kv_heads % size == 0 or size % model.kv_heads == 0
        if model.heads % size == 0 and even:
            yield size


def computes(gpu: Gpu, dtype: str) -> bool:
    """Whether the GPU has arithmetic in this type; vLLM refuses bfloat16 below compute capability 8.0."""
    return dtype != "bfloat16" or gpu.compute_capability >= BFLOAT16_COMPUTE_CAPABILITY


def _cache_bytes(model: Model, tensor_parallel: int, options: Options) -> float:
    """Bytes of one token on each GPU: a pipeline's stage caches its own layers only."""
    whole = kv_bytes_per_token(model, tensor_parallel, options.get("kv_cache_dtype", "auto"))
    return whole / options.get("pipeline_parallel", 1)
