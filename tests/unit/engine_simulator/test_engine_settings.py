"""What is derived when the engine starts: KV cache, defaults by GPU, and what is refused.

Not proven here: what vLLM's own profiling would find; the overhead is an estimate.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import planner.catalog
import planner.sizing
from local.engine_simulator.arguments import parse
from local.engine_simulator.environment import Simulation, SimulationError, process_age_seconds, read_simulation
from local.engine_simulator.facts import FactsError, GpuFacts, ModelFacts, load_gpu, load_model
from local.engine_simulator.settings import EngineSettings, StartError, resolve
from tests.unit.engine_simulator.engine_doubles import L4, LLAMA_8B

pytestmark = pytest.mark.unit

H100 = GpuFacts(name="h100", memory_gib=79.18, bandwidth_gb_s=3350, bf16_tflops=989, fp8_tflops=1978)
A100 = GpuFacts(name="a100-80", memory_gib=79.25, bandwidth_gb_s=2039, bf16_tflops=312)


def start(
    *arguments: str, gpu: GpuFacts = L4, model: ModelFacts = LLAMA_8B, environ: dict[str, str] | None = None
) -> EngineSettings:
    return resolve(parse(["serve", model.hf_id, *arguments]), Simulation(), model, gpu, environ or {})


def test_kv_cache_of_an_8b_model_on_an_l4() -> None:
    # 22.03 * 0.92 - 14.9575 (weights) - 1.8153 (256 sequences) = 3.4948 GiB; 2 MiB a block of 16 tokens: 1789 blocks.
    settings = start("--max-model-len", "8192")
    assert settings.limits.num_blocks == 1789
    assert settings.kv_cache_tokens == 28_624


def test_fp8_cache_holds_twice_as_much_and_tensor_parallel_divides_the_weights() -> None:
    assert start("--max-model-len", "8192", "--kv-cache-dtype", "fp8").limits.num_blocks == 3578
    # 20.2676 - 7.4788 - 2.2353: 10.5535 GiB, at 1 MiB a block.
    assert start("--max-model-len", "8192", "-tp", "2").limits.num_blocks == 10_806


def test_defaults_of_the_batch_depend_on_the_gpu_as_in_vllm() -> None:
    def batch(gpu: GpuFacts) -> tuple[int, int]:
        limits = start("--max-model-len", "4096", gpu=gpu).limits
        return limits.max_num_seqs, limits.max_num_batched_tokens

    assert batch(L4) == (256, 2048)
    assert batch(H100) == (1024, 8192)
    assert batch(A100) == (256, 2048)


def test_max_model_len_auto_takes_what_fits() -> None:
    assert start("--max-model-len", "auto").limits.max_model_len == 28_624
    assert start("--max-model-len", "auto", gpu=H100).limits.max_model_len == 131_072


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), r"--max-model-len 131072 needs 16.00 GiB .* 3.49 GiB \(28624 tokens\) .* to at most 28624"),
        (
            ("--gpu-memory-utilization", "0.6"),
            r"does not fit on 1 x l4 \(22.03 GiB each\) .*--gpu-memory-utilization 0.6",
        ),
        (("--max-model-len", "200000"), "--max-model-len 200000 exceeds .* own 131072"),
        (("-tp", "3"), "--tensor-parallel-size 3 does not divide .* 32 attention heads"),
        (
            ("--max-num-seqs", "64", "--max-num-batched-tokens", "32", "--max-model-len", "4k"),
            "32 must be at least .* 64",
        ),
    ],
)
def test_what_vllm_refuses_is_refused_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(StartError, match=message) as caught:
        start(*arguments)
    assert "\n" not in str(caught.value)


def test_keys_and_dev_mode_come_from_the_environment() -> None:
    settings = start("--max-model-len", "4k", environ={"VLLM_API_KEY": "k", "VLLM_SERVER_DEV_MODE": "1"})
    assert (settings.api_keys, settings.dev_mode) == (("k",), True)
    settings = start("--max-model-len", "4k", "--api-key", "a", "b", environ={"VLLM_API_KEY": "k"})
    assert (settings.api_keys, settings.dev_mode) == (("a", "b"), False)


@pytest.mark.parametrize(
    ("model", "gpu", "parallel", "utilization"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "l4", 1, 0.85),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "l4", 1, 0.9),
        ("meta-llama/Llama-3.1-70B-Instruct", "h100", 4, 0.92),
        ("Qwen/Qwen3-32B-FP8", "l40s", 2, 0.85),
    ],
)
def test_the_simulator_and_the_planner_find_the_same_kv_cache(
    model: str, gpu: str, parallel: int, utilization: float
) -> None:
    planned = planner.sizing.kv_cache_tokens(
        planner.catalog.models()[model],
        planner.catalog.gpus()[gpu].memory_gib,
        parallel,
        utilization,
        max_num_seqs=64,
        max_num_batched_tokens=2048,
    )
    settings = start(
        *("--max-model-len", "4096", "-tp", str(parallel), "--gpu-memory-utilization", str(utilization)),
        *("--max-num-seqs", "64", "--max-num-batched-tokens", "2048"),
        model=load_model(model),
        gpu=load_gpu(gpu),
    )
    assert settings.kv_cache_tokens == planned


def test_every_row_of_the_catalogue_can_be_read() -> None:
    assert all(load_gpu(name).bandwidth_gb_s > 0 for name in planner.catalog.gpus())
    assert all(load_model(name).parameters > 0 for name in planner.catalog.models())


def test_unknown_rows_name_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "gpus.toml").write_text("[gpus.l4]\nmemory_gib = 22.03\n")
    with pytest.raises(FactsError, match="unknown GPU 'b9000': the simulator knows l4"):
        load_gpu("b9000", tmp_path)
    with pytest.raises(FactsError, match=r"GPU 'l4' .* lacks 'bandwidth_gb_s'"):
        load_gpu("l4", tmp_path)
    with pytest.raises(FactsError, match=r"cannot read the catalogue .*models\.toml"):
        load_model("some/model", tmp_path)


def test_environment_defaults_and_values() -> None:
    assert read_simulation({}) == Simulation(startup_seconds=0.0, speedup=1.0, gpu="l4")
    environ = {"SIMULATION_STARTUP_SECONDS": "3.5", "SIMULATION_SPEEDUP": "10", "SIMULATION_GPU": "h100"}
    assert read_simulation(environ) == Simulation(startup_seconds=3.5, speedup=10.0, gpu="h100")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SIMULATION_STARTUP_SECONDS", "-1"),
        ("SIMULATION_STARTUP_SECONDS", "soon"),
        ("SIMULATION_SPEEDUP", "0"),
        ("SIMULATION_SPEEDUP", "nan"),
        ("SIMULATION_SPEEDUP", "inf"),
    ],
)
def test_impossible_variables_are_named(name: str, value: str) -> None:
    with pytest.raises(SimulationError, match=f"{name}='{value}' is not"):
        read_simulation({name: value})


def test_process_age_is_that_of_this_process() -> None:
    assert 0 < process_age_seconds() < 24 * 3600


def test_a_share_of_a_gpu_is_slower_and_a_slice_is_smaller() -> None:
    taking_turns, slice_of_it = L4.shared(0.25, 0), H100.shared(1 / 7, 9.75)
    assert (taking_turns.memory_gib, taking_turns.bandwidth_gb_s, taking_turns.bf16_tflops) == (22.03, 75, 30.25)
    assert slice_of_it.memory_gib == 9.75
    assert slice_of_it.fp8_tflops == pytest.approx(1978 / 7)
    with pytest.raises(StartError, match="does not fit on 1 x h100"):
        start("--max-model-len", "8192", gpu=slice_of_it)
    whole, part = start("--max-model-len", "8192"), start("--max-model-len", "8192", gpu=taking_turns)
    assert part.limits == whole.limits
    assert part.cost.per_context_token == pytest.approx(4 * whole.cost.per_context_token)


def test_shares_and_slices_are_read_from_the_environment() -> None:
    given = read_simulation({"SIMULATION_GPU_SHARE": "0.25", "SIMULATION_GPU_MEMORY_GIB": "9.75"})
    assert (given.gpu_share, given.memory_gib) == (0.25, 9.75)
    for name, value in (
        ("SIMULATION_GPU_SHARE", "0"),
        ("SIMULATION_GPU_SHARE", "2"),
        ("SIMULATION_GPU_MEMORY_GIB", "-1"),
    ):
        with pytest.raises(SimulationError, match=name):
            read_simulation({name: value})
