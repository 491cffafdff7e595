"""How long an engine step takes, and what follows: TPOT, TTFT without queue, tokens per second.

One formula for the plan, the policies and the simulated engines. A step is one forward pass over the batch::

    seconds = weights_read / (bandwidth * BANDWIDTH_EFFICIENCY)
            + context_tokens * kv_bytes / (bandwidth * CACHE_EFFICIENCY)
            + layers * LAYER_SECONDS                      kernel launches, norms, routing
            + sequences * SEQUENCE_SECONDS                scheduling, sampling, detokenizing
            + prefill_tokens * 2 * parameters / (flops * COMPUTE_EFFICIENCY)
            + tokens * all_reduce_bytes / (link * LINK_EFFICIENCY)     with tensor parallelism

Everything is per GPU of the replica. In steady state a batch of c requests with prompts of i and answers of o
tokens holds c * (i + o / 2) tokens of context and takes up c * i / o prompt tokens a step, so TPOT is the mean step.

Differences between kinds of models:

- dense: all weights are read at each step, all are multiplied;
- mixture of experts: a step of n tokens touches 1 - (1 - active / experts) ** n of the routed experts, and each
  token multiplies only the active parameters; routing adds MOE_LAYER_SECONDS a layer;
- multi-latent attention: the KV cache is one vector per token and layer, the same on every GPU, so its reading is
  not divided by tensor parallelism.

The constants in `constants.toml` come from `python -m planner.fit`, which says which rows it used; the error on the
rows that it did not use is in docs/plan-accuracy.md, and every prediction carries it. Not in the formula: queueing
(time to first token under load is for the simulator), prefix caching, speculative decoding, disaggregation.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog import Gpu, Model
from planner.sizing import QUANTIZED_BYTES, kv_bytes_per_token

CONSTANTS_FILE = Path(__file__).parent / "catalog" / "constants.toml"

BANDWIDTH_EFFICIENCY = 0.90
"""Share of the memory bandwidth that reading weights reaches: held fixed, because with it free the fit trades it
against the time per layer and leaves the physical range."""

LINK_GB_S = {True: 450.0, False: 25.0}
"""Bytes per second and direction between two GPUs of a node, 10^9: NVLink 4 (AIConfigurator systems/h100_sxm.yaml,
intra_node_bw; Blackwell has twice that, which the fit does not reward), else PCIe 4.0 x16 at 80 percent."""


@dataclass(frozen=True, kw_only=True)
class Constants:
    """What the fit gives.

    Attributes:
        cache_efficiency: share of the memory bandwidth that attention reaches on the KV cache.
        compute_efficiency: share of the dense FLOPS that prefill reaches.
        link_efficiency: share of the link that all-reduces reach.
        layer_seconds: fixed time of a layer.
        sequence_seconds: time of each sequence of the batch.
        moe_layer_seconds: further time of a layer with experts.
        moe_bandwidth_efficiency: share of the memory bandwidth that reading experts reaches, on the assumption that
            tokens choose experts independently; they do not, so it may exceed 1.
        first_token_seconds: fixed part of the time to first token (HTTP, tokenizing, scheduling).
        first_token_factor: time to first token over the time of the prompt's step, beside the fixed part.
    """

    cache_efficiency: float
    compute_efficiency: float
    link_efficiency: float
    layer_seconds: float
    sequence_seconds: float
    moe_layer_seconds: float
    moe_bandwidth_efficiency: float
    first_token_seconds: float
    first_token_factor: float


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of a step, linear in the batch; the coefficients are fixed when the engine starts."""

    base: float
    per_context_token: float
    per_prefill_token: float
    per_sequence: float = 0.0

    def seconds(self, context_tokens: float, prefill_tokens: float, sequences: float = 0.0) -> float:
        """Time of a step.

        Args:
            context_tokens: tokens in the KV cache of all sequences of the batch, this step's own included.
            prefill_tokens: prompt tokens (and recomputed tokens) that this step processes.
            sequences: sequences that get a token in this step.
        """
        return (
            self.base
            + self.per_context_token * context_tokens
            + self.per_prefill_token * prefill_tokens
            + self.per_sequence * sequences
        )


@dataclass(frozen=True, kw_only=True)
class Latency:
    """A prediction of steady state.

    Attributes:
        tpot_ms: mean time per output token, ms.
        ttft_ms: time to first token of a request that does not wait, ms.
        tokens_per_s: output tokens per second of the replica.
        error: relative error that 90 percent of the comparable rows left out of the fit stay below.
        estimate: no measured row backs this kind of model on this GPU.
    """

    tpot_ms: float
    ttft_ms: float
    tokens_per_s: float
    error: float
    estimate: bool


@cache
def _document() -> Mapping[str, Any]:
    return tomllib.loads(CONSTANTS_FILE.read_text(encoding="utf-8"))


@cache
def constants() -> Constants:
    """The fitted constants, from catalog/constants.toml."""
    return Constants(**_document()["constants"])


def kind(model: Model) -> str:
    """`dense`, `moe` or `mla`: what the error of a prediction depends on."""
    if model.multi_latent_attention:
        return "mla"
    return "moe" if model.experts else "dense"


def step_cost(
    *,
    weight_bytes: float,
    expert_bytes: float = 0.0,
    kv_bytes_per_gpu: float,
    layers: int,
    moe_layers: int = 0,
    hidden: int,
    compute_parameters: float,
    bandwidth_gb_s: float,
    tflops: float,
    tensor_parallel: int,
    nvlink: bool = True,
    fitted: Constants | None = None,
) -> StepCost:
    """Coefficients of the formula above.

    Args:
        weight_bytes: weights that every step reads, over all GPUs, experts excluded.
        expert_bytes: weights of the experts that a step reads, over all GPUs.
        kv_bytes_per_gpu: bytes of one token in the KV cache of each GPU.
        layers: decoder layers.
        moe_layers: those with experts.
        hidden: width of the residual stream.
        compute_parameters: parameters that one token is multiplied with.
        bandwidth_gb_s: of one GPU, 10^9 bytes per second.
        tflops: of one GPU, in the type of the weights.
        tensor_parallel: GPUs of the replica.
        nvlink: whether they are joined by NVLink.
        fitted: constants; default: those of the catalogue.
    """
    fit = fitted or constants()
    bandwidth = bandwidth_gb_s * 1e9
    reduced = 2 * 2 * layers * hidden * 2.0 if tensor_parallel > 1 else 0.0
    per_token = reduced / (LINK_GB_S[nvlink] * 1e9 * fit.link_efficiency)
    flops = tensor_parallel * tflops * 1e12 * fit.compute_efficiency
    read = weight_bytes / BANDWIDTH_EFFICIENCY + expert_bytes / fit.moe_bandwidth_efficiency
    return StepCost(
        base=read / tensor_parallel / bandwidth + layers * fit.layer_seconds + moe_layers * fit.moe_layer_seconds,
        per_context_token=kv_bytes_per_gpu / (bandwidth * fit.cache_efficiency),
        per_prefill_token=2 * compute_parameters / flops + per_token,
        per_sequence=fit.sequence_seconds + per_token,
    )


def flops_of(gpu: Gpu, quantization: str | None, *, experts_only: bool = False) -> float:
    """Dense TFLOPS in the type in which a model stored like this is multiplied."""
    plain = gpu.bf16_tflops or gpu.fp16_tflops or 0.0
    if experts_only or quantization is None or quantization.startswith("int"):
        return plain
    if quantization == "fp8":
        return gpu.fp8_tflops or plain
    return gpu.fp4_tflops or gpu.fp8_tflops or plain


def model_step_cost(  # noqa: PLR0917 - the order in which one thinks of them
    model: Model,
    gpu: Gpu,
    tensor_parallel: int = 1,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    step_tokens: float = math.inf,
    *,
    cache_parallel: int | None = None,
    fitted: Constants | None = None,
) -> StepCost:
    """Coefficients for a model of the catalogue.

    Args:
        model: the catalogue's row.
        gpu: the catalogue's row.
        tensor_parallel: GPUs of the replica.
        quantization: how linear layers are stored; default: as in the checkpoint.
        kv_cache_dtype: `auto` or `fp8`.
        step_tokens: tokens of a step, which say how many experts it reads; default: all of them.
        cache_parallel: GPUs over which requests are spread with data-parallel attention; default: none.
        fitted: constants; default: those of the catalogue.
    """
    stored = quantization or model.quantization
    full = 4.0 if model.dtype == "float32" else 2.0
    size = full if stored is None else QUANTIZED_BYTES[stored]
    embedding = model.vocab * model.hidden * full
    # A row may contradict itself (fewer parameters than its embedding): no negative weights then.
    experts = min(model.expert_parameters, model.parameters)
    kept = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    linear = max(0, model.parameters - experts - kept)
    only = model.quantized_experts_only and quantization is None
    missed = (1 - model.active_experts / model.experts) ** step_tokens if model.experts else 1.0
    kv_bytes = kv_bytes_per_token(model, tensor_parallel, kv_cache_dtype)
    return step_cost(
        weight_bytes=linear * (full if only else size) + embedding,
        expert_bytes=experts * size * (1 - missed),
        kv_bytes_per_gpu=kv_bytes / (cache_parallel or 1),
        layers=model.layers,
        moe_layers=model.layers - model.dense_layers if model.experts else 0,
        hidden=model.hidden,
        compute_parameters=max(1, (model.active_parameters or model.parameters) - model.vocab * model.hidden),
        bandwidth_gb_s=gpu.bandwidth_gb_s,
        tflops=flops_of(gpu, stored, experts_only=only),
        tensor_parallel=tensor_parallel,
        nvlink=gpu.nvlink,
        fitted=fitted,
    )


def predict(
    model: Model,
    gpu: Gpu,
    *,
    tensor_parallel: int = 1,
    input_tokens: float = 1024,
    output_tokens: float = 256,
    concurrency: float = 16,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    kv_cache_tokens: int | None = None,
    cache_parallel: int | None = None,
    fitted: Constants | None = None,
) -> Latency:
    """TPOT, TTFT without queue and throughput of one replica that always has `concurrency` requests.

    Args:
        model: the catalogue's row.
        gpu: the catalogue's row.
        tensor_parallel: GPUs of the replica.
        input_tokens: of the mean prompt.
        output_tokens: of the mean answer.
        concurrency: requests in the batch.
        quantization: see `model_step_cost`.
        kv_cache_dtype: `auto` or `fp8`.
        kv_cache_tokens: what the KV cache holds; more requests than fit wait and do not slow the batch.
        cache_parallel: see `model_step_cost`.
        fitted: constants; default: those of the catalogue.
    """
    batch = float(concurrency)
    if kv_cache_tokens is not None:
        batch = max(1.0, min(batch, kv_cache_tokens / (input_tokens + output_tokens / 2)))
    prefill = batch * input_tokens / output_tokens
    settings: dict[str, Any] = {
        "tensor_parallel": tensor_parallel,
        "quantization": quantization,
        "kv_cache_dtype": kv_cache_dtype,
        "cache_parallel": cache_parallel,
        "fitted": fitted,
    }
    cost = model_step_cost(model, gpu, step_tokens=batch, **settings)
    tpot = cost.seconds(batch * (input_tokens + output_tokens / 2), prefill, batch)
    first = model_step_cost(model, gpu, step_tokens=input_tokens, **settings).seconds(input_tokens / 2, input_tokens, 1)
    fit = fitted or constants()
    first = fit.first_token_seconds + fit.first_token_factor * first
    error, measured = _error(model, gpu)
    return Latency(
        tpot_ms=tpot * 1e3,
        ttft_ms=first * 1e3,
        tokens_per_s=batch / tpot,
        error=error,
        estimate=not measured,
    )


def _error(model: Model, gpu: Gpu) -> tuple[float, bool]:
    """The error of comparable rows, and whether vLLM was measured with such a model on such a GPU."""
    table = _document()["errors"]
    own = kind(model)
    key = f"{own}-{gpu.key}"
    if key in table:
        return float(table[key]), True
    return float(table[f"{own}-unmeasured"]), False
