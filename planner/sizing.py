"""How much of a model fits on a GPU: weights, KV cache, context and concurrency.

The budget is vLLM's own (`vllm/v1/kv_cache_interface.py`, `vllm/config/cache.py`):

    KV cache = memory * gpu_memory_utilization - weights / tensor_parallel - overhead

and is handed out in blocks of 16 tokens. What one token takes, on each GPU of a tensor-parallel group:

    2 * layers * ceil(kv_heads / tensor_parallel) * head_dim * bytes of the KV cache type

(heads are replicated once there are fewer than GPUs). Sliding-window layers count as full attention: an upper
bound.

Overhead is what vLLM measures when it profiles one step, reproduced from its parts:

- activations: the sampler sorts the logits of every sequence, 38.25 bytes for each of max_num_seqs * vocab logits
  (fitted to the 7 text-only rows of llm-d-planner@e50305a docs/empirical-vllm-memory-results.md, vLLM 0.11 on an H100:
  within 0.05 GiB on all, and within 0.02 GiB on an L40S and an H200 of other authors), or, if that is more, the
  gate, up and down buffers of one batch; plus one hidden state per batched token;
- non-torch memory: 0.13 GiB for one GPU, 0.55 GiB with NCCL (same source);
- CUDA graphs: 0.5 GiB, counted by vLLM since 0.21 (public logs of 0.25 and later estimate 0.17 to 0.58 GiB).

vLLM V0 kept whole-prompt logits while profiling and had several GiB less KV cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from planner.catalog import Gpu, MigProfile, Model

GIB = 2**30
BLOCK_TOKENS = 16  # vLLM's default block size
DEFAULT_GPU_MEMORY_UTILIZATION = 0.85
"""The practitioners' guides recommend 0.85 of 0.80 to 0.90; vLLM's own default has risen to 0.92."""

SAMPLER_BYTES_PER_LOGIT = 38.25
NON_TORCH_GIB = 0.13
NON_TORCH_WITH_NCCL_GIB = 0.55
CUDA_GRAPH_GIB = 0.5

MAX_BATCHED_TOKENS = 2048
"""vLLM's default of --max-num-batched-tokens; on GPUs of 70 GiB and more except A100 it is 8192, which costs up to 0.5
GiB more for a 70B model on one GPU. One value for all keeps sizes monotone in memory."""

MEAN_REQUEST_TOKENS = 1366
"""Mean prompt plus answer of the Azure LLM inference trace 2023, conversation: 1154.7 + 211.1 tokens."""

MAX_DEFAULT_SEQS = 256
"""vLLM's default of --max-num-seqs on all but its largest GPUs; more only helps when it was measured to."""

MIN_CONTEXT_TOKENS = 2048
"""What a deployment without a stated context must hold to count as fitting."""

MIG_NAME_TO_MEMORY = 0.95
"""Lower bound of a slice's memory over the GB in its name; the lowest listed ratio is 0.9503 (1g.12gb)."""

BFLOAT16_COMPUTE_CAPABILITY = 8.0

DTYPE_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "fp8": 1.0}

QUANTIZED_BYTES = {
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5 + 2 / 128,
    "int4-g32": 0.5 + 2 / 32,
    "mxfp4": 0.5 + 1 / 32,
    "nvfp4": 0.5 + 1 / 16,
}
"""Bytes per weight of a quantized linear layer: int4 has one 16-bit scale per group of 128 (AWQ, GPTQ) or 32 (Kimi),
mxfp4 one 8-bit scale per 32, nvfp4 one per 16."""


class SizingError(ValueError):
    """The question has no answer: an unknown type, a tensor-parallel size below 1, a share outside 0 to 1."""


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

    @property
    def kv_cache_gib(self) -> float:
        """What is left for the KV cache; negative if the weights alone are too much."""
        return self.usable_gib - self.weights_gib - self.overhead_gib


def mig_memory_gib(profile: MigProfile) -> float:
    """Memory of a MIG slice in GiB: the listed value, else a lower bound from the profile's name.

    Raises:
        SizingError: the profile has neither a listed memory nor a size in its name.
    """
    if profile.memory_gib is not None:
        return profile.memory_gib
    _, _, size = profile.name.partition(".")
    if not size.endswith("gb") or not size[:-2].isdecimal():
        raise SizingError(f"MIG profile {profile.name!r} has no size in its name")
    return int(size[:-2]) * 1e9 / GIB * MIG_NAME_TO_MEMORY


def weights_gib(model: Model, quantization: str | None = None) -> float:
    """Weights of the whole model in GiB.

    Args:
        model: the catalogue's row.
        quantization: how linear layers are stored (`fp8`, `int8`, `int4`); default: as in the checkpoint.

    Raises:
        SizingError: unknown dtype or quantization.
    """
    stored = quantization or model.quantization
    full = _dtype_bytes(model.dtype)
    if stored is None:
        return model.parameters * full / GIB
    if stored not in QUANTIZED_BYTES:
        raise SizingError(f"unknown quantization {stored!r}; known: {', '.join(sorted(QUANTIZED_BYTES))}")
    kept = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    if model.quantized_experts_only and quantization is None:
        kept = model.parameters - model.expert_parameters
    kept = min(max(kept, 0), model.parameters)
    return ((model.parameters - kept) * QUANTIZED_BYTES[stored] + kept * full) / GIB


def kv_bytes_per_token(model: Model, tensor_parallel: int = 1, kv_cache_dtype: str = "auto") -> float:
    """Bytes of KV cache that one token takes on each GPU.

    Args:
        model: the catalogue's row.
        tensor_parallel: GPUs per replica.
        kv_cache_dtype: `auto` (the model's dtype) or `fp8`.

    Raises:
        SizingError: unknown dtype, or tensor_parallel below 1.
    """
    if tensor_parallel < 1:
        raise SizingError(f"tensor_parallel is {tensor_parallel}; it must be 1 or more")
    name = model.dtype if kv_cache_dtype == "auto" else kv_cache_dtype
    # vLLM's fp8_e4m3 and fp8_e5m2 take the same room.
    size = _dtype_bytes(name.partition("_")[0])
    if model.multi_latent_attention:
        # One vector per token and layer, the same on every GPU.
        return model.layers * (model.kv_lora_rank + model.qk_rope_head_dim) * size
    return 2 * model.layers * math.ceil(model.kv_heads / tensor_parallel) * model.head_dim * size


def overhead_gib(
    *,
    vocab: int,
    hidden: int,
    intermediate: int,
    tensor_parallel: int,
    max_num_seqs: float = MAX_DEFAULT_SEQS,
    max_num_batched_tokens: int = MAX_BATCHED_TOKENS,
    cuda_graphs: bool = True,
) -> float:
    """Memory of each GPU that is neither weights nor KV cache, GiB; see the head of this file for the parts.

    Args:
        vocab: logits per sequence.
        hidden: width of the residual stream.
        intermediate: width of the feed-forward layer.
        tensor_parallel: GPUs per replica.
        max_num_seqs: requests in one batch.
        max_num_batched_tokens: tokens in one step.
        cuda_graphs: False before vLLM 0.21, which did not count them, and with --enforce-eager.
    """
    sampler = max_num_seqs * vocab * SAMPLER_BYTES_PER_LOGIT
    forward = max_num_batched_tokens * 3 * (intermediate / tensor_parallel + hidden) * 2
    activations = max(sampler, forward) + max_num_batched_tokens * hidden * 2
    fixed = NON_TORCH_GIB if tensor_parallel == 1 else NON_TORCH_WITH_NCCL_GIB
    return activations / GIB + fixed + (CUDA_GRAPH_GIB if cuda_graphs else 0.0)


def tokens_in(kv_cache_gib: float, bytes_per_token: float) -> int:
    """Tokens in a KV cache of this size: whole blocks of 16."""
    if kv_cache_gib <= 0:
        return 0
    return int(kv_cache_gib * GIB // (bytes_per_token * BLOCK_TOKENS)) * BLOCK_TOKENS


def budget(
    model: Model,
    memory_gib: float,
    tensor_parallel: int = 1,
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION,
    quantization: str | None = None,
    *,
    kv_cache_dtype: str = "auto",
    max_num_seqs: float | None = None,
    max_num_batched_tokens: int = MAX_BATCHED_TOKENS,
    cuda_graphs: bool = True,
) -> Budget:
    """Split the memory of each GPU into weights, overhead and the rest.

    Args:
        model: the catalogue's row.
        memory_gib: what CUDA offers on one GPU (or MIG slice), GiB.
        tensor_parallel: GPUs per replica.
        gpu_memory_utilization: share of memory_gib that the engine may take.
        quantization: see `weights_gib`.
        kv_cache_dtype: `auto` or `fp8`.
        max_num_seqs: requests in one batch; default: as many mean requests as fit, at most 256.
        max_num_batched_tokens: tokens in one step.
        cuda_graphs: see `overhead_gib`.

    Raises:
        SizingError: a figure out of range.
    """
    if tensor_parallel < 1:
        raise SizingError(f"tensor_parallel is {tensor_parallel}; it must be 1 or more")
    if not 0 < gpu_memory_utilization <= 1:
        raise SizingError(f"gpu_memory_utilization is {gpu_memory_utilization}; it must be above 0 and at most 1")
    per_gpu = weights_gib(model, quantization) / tensor_parallel
    sizes = {"vocab": model.vocab, "hidden": model.hidden, "intermediate": model.intermediate}
    step = {"tensor_parallel": tensor_parallel, "max_num_batched_tokens": max_num_batched_tokens}
    if max_num_seqs is None:
        # Without rounding: a step in the number of requests would make more memory hold fewer tokens.
        least = overhead_gib(**sizes, **step, max_num_seqs=0, cuda_graphs=cuda_graphs)
        left = memory_gib * gpu_memory_utilization - per_gpu - least
        each = MEAN_REQUEST_TOKENS * kv_bytes_per_token(model, tensor_parallel, kv_cache_dtype)
        each += model.vocab * SAMPLER_BYTES_PER_LOGIT
        max_num_seqs = min(MAX_DEFAULT_SEQS, max(0.0, left * GIB / each))
    overhead = overhead_gib(**sizes, **step, max_num_seqs=max_num_seqs, cuda_graphs=cuda_graphs)
    return Budget(memory_gib * gpu_memory_utilization, per_gpu, overhead)


def kv_cache_tokens(
    model: Model,
    memory_gib: float,
    tensor_parallel: int = 1,
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION,
    *,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    max_num_seqs: float | None = None,
    max_num_batched_tokens: int = MAX_BATCHED_TOKENS,
    cuda_graphs: bool = True,
) -> int:
    """Tokens that the KV cache of one replica holds; 0 if the weights alone are too much.

    Args and errors as in `budget` and `kv_bytes_per_token`.
    """
    left = budget(
        model,
        memory_gib,
        tensor_parallel,
        gpu_memory_utilization,
        quantization,
        kv_cache_dtype=kv_cache_dtype,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        cuda_graphs=cuda_graphs,
    ).kv_cache_gib
    return tokens_in(left, kv_bytes_per_token(model, tensor_parallel, kv_cache_dtype))


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
    *,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
) -> bool:
    """Whether the weights and one request of full length fit.

    Args and errors as in `kv_cache_tokens`; max_model_len None asks for 2048 tokens.
    """
    have = kv_cache_tokens(
        model,
        memory_gib,
        tensor_parallel,
        gpu_memory_utilization,
        quantization=quantization,
        kv_cache_dtype=kv_cache_dtype,
    )
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
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
) -> EngineLimits:
    """What one replica holds, with what was not given derived from what fits.

    Args:
        model: the catalogue's row.
        gpu: the catalogue's row.
        tensor_parallel: GPUs per replica.
        gpu_memory_utilization: share of the memory that the engine may take.
        max_model_len: tokens; default: the model's longest context, or what the KV cache holds if less.
        max_num_seqs: requests; default: as many mean requests (1,366 tokens) as the KV cache holds, 1 to 256.
        mig_profile: name of the MIG slice that each rank gets instead of the whole GPU.
        quantization: see `weights_gib`.
        kv_cache_dtype: `auto` or `fp8`.

    Raises:
        DoesNotFitError: the weights, or one request of full length, do not fit.
        SizingError: a figure out of range, or a MIG profile that the GPU does not have.
    """
    memory = gpu.memory_gib
    if mig_profile is not None:
        if mig_profile not in gpu.mig_profiles:
            raise SizingError(f"{gpu.name} has no MIG profile {mig_profile!r}")
        memory = mig_memory_gib(gpu.mig_profiles[mig_profile])
    tokens = kv_cache_tokens(
        model,
        memory,
        tensor_parallel,
        gpu_memory_utilization,
        quantization=quantization,
        kv_cache_dtype=kv_cache_dtype,
    )
    needed = needed_tokens(model, max_model_len)
    if tokens < needed:
        parts = budget(
            model, memory, tensor_parallel, gpu_memory_utilization, quantization, kv_cache_dtype=kv_cache_dtype
        )
        raise DoesNotFitError(f"{model.key}: {describe(parts, tokens, needed)}")
    length = max_model_len or min(model.max_position_embeddings, tokens)
    seqs = max_num_seqs or min(MAX_DEFAULT_SEQS, max(1, tokens // MEAN_REQUEST_TOKENS))
    return EngineLimits(weights_gib(model, quantization), tokens, length, seqs)


def describe(parts: Budget, tokens: int, needed: int) -> str:
    """One sentence with the sizes of a deployment that does not fit."""
    return (
        f"each GPU gives the engine {parts.usable_gib:.1f} GiB; weights take {parts.weights_gib:.1f} GiB, "
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


def _dtype_bytes(name: str) -> float:
    try:
        return DTYPE_BYTES[name]
    except KeyError:
        raise SizingError(f"unknown dtype {name!r}; known: {', '.join(sorted(DTYPE_BYTES))}") from None
