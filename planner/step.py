"""What an engine step consists of: thirteen terms, each with the time that the hardware's peak figures give it.

A step is one forward pass over the batch. Its time is the sum of the terms, each times a factor that is fitted to
measurements (`planner/fit.py`): 1 would be the data sheet, 1.25 says that 80 percent of it are reached. A term without
a peak figure (a layer's kernel launches, a sequence's scheduling) is a plain count and its factor is in seconds.

Differences between kinds of models:

- dense: all weights are read at each step, all are multiplied;
- mixture of experts: a step of n tokens touches 1 - (1 - active / experts) ** n of the routed experts, on the
  assumption that tokens choose independently; a step that also takes up a prompt touches nearly all. Each token
  multiplies only the active ones;
- multi-latent attention: the KV cache is one vector per token and layer, the same on every GPU, so that tensor
  parallelism does not divide its reading; each head multiplies with it in full;
- sliding windows and sparse attention read no more than their window, linear attention a state of fixed size.

With data-parallel attention each rank of `tensor_parallel` GPUs has its own requests and a copy of the attention
weights; the experts are spread over all GPUs and see the tokens of all ranks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.catalog import Gpu, Model
from planner.memory import QUANTIZED_BYTES, kv_bytes_per_token

TERMS = (
    "weights",
    "cache",
    "linear",
    "layer_seconds",
    "sequence_seconds",
    "reduce",
    "hop_seconds",
    "attention",
    "experts",
    "expert_math",
    "expert_layer_seconds",
    "latent",
    "state",
)
"""The terms in order:

weights: reading what is not an expert. cache: reading keys and values. linear: multiplying tokens with the weights.
layer_seconds: a layer. sequence_seconds: a sequence. reduce: bytes of all-reduces and all-to-alls. hop_seconds: a
layer of a tensor-parallel group. attention: prompts attending to themselves. experts: reading the experts touched.
expert_math: multiplying with them. expert_layer_seconds: a layer with experts. latent: decoding with multi-latent
attention. state: reading and writing the state of linear attention.
"""

LINK_GB_S = {True: 450.0, False: 25.0}
"""Bytes per second and direction between two GPUs of a node, 10^9: NVLink 4 (AIConfigurator systems/h100_sxm.yaml,
intra_node_bw), else PCIe 4.0 x16 at 80 percent. Blackwell's NVLink 5 has twice the former."""

NVLINK_5_CAPABILITY = 10.0
PROMPT_TOKENS_PER_STEP = 8192
"""Prompt tokens that a step takes up at most on a large GPU: vLLM's default of --max-num-batched-tokens there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a step works on, for each rank of data-parallel attention.

    Attributes:
        sequences: that get a token.
        context: tokens in the KV cache of the mean sequence.
        prefill: prompt tokens taken up in the mean step.
        prompt: length of a prompt, tokens.
        mixed: share of the steps that take up a part of a prompt.
    """

    sequences: float
    context: float
    prefill: float
    prompt: float
    mixed: float


def link_gb_s(gpu: Gpu) -> float:
    """Bytes per second between two GPUs of a node, 10^9."""
    return LINK_GB_S[gpu.nvlink] * (2 if gpu.nvlink and gpu.compute_capability >= NVLINK_5_CAPABILITY else 1)


def flops_of(gpu: Gpu, quantization: str | None) -> float:
    """Dense TFLOPS in the type in which weights stored like this are multiplied."""
    plain = gpu.bf16_tflops or gpu.fp16_tflops or 0.0
    if quantization is None or quantization.startswith("int"):
        return plain
    if quantization == "fp8":
        return gpu.fp8_tflops or plain
    # Without 4-bit arithmetic mxfp4 is multiplied in 16 bit (Marlin, Triton), nvfp4 in 8 bit where there is that.
    return gpu.fp4_tflops or (plain if quantization == "mxfp4" else gpu.fp8_tflops or plain)


def touched_share(model: Model, tokens: float) -> float:
    """Share of the routed experts that a step of this many tokens reads."""
    missed: float = (1 - model.active_experts / model.experts) ** tokens
    return 1 - missed


def step_terms(
    model: Model,
    gpu: Gpu,
    batch: Batch,
    *,
    tensor_parallel: int = 1,
    data_parallel: int = 1,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
) -> tuple[float, ...]:
    """The terms of a step, in the order of `TERMS`: seconds at peak, or counts.

    Args:
        model: the catalogue's row.
        gpu: the catalogue's row.
        batch: what the step works on.
        tensor_parallel: GPUs that share each layer.
        data_parallel: ranks of data-parallel attention.
        quantization: how linear layers are stored; default: as in the checkpoint.
        kv_cache_dtype: `auto` or `fp8`.
    """
    stored = quantization or model.quantization
    full = 4.0 if model.dtype == "float32" else 2.0
    size = full if stored is None else QUANTIZED_BYTES[stored]
    bandwidth, plain = gpu.bandwidth_gb_s * 1e9, flops_of(gpu, None) * 1e12
    flops = flops_of(gpu, stored) * 1e12
    # A row may contradict itself (fewer parameters than its embedding): no negative weights then.
    experts = min(model.expert_parameters, model.parameters)
    head = model.vocab * model.hidden
    linear = max(0, model.parameters - experts - head * (1 if model.tied_embeddings else 2))
    apart = model.quantized_experts_only and experts > 0
    sequences, prefill = batch.sequences, batch.prefill
    tokens = sequences + prefill
    gpus = tensor_parallel * data_parallel
    read, multiplied, wide = _attention(model, batch, tensor_parallel, kv_cache_dtype)
    latent = 0.0
    if model.multi_latent_attention:
        width = 2 * model.kv_lora_rank + model.qk_rope_head_dim
        latent = sequences * 2 * model.heads / tensor_parallel * model.layers * wide * width / plain
    moved = 2 * 2 * 2.0 * model.layers * model.hidden * 2 * (tensor_parallel - 1) / tensor_parallel
    sparse = model.layers - model.dense_layers if model.experts else 0
    if model.experts and data_parallel > 1:
        # Tokens go to the GPUs of their experts and come back, in 8 and 16 bit.
        moved += model.active_experts * model.hidden * 3.0 * sparse
    expert_bytes = expert_math = 0.0
    if model.experts:
        every = sequences * data_parallel
        alone = touched_share(model, every)
        both = touched_share(model, every + min(batch.prompt, PROMPT_TOKENS_PER_STEP))
        expert_bytes = experts * size * (alone + batch.mixed * (both - alone)) / gpus
        expert_math = tokens * data_parallel * 2 * experts * model.active_experts / model.experts / gpus
    return (
        (linear * (full if apart else size) + head * full) / tensor_parallel / bandwidth,
        sequences * read / bandwidth,
        2 * (tokens * linear / (plain if apart else flops) + sequences * head / plain) / tensor_parallel,
        float(model.layers),
        sequences,
        tokens * moved / (link_gb_s(gpu) * 1e9),
        float(model.layers if tensor_parallel > 1 else 0),
        prefill * 2 * multiplied / plain,
        expert_bytes / bandwidth,
        expert_math / flops,
        float(sparse),
        latent,
        sequences * 2 * model.state_bytes / tensor_parallel / bandwidth,
    )


def _attention(model: Model, batch: Batch, tensor_parallel: int, kv_cache_dtype: str) -> tuple[float, float, float]:
    """Bytes read for a sequence, multiply-adds of a prompt token with its past, and tokens that a query sees."""
    per_token = kv_bytes_per_token(model, tensor_parallel, kv_cache_dtype)
    cached = max(1, model.layers_with_cache)
    windowed = min(cached, model.layers_with_window)
    window = model.sliding_window or 0
    seen = min(batch.context, model.sparse_tokens) if model.sparse_tokens else batch.context
    past = batch.prompt / 2
    past = min(past, model.sparse_tokens) if model.sparse_tokens else past
    indexed = model.layers * model.indexer_bytes
    share = windowed / cached
    read = (per_token - indexed) * ((1 - share) * seen + share * min(window, seen)) + indexed * batch.context
    width = 2 * model.head_dim + (model.qk_rope_head_dim if model.multi_latent_attention else 0)
    attended = (cached - windowed) * past + windowed * min(window, past)
    return read, model.heads / tensor_parallel * attended * width, seen


def prompt_batch(prompt: float) -> Batch:
    """The step that takes up one prompt and nothing else."""
    return Batch(sequences=1, context=prompt, prefill=prompt, prompt=prompt, mixed=1.0)


def steady_batch(
    sequences: float, input_tokens: float, output_tokens: float, ranks: int = 1, cached: float = 0.0
) -> Batch:
    """The mean step of a batch that is always full.

    In steady state a batch of c requests with prompts of i and answers of o tokens holds c * (i + o / 2) tokens of
    context and takes up c * i / o prompt tokens a step, so that the time per output token is that of the mean step.

    Args:
        sequences: requests of each rank.
        input_tokens: of the mean prompt.
        output_tokens: of the mean answer.
        ranks: ranks of data-parallel attention.
        cached: share of the prompts that the prefix cache has.
    """
    chunks = max(1.0, input_tokens / PROMPT_TOKENS_PER_STEP)
    mixed = min(1.0, sequences * ranks / output_tokens * chunks) if math.isfinite(output_tokens) else 0.0
    prefill = sequences * input_tokens / output_tokens * (1 - cached)
    return Batch(
        sequences=sequences,
        context=input_tokens + output_tokens / 2,
        prefill=prefill,
        prompt=input_tokens,
        mixed=mixed * (1 if prefill else 0),
    )
