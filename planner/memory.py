"""Bytes: what weights, a token of the KV cache and the runtime take on each GPU.

What one token takes, on each GPU of a tensor-parallel group (`vllm/v1/kv_cache_interface.py`):

    2 * layers with a cache * ceil(kv_heads / tensor_parallel) * head_dim * bytes of the KV cache type

(heads are replicated once there are fewer than GPUs). Multi-latent attention keeps one vector per token and layer, the
same on every GPU. Sliding-window layers count as full attention: an upper bound.

The runtime is what vLLM measures when it profiles one step, reproduced from its parts:

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

from planner.catalog import MigProfile, Model

GIB = 2**30
BLOCK_TOKENS = 16  # vLLM's default block size

SAMPLER_BYTES_PER_LOGIT = 38.25
NON_TORCH_GIB = 0.13
NON_TORCH_WITH_NCCL_GIB = 0.55
CUDA_GRAPH_GIB = 0.5

MAX_BATCHED_TOKENS = 2048
"""vLLM's default of --max-num-batched-tokens; on GPUs of 70 GiB and more except A100 it is 8192, which costs up to 0.5
GiB more for a 70B model on one GPU. One value for all keeps sizes monotone in memory."""

MAX_DEFAULT_SEQS = 256
"""vLLM's default of --max-num-seqs on all but its largest GPUs; more only helps when it was measured to."""

MIG_NAME_TO_MEMORY = 0.95
"""Lower bound of a slice's memory over the GB in its name; the lowest listed ratio is 0.9503 (1g.12gb)."""

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
    if model.stored_bytes and quantization is None:
        return model.stored_bytes / GIB
    stored = quantization or model.quantization
    full = _dtype_bytes(model.dtype)
    if stored is None:
        return model.parameters * full / GIB
    if stored not in QUANTIZED_BYTES:
        raise SizingError(f"unknown quantization {stored!r}; known: {', '.join(sorted(QUANTIZED_BYTES))}")
    kept = min(kept_parameters(model), model.parameters)
    return ((model.parameters - kept) * QUANTIZED_BYTES[stored] + kept * full) / GIB


def kept_parameters(model: Model) -> int:
    """Weights that quantization leaves in the model's dtype: embeddings and output head, or all but the experts."""
    if model.quantized_experts_only:
        return max(0, model.parameters - model.expert_parameters)
    return model.vocab * model.hidden * (1 if model.tied_embeddings else 2)


def kv_bytes_per_token(model: Model, tensor_parallel: int = 1, kv_cache_dtype: str = "auto") -> float:
    """Bytes of KV cache that one token takes on each GPU, over all layers.

    Args:
        model: the catalogue's row.
        tensor_parallel: GPUs that share each layer.
        kv_cache_dtype: `auto` (the model's dtype) or `fp8`.

    Raises:
        SizingError: unknown dtype, or tensor_parallel below 1.
    """
    at_least_one(tensor_parallel=tensor_parallel)
    name = model.dtype if kv_cache_dtype == "auto" else kv_cache_dtype
    # vLLM's fp8_e4m3 and fp8_e5m2 take the same room.
    size = _dtype_bytes(name.partition("_")[0])
    indexed = model.layers * model.indexer_bytes
    if model.multi_latent_attention:
        # One vector per token and layer, the same on every GPU.
        return model.layers * (model.kv_lora_rank + model.qk_rope_head_dim) * size + indexed
    heads = math.ceil(model.kv_heads / tensor_parallel)
    return 2 * model.layers_with_cache * heads * model.head_dim * size + indexed


def overhead_gib(
    *,
    vocab: int,
    hidden: int,
    intermediate: int,
    tensor_parallel: int,
    max_num_seqs: float = MAX_DEFAULT_SEQS,
    max_num_batched_tokens: int = MAX_BATCHED_TOKENS,
    cuda_graphs: bool = True,
    nccl: bool | None = None,
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
        nccl: whether GPUs talk to each other; default: with tensor parallelism.
    """
    sampler = max_num_seqs * vocab * SAMPLER_BYTES_PER_LOGIT
    forward = max_num_batched_tokens * 3 * (intermediate / tensor_parallel + hidden) * 2
    activations = max(sampler, forward) + max_num_batched_tokens * hidden * 2
    talk = tensor_parallel > 1 if nccl is None else nccl
    fixed = NON_TORCH_WITH_NCCL_GIB if talk else NON_TORCH_GIB
    return activations / GIB + fixed + (CUDA_GRAPH_GIB if cuda_graphs else 0.0)


def tokens_in(kv_cache_gib: float, bytes_per_token: float) -> int:
    """Tokens in a KV cache of this size: whole blocks of 16."""
    if kv_cache_gib <= 0:
        return 0
    return int(kv_cache_gib * GIB // (bytes_per_token * BLOCK_TOKENS)) * BLOCK_TOKENS


def _dtype_bytes(name: str) -> float:
    try:
        return DTYPE_BYTES[name]
    except KeyError:
        raise SizingError(f"unknown dtype {name!r}; known: {', '.join(sorted(DTYPE_BYTES))}") from None


def at_least_one(**figures: int) -> None:
    """Refuse figures below 1.

    Raises:
        SizingError: naming the figure.
    """
    for name, value in figures.items():
        if value < 1:
            raise SizingError(f"{name} is {value}; it must be 1 or more")
