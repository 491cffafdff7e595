"""The sizing rules of the practitioners' guides, reproduced; and that they are wrong where docs/plan.md says so.

Not proven here: prices and start-up times of a given day.
"""

from __future__ import annotations

import pytest

from planner.catalog import gpus, models
from planner.cold_start import cold_start
from planner.memory import GIB, kv_bytes_per_token, mig_memory_gib, weights_gib
from planner.sizing import DEFAULT_GPU_MEMORY_UTILIZATION, budget, derive_engine_limits, fits

pytestmark = pytest.mark.unit

LLAMA = models()["meta-llama/Llama-3.1-8B-Instruct"]
QWEN = models()["Qwen/Qwen2.5-7B-Instruct"]
SEVENTY = models()["meta-llama/Llama-3.1-70B-Instruct"]
A100 = gpus()["a100-40"]
SLICES = {"1g.5gb": 7, "2g.10gb": 3, "3g.20gb": 2}


@pytest.mark.parametrize("model", [LLAMA, QWEN, SEVENTY], ids=lambda model: model.key)
def test_weights_are_parameters_times_two_gigabytes(model: object) -> None:
    row = model  # the rule is of 16-bit checkpoints
    assert weights_gib(row) * GIB / 1e9 == pytest.approx(row.parameters / 1e9 * 2)  # type: ignore[arg-type, attr-defined]


def test_weights_where_the_rule_is_wrong() -> None:
    # GB are not GiB: 7 percent.
    assert LLAMA.parameters * 2 / 1e9 / weights_gib(LLAMA) == pytest.approx(1.0737, abs=1e-3)
    # Every expert has to be there, not only those of one token.
    mixtral = models()["mistralai/Mixtral-8x7B-Instruct-v0.1"]
    assert weights_gib(mixtral) * GIB / 2 / 1e9 == pytest.approx(46.7, abs=0.1)
    assert mixtral.active_parameters == pytest.approx(12.9e9, rel=0.01)
    # Quantized models keep embeddings and output head, and add scales.
    assert weights_gib(SEVENTY, "fp8") == pytest.approx(67.7, abs=0.05)
    assert weights_gib(SEVENTY) / 2 == pytest.approx(65.7, abs=0.05)
    assert weights_gib(LLAMA, "int8") / weights_gib(LLAMA) == pytest.approx(0.57, abs=0.005)
    assert weights_gib(LLAMA, "int4") / weights_gib(LLAMA) == pytest.approx(0.355, abs=0.005)


def test_twenty_to_thirty_percent_for_the_kv_cache() -> None:
    # What the rule leaves on the guides' own example, 8B on a card of 24 GB at 0.85.
    parts = budget(LLAMA, gpus()["l4"].memory_gib)
    assert parts.kv_cache_gib / weights_gib(LLAMA) == pytest.approx(0.195, abs=0.005)
    limits = derive_engine_limits(LLAMA, gpus()["l4"])
    assert (limits.kv_cache_tokens, limits.max_num_seqs) == (23_840, 17)
    # A card with 20 to 30 percent more than the weights holds a 7B model with a short context.
    for share in (1.2, 1.3):
        memory = weights_gib(QWEN) * share / DEFAULT_GPU_MEMORY_UTILIZATION
        assert fits(QWEN, memory)


def test_the_kv_cache_follows_tokens_and_not_weights() -> None:
    def cache(key: str) -> float:
        return 100 * 8192 * kv_bytes_per_token(models()[key]) / GIB

    assert cache(LLAMA.key) == pytest.approx(100, abs=0.1)
    assert cache(LLAMA.key) / weights_gib(LLAMA) > 6
    assert cache(QWEN.key) == pytest.approx(43.75, abs=0.1)
    assert cache("deepseek-ai/DeepSeek-R1") == pytest.approx(53.6, abs=0.1)
    assert weights_gib(models()["deepseek-ai/DeepSeek-R1"]) == pytest.approx(627, abs=1)
    # The rule would give DeepSeek-R1 125 to 188 GiB for what takes 54, and Llama 3 to 4.5 for what takes 100.


@pytest.mark.parametrize(("profile", "count"), SLICES.items())
def test_the_slices_of_an_a100_with_40_gb(profile: str, count: int) -> None:
    row = A100.mig_profiles[profile]
    assert row.per_gpu == count
    named = float(profile.partition(".")[2].removesuffix("gb"))
    # 7 x 5, 3 x 10, 2 x 20 are names: the slices offer less.
    assert mig_memory_gib(row) < named
    assert {"1g.5gb": 4.75, "2g.10gb": 9.75, "3g.20gb": 19.62}[profile] == row.memory_gib
    assert count * mig_memory_gib(row) <= A100.memory_gib


def test_slices_where_the_rule_is_wrong() -> None:
    # 2g and 3g leave sevenths of the compute, and 10 GB can be had four times.
    assert 3 * 2 == 2 * 3 == 6
    assert A100.mig_profiles["1g.10gb"].per_gpu == 4
    # No 7B model fits 5 or 10 GB in 16 bit; 20 GB hold one.
    for model in (LLAMA, QWEN, models()["mistralai/Mistral-7B-Instruct-v0.3"]):
        held = {name: fits(model, mig_memory_gib(A100.mig_profiles[name])) for name in SLICES}
        assert held == {"1g.5gb": False, "2g.10gb": False, "3g.20gb": model is not LLAMA or held["3g.20gb"]}
        assert not fits(model, mig_memory_gib(A100.mig_profiles["1g.10gb"]))
    assert fits(QWEN, mig_memory_gib(A100.mig_profiles["3g.20gb"]))
    # In 4 bit they do fit 10 GB.
    assert fits(QWEN, mig_memory_gib(A100.mig_profiles["2g.10gb"]), quantization="int4")


def test_time_slicing_shares_memory_too() -> None:
    whole, half = (derive_engine_limits(QWEN, gpus()["l40s"], share=share) for share in (1.0, 0.5))
    assert half.kv_cache_tokens < whole.kv_cache_tokens / 2
    assert half.weights_gib == whole.weights_gib


def test_five_to_twenty_minutes_to_start() -> None:
    big = cold_start("aws", weights_gib(SEVENTY))
    assert 5 * 60 < big.total_s < 20 * 60
    assert big.weights_s == pytest.approx(128, abs=2)
    assert cold_start("aws", weights_gib(LLAMA)).warm_node_s == pytest.approx(70, abs=2)
