"""Sizing agrees with what vLLM printed and with itself.

Shows: bytes per token, blocks, budget and limits. Not that the overhead is right on GPUs and engine versions other than
those cited; nor anything about speed.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog import Gpu, MigProfile, Model, gpus, models
from planner.memory import MIG_NAME_TO_MEMORY
from planner.sizing import (
    BLOCK_TOKENS,
    DoesNotFitError,
    EngineLimits,
    SizingError,
    budget,
    computes,
    derive_engine_limits,
    fits,
    kv_bytes_per_token,
    kv_cache_tokens,
    mig_memory_gib,
    tensor_parallel_choices,
    tokens_in,
    weights_gib,
)

pytestmark = pytest.mark.unit

LLAMA_8B = models()["meta-llama/Llama-3.1-8B-Instruct"]
LLAMA_70B = models()["meta-llama/Llama-3.1-70B-Instruct"]
CODER_7B = models()["Qwen/Qwen2.5-Coder-7B-Instruct"]
L4 = gpus()["l4"]
A100 = gpus()["a100-40"]

MODELS = st.sampled_from(sorted(models())).map(lambda key: models()[key])
GPUS = st.sampled_from(sorted(gpus())).map(lambda key: gpus()[key])
SHARES = st.floats(0.05, 1)
SIZES = st.sampled_from([1, 2, 4, 8, 16])


def test_weights_are_what_vllm_prints() -> None:
    # vLLM on Meta-Llama-3-8B (the same architecture): "Loading model weights took 14.9595 GB", "14.96GiB".
    assert weights_gib(LLAMA_8B) == pytest.approx(14.9595, rel=0.0002)
    # vLLM on Llama-3-8B variants, V1: "Model loading took 14.9888 GB" (with buffers of the run time).
    assert weights_gib(LLAMA_8B) == pytest.approx(14.9888, rel=0.01)


def test_kv_cache_is_what_vllm_prints() -> None:
    # vLLM V0, A100 40GB, Meta-Llama-3-8B: "total_gpu_memory (39.50GiB) x gpu_memory_utilization (0.90) = 35.55GiB",
    # "the rest of the memory reserved for KV Cache is 11.12GiB", "# GPU blocks: 5691". Only the step from bytes to
    # blocks is compared: V0 set aside 9.37 GiB for activations, which V1 does not.
    assert A100.memory_gib * 0.9 == pytest.approx(35.55)
    assert tokens_in(11.12, kv_bytes_per_token(LLAMA_8B)) == 91_088
    assert pytest.approx(5691 * 16, rel=0.0005) == 91_088


def test_the_budget_agrees_with_kvplan_on_an_l4() -> None:
    # kvplan 0.92 of 22.49 GiB: 4.91 GiB, 40,208 tokens. (CUDA itself offers 22.03 GiB, which the catalogue has.)
    parts = budget(LLAMA_8B, 22.49, gpu_memory_utilization=0.92)
    assert parts.kv_cache_gib == pytest.approx(4.91, rel=0.01)
    assert kv_cache_tokens(LLAMA_8B, 22.49, gpu_memory_utilization=0.92) == pytest.approx(40_208, rel=0.01)


@pytest.mark.parametrize(
    ("model", "size", "dtype", "expected"),
    [
        (LLAMA_8B, 1, "auto", 131_072),
        (LLAMA_70B, 1, "auto", 327_680),
        (LLAMA_70B, 8, "auto", 40_960),
        # 8 KV heads on 16 GPUs: each has one, replicated.
        (LLAMA_70B, 16, "auto", 40_960),
        # 4 KV heads on 8 GPUs.
        (CODER_7B, 8, "auto", 2 * 28 * 128 * 2),
        (LLAMA_8B, 1, "fp8", 65_536),
        (LLAMA_8B, 1, "fp8_e4m3", 65_536),
    ],
)
def test_kv_bytes_per_token(model: Model, size: int, dtype: str, expected: float) -> None:
    assert kv_bytes_per_token(model, size, dtype) == expected


def test_quantized_linear_layers() -> None:
    # Embedding and output head stay in bfloat16: 2 * 128,256 * 8,192 weights.
    kept = 2 * 128_256 * 8_192
    assert weights_gib(LLAMA_70B, "fp8") == ((LLAMA_70B.parameters - kept) + kept * 2) / 2**30
    assert weights_gib(models()["Qwen/Qwen3-32B-FP8"]) == weights_gib(models()["Qwen/Qwen3-32B"], "fp8")
    assert weights_gib(LLAMA_70B, "int4") / weights_gib(LLAMA_70B) == pytest.approx(0.28, abs=0.01)


def test_overhead_is_activations_non_torch_memory_and_graphs() -> None:
    # 256 sequences of 128,256 logits at 38.25 B, one hidden state of 8 KiB for each of 2048 tokens; 0.13; 0.5.
    sampler = (256 * 128_256 * 38.25 + 2048 * 4096 * 2) / 2**30
    assert budget(LLAMA_8B, 80).overhead_gib == pytest.approx(sampler + 0.13 + 0.5)
    assert budget(LLAMA_8B, 80, 2).overhead_gib == pytest.approx(sampler + 0.55 + 0.5)
    assert budget(LLAMA_8B, 80, cuda_graphs=False).overhead_gib == pytest.approx(sampler + 0.13)
    # One sequence: gate, up and down buffers of 8192 tokens are more.
    forward = (8192 * 3 * (14_336 + 4096) * 2 + 8192 * 4096 * 2) / 2**30
    few = budget(LLAMA_8B, 80, max_num_seqs=1, max_num_batched_tokens=8192)
    assert few.overhead_gib == pytest.approx(forward + 0.13 + 0.5)


def test_limits_of_the_dev_stack() -> None:
    assert derive_engine_limits(LLAMA_8B, L4, max_model_len=8192) == EngineLimits(
        weights_gib=LLAMA_8B.parameters * 2 / 2**30, kv_cache_tokens=23_840, max_model_len=8192, max_num_seqs=17
    )
    assert derive_engine_limits(CODER_7B, L4, max_model_len=8192).max_num_seqs == 49


def test_limits_that_are_not_given_are_derived() -> None:
    # What the KV cache holds is less than the model's 131,072.
    assert derive_engine_limits(LLAMA_8B, L4).max_model_len == 23_840
    # The model's 32,768 are less than what the KV cache holds.
    assert derive_engine_limits(CODER_7B, L4).max_model_len == 32_768
    assert derive_engine_limits(CODER_7B, gpus()["h100"]).max_num_seqs == 256
    assert derive_engine_limits(CODER_7B, L4, 1, 0.85, 4096, 7).max_num_seqs == 7


def test_limits_of_a_mig_slice_and_of_an_fp8_cache() -> None:
    whole = derive_engine_limits(CODER_7B, A100)
    part = derive_engine_limits(CODER_7B, A100, mig_profile="3g.20gb")
    assert part.kv_cache_tokens == kv_cache_tokens(CODER_7B, 19.62)
    assert part.kv_cache_tokens < whole.kv_cache_tokens / 2
    packed = derive_engine_limits(CODER_7B, A100, kv_cache_dtype="fp8")
    assert packed.kv_cache_tokens == pytest.approx(2 * whole.kv_cache_tokens, rel=0.01)


def test_what_does_not_fit_is_said_with_its_sizes() -> None:
    with pytest.raises(DoesNotFitError) as error:
        derive_engine_limits(LLAMA_8B, L4, max_model_len=32_768)
    assert str(error.value) == (
        "meta-llama/Llama-3.1-8B-Instruct: each GPU gives the engine 18.7 GiB; weights take 15.0 GiB, the runtime "
        "0.9 GiB: room for 23840 tokens of KV cache, 32768 are needed"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: budget(LLAMA_8B, 22, 0), "tensor_parallel is 0; it must be 1 or more"),
        (lambda: kv_bytes_per_token(LLAMA_8B, -1), "tensor_parallel is -1; it must be 1 or more"),
        (lambda: budget(LLAMA_8B, 22, 1, 0), "gpu_memory_utilization is 0; it must be above 0 and at most 1"),
        (lambda: budget(LLAMA_8B, 22, 1, math.nan), "gpu_memory_utilization is nan; it must be above 0 and at most 1"),
        (
            lambda: weights_gib(LLAMA_8B, "fp3"),
            "unknown quantization 'fp3'; known: fp8, int4, int4-g32, int8, mxfp4, nvfp4",
        ),
        (
            lambda: kv_bytes_per_token(LLAMA_8B, 1, "int3"),
            "unknown dtype 'int3'; known: bfloat16, float16, float32, fp8",
        ),
        (lambda: derive_engine_limits(LLAMA_8B, L4, mig_profile="1g.5gb"), "NVIDIA L4 has no MIG profile '1g.5gb'"),
        (lambda: mig_memory_gib(MigProfile(name="1g", per_gpu=7)), "MIG profile '1g' has no size in its name"),
    ],
)
def test_impossible_questions(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(SizingError) as error:
        call()
    assert str(error.value) == message


def test_a_slice_without_a_listing_gets_a_lower_bound() -> None:
    assert mig_memory_gib(gpus()["h200"].mig_profiles["3g.71gb"]) == pytest.approx(71e9 / 2**30 * MIG_NAME_TO_MEMORY)
    for gpu in gpus().values():
        for profile in gpu.mig_profiles.values():
            bound = mig_memory_gib(dataclasses.replace(profile, memory_gib=None))
            assert bound <= mig_memory_gib(profile), (gpu.key, profile.name)


def test_tensor_parallel_sizes_that_vllm_accepts() -> None:
    assert list(tensor_parallel_choices(LLAMA_8B, 16)) == [1, 2, 4, 8, 16]
    # 28 heads, 4 KV heads: 7 and 14 GPUs would need KV heads cut in pieces.
    assert list(tensor_parallel_choices(CODER_7B, 16)) == [1, 2, 4]


def test_a_t4_has_no_bfloat16() -> None:
    assert not computes(gpus()["t4"], "bfloat16")
    assert computes(gpus()["t4"], "float16")
    assert computes(L4, "bfloat16")


@given(MODELS, GPUS, SIZES, SHARES, st.floats(0, 100))
def test_more_memory_never_holds_less(model: Model, gpu: Gpu, size: int, share: float, more: float) -> None:
    assert kv_cache_tokens(model, gpu.memory_gib + more, size, share) >= kv_cache_tokens(
        model, gpu.memory_gib, size, share
    )


@given(MODELS, GPUS, SHARES, st.floats(0, 0.5))
def test_a_larger_share_never_holds_less(model: Model, gpu: Gpu, share: float, more: float) -> None:
    larger = min(1.0, share + more)
    assert kv_cache_tokens(model, gpu.memory_gib, 1, larger) >= kv_cache_tokens(model, gpu.memory_gib, 1, share)


@given(MODELS, GPUS, SIZES)
def test_more_gpus_never_mean_more_weights_or_tokens_bytes_on_each(model: Model, gpu: Gpu, size: int) -> None:
    one, two = (budget(model, gpu.memory_gib, count) for count in (size, 2 * size))
    assert two.weights_gib <= one.weights_gib
    assert kv_bytes_per_token(model, 2 * size) <= kv_bytes_per_token(model, size)


@given(MODELS, GPUS, SIZES, SHARES, st.one_of(st.none(), st.integers(1, 200_000)))
def test_limits_exist_exactly_where_it_fits(
    model: Model, gpu: Gpu, size: int, share: float, length: int | None
) -> None:
    if not fits(model, gpu.memory_gib, size, share, length):
        with pytest.raises(DoesNotFitError):
            derive_engine_limits(model, gpu, size, share, length)
        return
    limits = derive_engine_limits(model, gpu, size, share, length)
    assert limits.kv_cache_tokens % BLOCK_TOKENS == 0
    assert 1 <= limits.max_model_len <= limits.kv_cache_tokens
    assert 1 <= limits.max_num_seqs <= 256
    assert limits.max_model_len == length or limits.max_model_len <= model.max_position_embeddings
