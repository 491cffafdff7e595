"""How long an engine step takes, and what follows: TPOT, TTFT without queue, tokens per second.

One formula for the plan, the policies and the simulated engines: the terms of `planner/step.py`, each times a fitted
factor. The factors are fitted per engine (vLLM, SGLang, TensorRT-LLM) and kind of feed-forward block (dense, experts)
by `python -m planner.fit`, which says which rows it used. Every prediction carries the error of rows that the fit did
not see (docs/plan-accuracy.md). Not in the formula: queueing (time to first token under load is for the simulator),
speculative decoding, disaggregation.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog import Gpu, Model
from planner.step import LINK_GB_S, TERMS, flops_of, prompt_batch, steady_batch, step_terms

__all__ = [
    "CONSTANTS_FILE",
    "Constants",
    "Latency",
    "StepCost",
    "constants",
    "flops_of",
    "kind",
    "predict",
    "step_cost",
]

CONSTANTS_FILE = Path(__file__).parent / "catalog" / "constants.toml"
DEFAULT_ENGINE = "vllm"

STAGE_SECONDS = 3e-5
"""Handing a batch from one stage of a pipeline to the next: a NCCL send of a few MB over NVLink or InfiniBand. No row
measures it; with more than one stage every prediction is an estimate."""


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Factors of the terms of `planner.step.TERMS` (over the peak, or seconds), and those of the first token.

    Attributes:
        first_token_seconds: fixed part of the time to first token (HTTP, tokenizing, scheduling).
        first_token_factor: time to first token over the time of the prompt's step, beside the fixed part.
    """

    weights: float
    cache: float
    linear: float
    layer_seconds: float
    sequence_seconds: float
    reduce: float
    hop_seconds: float
    attention: float
    experts: float
    expert_math: float
    expert_layer_seconds: float
    latent: float
    state: float
    first_token_seconds: float
    first_token_factor: float

    def seconds(self, terms: tuple[float, ...]) -> float:
        """Time of a step with these terms."""
        return sum(factor * term for factor, term in zip(_factors(self), terms, strict=True))


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
        error: relative error of tpot_ms that 90 percent of the comparable rows, not used for fitting, stay below.
        ttft_error: the same of ttft_ms, on rows with few requests.
        estimate: no measured row backs this kind of model on this GPU with this engine.
    """

    tpot_ms: float
    ttft_ms: float
    tokens_per_s: float
    error: float
    ttft_error: float
    estimate: bool


@cache
def _factors(fitted: Constants) -> tuple[float, ...]:
    return astuple(fitted)[: len(TERMS)]


@cache
def _document() -> Mapping[str, Any]:
    return tomllib.loads(CONSTANTS_FILE.read_text(encoding="utf-8"))


def blocks(model: Model) -> str:
    """`dense` or `experts`: what the constants are fitted by, beside the engine."""
    return "experts" if model.experts else "dense"


def kind(model: Model) -> str:
    """`dense`, `moe` or `mla`: what the error of a prediction depends on."""
    if model.multi_latent_attention:
        return "mla"
    return "moe" if model.experts else "dense"


@cache
def constants(engine: str = DEFAULT_ENGINE, feed_forward: str = "dense") -> Constants:
    """The fitted constants, from catalog/constants.toml; an engine without rows has those of vLLM.

    Args:
        engine: `vllm`, `sglang` or `trtllm`.
        feed_forward: `dense` or `experts`.
    """
    table = _document()["constants"]
    return Constants(**table.get(f"{engine}-{feed_forward}", table[f"{DEFAULT_ENGINE}-{feed_forward}"]))


def step_cost(
    *,
    weight_bytes: float,
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
    """The formula as coefficients, for a simulated engine; prompts' attention to themselves is left out.

    Args:
        weight_bytes: weights that every step reads, over all GPUs.
        kv_bytes_per_gpu: bytes of one token in the KV cache of each GPU.
        layers: decoder layers.
        moe_layers: those with experts.
        hidden: width of the residual stream.
        compute_parameters: parameters that one token is multiplied with.
        bandwidth_gb_s: of one GPU, 10^9 bytes per second.
        tflops: of one GPU, in the type of the weights.
        tensor_parallel: GPUs of the replica.
        nvlink: whether they are joined by NVLink.
        fitted: constants; default: those of vLLM.
    """
    fit = fitted or constants(DEFAULT_ENGINE, "experts" if moe_layers else "dense")
    bandwidth = bandwidth_gb_s * 1e9
    # Of a mixture nearly all weights, and most of what a token is multiplied with, are experts.
    read, math = (fit.experts, fit.expert_math) if moe_layers else (fit.weights, fit.linear)
    hops = layers * fit.hop_seconds if tensor_parallel > 1 else 0.0
    moved = 2 * 2 * 2.0 * layers * hidden * 2 * (tensor_parallel - 1) / tensor_parallel
    per_token = moved * fit.reduce / (LINK_GB_S[nvlink] * 1e9)
    per_token += math * 2 * compute_parameters / (tensor_parallel * tflops * 1e12)
    return StepCost(
        base=read * weight_bytes / tensor_parallel / bandwidth
        + layers * fit.layer_seconds
        + moe_layers * fit.expert_layer_seconds
        + hops,
        per_context_token=fit.cache * kv_bytes_per_gpu / bandwidth,
        per_prefill_token=per_token,
        per_sequence=fit.sequence_seconds + per_token,
    )


def predict(
    model: Model,
    gpu: Gpu,
    *,
    engine: str = DEFAULT_ENGINE,
    tensor_parallel: int = 1,
    data_parallel: int = 1,
    pipeline_parallel: int = 1,
    input_tokens: float = 1024,
    output_tokens: float = 256,
    concurrency: float = 16,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    kv_cache_tokens: int | None = None,
    cached_prompts: float = 0.0,
    fitted: Constants | None = None,
) -> Latency:
    """TPOT, TTFT without queue and throughput of one replica that always has `concurrency` requests.

    Args:
        model: the catalogue's row.
        gpu: the catalogue's row.
        engine: `vllm`, `sglang` or `trtllm`; others are taken for vLLM, as an estimate.
        tensor_parallel: GPUs that share each layer.
        data_parallel: ranks of data-parallel attention, each of `tensor_parallel` GPUs.
        pipeline_parallel: stages of a pipeline, each of `tensor_parallel` GPUs. The batch is split between them, so
            that each token passes all layers at the speed of one stage with its part of the batch.
        input_tokens: of the mean prompt.
        output_tokens: of the mean answer.
        concurrency: requests in the batch, over all ranks.
        quantization: how linear layers are stored; default: as in the checkpoint.
        kv_cache_dtype: `auto` or `fp8`.
        kv_cache_tokens: what the KV cache holds; more requests than fit wait and do not slow the batch.
        cached_prompts: share of the prompts' tokens that the prefix cache has.
        fitted: constants; default: those of the catalogue for the engine.
    """
    batch = float(concurrency)
    if kv_cache_tokens is not None:
        batch = max(1.0, min(batch, kv_cache_tokens / (input_tokens + output_tokens / 2)))
    settings: dict[str, Any] = {
        "tensor_parallel": tensor_parallel,
        "data_parallel": data_parallel,
        "quantization": quantization,
        "kv_cache_dtype": kv_cache_dtype,
    }
    fit = fitted or constants(engine, blocks(model))
    each = max(1.0, batch / data_parallel / pipeline_parallel)
    steady = steady_batch(each, input_tokens, output_tokens, data_parallel, cached_prompts)
    between = (pipeline_parallel - 1) * STAGE_SECONDS
    tpot = fit.seconds(step_terms(model, gpu, steady, **settings)) + between
    first = fit.seconds(step_terms(model, gpu, prompt_batch(input_tokens * (1 - cached_prompts)), **settings)) + between
    first = fit.first_token_seconds + fit.first_token_factor * first
    error, measured = band(engine, model, gpu)
    return Latency(
        tpot_ms=tpot * 1e3,
        ttft_ms=first * 1e3,
        tokens_per_s=batch / tpot,
        error=error,
        ttft_error=ttft_band(engine, model),
        estimate=not measured or pipeline_parallel > 1,
    )


def band(engine: str, model: Model, gpu: Gpu) -> tuple[float, bool]:
    """The error of comparable rows, and whether this engine was measured with such a model on such a GPU."""
    table = _document()["errors"]
    own = f"{engine}-{kind(model)}-{gpu.key}"
    if own in table:
        return float(table[own]), True
    return float(
        table.get(f"{engine}-{kind(model)}-unmeasured", table[f"{DEFAULT_ENGINE}-{kind(model)}-unmeasured"])
    ), False


def ttft_band(engine: str, model: Model) -> float:
    """The same for the time to first token, of the engine and kind."""
    table = _document()["first_token_errors"]
    return float(table.get(f"{engine}-{kind(model)}", max(table.values())))
