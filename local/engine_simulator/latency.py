"""How long one engine step takes: the only place where the simulator turns work into time.

A step is one forward pass over the batch. Decoding is bound by memory bandwidth (all weights, and the KV
cache of every sequence in the batch, are read once), prefill by arithmetic (2 FLOPs per parameter and
token)::

    seconds = (weights + context_tokens * kv_bytes) / (TP * bandwidth * E)
            + 2 * layers * A        only with TP > 1: two all-reduces per layer
            + O                     scheduling, launch and sampling
            + prefill_tokens * 2 * parameters / (TP * flops * M)

Source of E, M, A and O: a roofline fitted to 187 measured rows of vLLM (Llama-3.1-70B in fp8 and Qwen3-32B in
bf16 on H100 and H200; AIConfigurator's ``silicon_sample.csv``, Apache-2.0, 2026-04). Error of the time per
output token on rows left out of the fit: mean 9.4 %, median 8.8 %, p90 18 %; with a whole model left out 12
%, a whole GPU 11 %. No measured rows of L4, A10G or T4 were found: there the result is an estimate. Not in
the formula: the part of attention that grows with the square of the prompt, and the arithmetic of decoding.
"""

from __future__ import annotations

from dataclasses import dataclass

from local.engine_simulator.facts import GpuFacts, ModelFacts

BANDWIDTH_EFFICIENCY = 0.90  # E
COMPUTE_EFFICIENCY = 0.50  # M
ALL_REDUCE_SECONDS = 20e-6  # A
STEP_OVERHEAD_SECONDS = 3e-3  # O


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of a step, linear in the batch; the coefficients are fixed when the engine starts."""

    base: float
    per_context_token: float
    per_prefill_token: float

    def seconds(self, context_tokens: int, prefill_tokens: int) -> float:
        """Time of a step.

        Args:
            context_tokens: tokens in the KV cache of all sequences of the batch, this step's own included.
            prefill_tokens: prompt tokens (and recomputed tokens) that this step processes.
        """
        return self.base + self.per_context_token * context_tokens + self.per_prefill_token * prefill_tokens


def step_cost(
    model: ModelFacts,
    gpu: GpuFacts,
    *,
    tensor_parallel: int,
    weight_bytes: float,
    kv_bytes_per_token: float,
    fp8_compute: bool = False,
    speedup: float = 1.0,
) -> StepCost:
    """Coefficients of the formula above for one engine.

    Args:
        model: facts of the model.
        gpu: facts of one GPU.
        tensor_parallel: number of GPUs that share the model.
        weight_bytes: bytes of all weights, over all GPUs.
        kv_bytes_per_token: bytes of one token in the KV cache, over all GPUs.
        fp8_compute: use the GPU's fp8 throughput where it has one (weights quantized to fp8).
        speedup: every latency is divided by it (1 = real time).
    """
    bandwidth = tensor_parallel * gpu.bandwidth_gb_s * 1e9 * BANDWIDTH_EFFICIENCY
    tflops = gpu.fp8_tflops if fp8_compute and gpu.fp8_tflops else gpu.bf16_tflops
    flops = tensor_parallel * tflops * 1e12 * COMPUTE_EFFICIENCY
    all_reduces = 2 * model.layers * ALL_REDUCE_SECONDS if tensor_parallel > 1 else 0.0
    return StepCost(
        base=(weight_bytes / bandwidth + all_reduces + STEP_OVERHEAD_SECONDS) / speedup,
        per_context_token=kv_bytes_per_token / bandwidth / speedup,
        per_prefill_token=2 * model.compute_parameters / flops / speedup,
    )
