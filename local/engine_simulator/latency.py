"""How long one engine step takes: the planner's formula (`planner/latency.py`) with the facts of a simulated engine.

Its constants are fitted to measured rows of vLLM on H100, H200 and B200; docs/plan-accuracy.md has the error on rows
that were not used for fitting. No measured rows of L4, A10G or T4 were found: there the result is an estimate. A
mixture of experts reads all its experts at each step here, as with a large batch.
"""

from __future__ import annotations

from local.engine_simulator.facts import GpuFacts, ModelFacts
from planner.latency import StepCost
from planner.latency import step_cost as planned_step_cost

__all__ = ["StepCost", "step_cost"]


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
    """Coefficients of the planner's formula for one engine.

    Args:
        model: facts of the model.
        gpu: facts of one GPU.
        tensor_parallel: number of GPUs that share the model.
        weight_bytes: bytes of all weights, over all GPUs.
        kv_bytes_per_token: bytes of one token in the KV cache, over all GPUs.
        fp8_compute: use the GPU's fp8 throughput where it has one (weights quantized to fp8).
        speedup: every latency is divided by it (1 = real time).
    """
    cost = planned_step_cost(
        weight_bytes=weight_bytes - model.lookup_bytes,
        kv_bytes_per_gpu=kv_bytes_per_token / tensor_parallel,
        layers=model.layers,
        moe_layers=model.layers if model.active_parameters else 0,
        hidden=model.hidden,
        compute_parameters=model.compute_parameters - model.vocab * model.hidden,
        bandwidth_gb_s=gpu.bandwidth_gb_s,
        tflops=gpu.fp8_tflops if fp8_compute and gpu.fp8_tflops else gpu.bf16_tflops,
        tensor_parallel=tensor_parallel,
        nvlink=gpu.nvlink,
    )
    return StepCost(
        base=cost.base / speedup,
        per_context_token=cost.per_context_token / speedup,
        per_prefill_token=cost.per_prefill_token / speedup,
        per_sequence=cost.per_sequence / speedup,
    )
