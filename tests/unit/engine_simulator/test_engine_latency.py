"""The latency formula: three cases by hand, and ten measurements of vLLM.

Not proven here: the formula on GPUs without measured rows (L4, A10G, T4), and time to first token, which depends on
how requests arrive.
"""

from __future__ import annotations

import random

import pytest

from local.engine_simulator.core import EngineCore, EngineLimits
from local.engine_simulator.facts import GpuFacts, ModelFacts
from local.engine_simulator.latency import StepCost, step_cost
from local.engine_simulator.memory import kv_bytes_per_token_and_gpu, weight_bytes
from planner.latency import constants
from tests.unit.engine_simulator.engine_doubles import L4, LLAMA_8B, VirtualEngine, finished

pytestmark = pytest.mark.unit

FITTED = constants()
H100 = GpuFacts(name="h100", memory_gib=79.18, bandwidth_gb_s=3350, bf16_tflops=989, fp8_tflops=1978, nvlink=True)
H200 = GpuFacts(name="h200", memory_gib=139.8, bandwidth_gb_s=4800, bf16_tflops=989, fp8_tflops=1978, nvlink=True)
LLAMA_70B = ModelFacts(
    hf_id="meta-llama/Llama-3.1-70B",
    parameters=70_553_706_496,
    layers=80,
    heads=64,
    kv_heads=8,
    head_dim=128,
    dtype_bytes=2.0,
    max_position_embeddings=131072,
    embedding_parameters=2 * 8192 * 128256,
    vocab=128256,
    hidden=8192,
    intermediate=28672,
)


def cost_of(model: ModelFacts, gpu: GpuFacts, tensor_parallel: int, quantization: str | None = None) -> StepCost:
    kv_bytes = kv_bytes_per_token_and_gpu(model, tensor_parallel, 2.0) * tensor_parallel
    return step_cost(
        model,
        gpu,
        tensor_parallel=tensor_parallel,
        weight_bytes=weight_bytes(model, quantization, model.dtype_bytes),
        kv_bytes_per_token=kv_bytes,
        fp8_compute=quantization == "fp8",
    )


def test_decoding_on_one_gpu_reads_the_weights_and_the_cache() -> None:
    # All weights but the input embedding, 15,009,849,344 B / (300e9 B/s) = 50.03283 ms at the peak; 32 layers.
    cost = cost_of(LLAMA_8B, L4, 1)
    assert cost.seconds(0, 0) == pytest.approx(50.03283e-3 * FITTED.weights + 32 * FITTED.layer_seconds, rel=1e-5)
    context = 1000 * 131_072 / 300e9 * FITTED.cache
    assert cost.seconds(1000, 0) - cost.seconds(0, 0) == pytest.approx(context, rel=1e-5)
    multiplied = 2 * (LLAMA_8B.parameters - 128_256 * 4_096) / 121e12 * FITTED.linear
    assert cost.seconds(0, 0, 10) - cost.seconds(0, 0) == pytest.approx(10 * (FITTED.sequence_seconds + multiplied))


def test_prefill_adds_two_flops_per_parameter_and_token() -> None:
    cost = cost_of(LLAMA_8B, L4, 1)
    multiplied = LLAMA_8B.parameters - 128_256 * 4_096
    expected = 2 * multiplied * 2048 / 121e12 * FITTED.linear
    assert cost.seconds(0, 2048) - cost.seconds(0, 0) == pytest.approx(expected, rel=1e-5)


def test_tensor_parallel_divides_the_work_and_adds_all_reduces() -> None:
    # fp8 with a bf16 output head: 70,553,706,496 B / (2 * 3350e9) = 10.530404 ms at the peak.
    cost = cost_of(LLAMA_70B, H100, 2, "fp8")
    layers = 80 * (FITTED.layer_seconds + FITTED.hop_seconds)
    assert cost.base == pytest.approx(10.530404e-3 * FITTED.weights + layers, rel=1e-5)
    # Two all-reduces a layer, each through reduce-scatter and all-gather: 4 * 80 * 8192 values of 2 bytes.
    reduced = 4 * 80 * 8192 * 2 / 450e9 * FITTED.reduce
    multiplied = 2 * (LLAMA_70B.parameters - 128_256 * 8192) / (2 * 1978e12) * FITTED.linear
    assert cost.per_prefill_token == pytest.approx(multiplied + reduced, rel=1e-5)
    assert cost.per_sequence == pytest.approx(FITTED.sequence_seconds + multiplied + reduced)


def test_speedup_divides_everything() -> None:
    arguments = {"tensor_parallel": 1, "weight_bytes": 1e9, "kv_bytes_per_token": 1e5}
    slow = step_cost(LLAMA_8B, L4, **arguments)  # type: ignore[arg-type]
    fast = step_cost(LLAMA_8B, L4, speedup=4, **arguments)  # type: ignore[arg-type]
    assert fast.seconds(100, 10) == pytest.approx(slow.seconds(100, 10) / 4)


def test_mixtures_of_experts_compute_with_the_active_parameters() -> None:
    mixture = ModelFacts(
        hf_id="moe",
        parameters=30_000_000_000,
        layers=48,
        heads=32,
        kv_heads=4,
        head_dim=128,
        dtype_bytes=2.0,
        max_position_embeddings=4096,
        active_parameters=3_000_000_000,
    )
    cost = cost_of(mixture, H100, 1)
    fitted = constants("vllm", "experts")
    assert cost.per_prefill_token == pytest.approx(2 * 3e9 / 989e12 * fitted.expert_math)
    layers = 48 * (fitted.layer_seconds + fitted.expert_layer_seconds)
    assert cost.base == pytest.approx(60e9 / 3350e9 * fitted.experts + layers)


# vLLM, Llama-3.1-70B in fp8, 1024 tokens in and out: all rows of TP 2 on H100 and of TP 1 on H200 of AIConfigurator's
# silicon_sample.csv (Apache-2.0, NVIDIA; 2026-04): GPU, GPUs, concurrency, milliseconds per output token.
MEASURED = (
    (H100, 2, 4, 17.4),
    (H100, 2, 8, 18.2),
    (H100, 2, 16, 19.7),
    (H100, 2, 32, 23.5),
    (H100, 2, 64, 28.8),
    (H200, 1, 4, 21.5),
    (H200, 1, 8, 22.6),
    (H200, 1, 16, 24.7),
    (H200, 1, 32, 33.2),
    (H200, 1, 64, 37.4),
)


def simulated_ms_per_token(gpu: GpuFacts, tensor_parallel: int, concurrency: int) -> float:
    """A closed loop of clients, each sending its next request when one is answered."""
    limits = EngineLimits(1024, 8192, 4096, num_blocks=20_000, prefix_caching=False)
    engine = VirtualEngine(EngineCore(limits, cost_of(LLAMA_70B, gpu, tensor_parallel, "fp8")))
    spread = random.Random(1)  # the first requests end at different times, as in a run that is under way
    for _ in range(concurrency):
        engine.add(1024, spread.randint(1, 1024))
    for _ in range(1500):
        engine.step()
        for sequence in engine.emitted:
            if finished(sequence):
                engine.add(1024, 1024)
    latency = engine.core.stats.inter_token_latency
    return 1e3 * latency.total / latency.count


def test_simulated_time_per_token_is_near_the_measured_one() -> None:
    errors = [
        abs(simulated_ms_per_token(gpu, parallel, concurrency) / measured - 1)
        for gpu, parallel, concurrency, measured in MEASURED
    ]
    assert sum(errors) / len(errors) < 0.08
    assert max(errors) < 0.20
