"""KV cache and weights against what vLLM itself logged, in public; docs/plan.md has the addresses.

Not proven here: versions after 0.15, multimodal models, the buffers of large mixtures of experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from planner.catalog import gpus, models
from planner.sizing import GIB, kv_bytes_per_token, kv_cache_tokens, weights_gib

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Case:
    """A start of vLLM: its flags, and what it logged (tokens, or GiB that are divided by the bytes of a token)."""

    model: str
    memory_gib: float
    share: float
    parallel: int = 1
    seqs: int = 256
    batched: int = 2048
    quantization: str | None = None
    tokens: int = 0
    cache_gib: float = 0.0
    weights_gib: float = 0.0


# vLLM 0.11 on H100: max_num_seqs 1024 and max_num_batched_tokens 8192 are its defaults there.
H100: dict[str, Any] = {"memory_gib": gpus()["h100"].memory_gib, "share": 0.9, "seqs": 1024, "batched": 8192}
QWEN_7B = "Qwen/Qwen2.5-7B-Instruct"
CASES = (
    Case("meta-llama/Llama-3.1-8B-Instruct", **H100, cache_gib=51.38, weights_gib=14.99),
    Case(
        "meta-llama/Llama-3.3-70B-Instruct", **H100, parallel=2, quantization="fp8", cache_gib=32.00, weights_gib=33.88
    ),
    Case("Qwen/Qwen3-0.6B", **H100, cache_gib=64.45, weights_gib=1.12),
    Case("Qwen/Qwen3-32B", **H100, cache_gib=4.45, weights_gib=61.03),
    Case("Qwen/Qwen3-32B", **H100, parallel=2, cache_gib=34.49, weights_gib=30.59),
    Case("Qwen/Qwen3-8B", gpus()["a100-40"].memory_gib, 0.9, tokens=136_080, weights_gib=15.2683),
    Case("meta-llama/Llama-3.1-8B-Instruct", 47.37, 0.9, tokens=216_624, weights_gib=14.9889),
    Case("meta-llama/Llama-3.1-8B-Instruct", 23.57, 0.85, tokens=30_960, weights_gib=14.9889),
    Case(
        "meta-llama/Llama-3.1-8B-Instruct",
        gpus()["a100-40"].memory_gib,
        0.9,
        batched=8192,
        tokens=157_936,
        weights_gib=14.99,
    ),
    Case(QWEN_7B, gpus()["l40s"].memory_gib, 0.9, tokens=444_592, weights_gib=14.2488),
    Case(QWEN_7B, gpus()["l40s"].memory_gib, 0.9, quantization="fp8", tokens=553_216, weights_gib=8.1426),
    Case(QWEN_7B, gpus()["l40s"].memory_gib, 0.9, quantization="int4", tokens=611_248, weights_gib=5.1811),
)


@pytest.mark.parametrize(
    "case",
    CASES,
    ids=lambda case: f"{case.model.rpartition('/')[2]}-{case.quantization}-{case.memory_gib}-{case.parallel}",
)
def test_kv_cache_within_3_percent_and_weights_within_1(case: Case) -> None:
    model = models()[case.model]
    logged = case.tokens or case.cache_gib * GIB / kv_bytes_per_token(model, case.parallel)
    planned = kv_cache_tokens(
        model,
        case.memory_gib,
        case.parallel,
        case.share,
        quantization=case.quantization,
        max_num_seqs=case.seqs,
        max_num_batched_tokens=case.batched,
        cuda_graphs=False,  # not counted before 0.21
    )
    assert planned == pytest.approx(logged, rel=0.03)
    assert weights_gib(model, case.quantization) / case.parallel == pytest.approx(case.weights_gib, rel=0.01)
