"""The command line: vLLM's forms and defaults, ignored flags, one-line errors.

Not proven here: that the catalogue of flags is right; tests/contract compares it with the real parser.
"""

from __future__ import annotations

import pytest

from components.versions import VLLM_ENGINE
from local.engine_simulator import vllm_flags
from local.engine_simulator.__main__ import main
from local.engine_simulator.arguments import UsageError, _parser, parse
from planner.flags.catalogue import catalogue

pytestmark = pytest.mark.unit


def test_defaults_are_those_of_vllm() -> None:
    arguments = parse(["serve", "org/model"])
    assert (arguments.model, arguments.served_model_names) == ("org/model", ("org/model",))
    assert (arguments.host, arguments.port, arguments.shutdown_timeout) == (None, 8000, 0)
    assert (arguments.max_model_len, arguments.max_num_seqs, arguments.max_num_batched_tokens) == (None, None, None)
    assert (arguments.gpu_memory_utilization, arguments.tensor_parallel_size, arguments.block_size) == (0.92, 1, 16)
    assert (arguments.enable_prefix_caching, arguments.enable_sleep_mode) == (True, False)


def test_the_forms_that_vllm_takes() -> None:
    arguments = parse(
        [
            *("serve", "org/model", "--served-model-name", "a", "b", "--max_model_len=4k", "-tp", "2"),
            *("--no-enable-prefix-caching", "--api-key", "k1", "k2", "--port=9000", "--quantization", "fp8"),
        ]
    )
    assert arguments.served_model_names == ("a", "b")
    assert (arguments.max_model_len, arguments.tensor_parallel_size, arguments.port) == (4000, 2, 9000)
    assert (arguments.enable_prefix_caching, arguments.api_keys, arguments.quantization) == (False, ("k1", "k2"), "fp8")
    assert parse(["serve", "--model", "org/model"]).model == "org/model"


@pytest.mark.parametrize(
    ("text", "tokens"), [("4096", 4096), ("4k", 4000), ("4K", 4096), ("1.5k", 1500), ("1M", 2**20)]
)
def test_lengths_may_have_a_unit(text: str, tokens: int) -> None:
    assert parse(["serve", "m", "--max-model-len", text]).max_model_len == tokens


def test_other_flags_of_vllm_are_ignored_and_noted() -> None:
    arguments = parse(
        [
            *("serve", "m", "--trust-remote-code", "--no-enable-chunked-prefill", "--load-format", "runai_streamer"),
            *("--speculative-config.method", "eagle", "-cc.mode=3", "-O3"),
            *("--lora-target-modules", "x", "z", "-dp", "2"),
        ]
    )
    assert arguments.ignored == (
        *("--trust-remote-code", "--no-enable-chunked-prefill", "--load-format", "--speculative-config"),
        *("-cc", "-O", "--lora-target-modules", "-dp"),
    )


def test_the_flags_are_those_of_the_pinned_engine() -> None:
    known = catalogue("vllm", VLLM_ENGINE.rpartition(":")[2]).flags
    assert set(known) >= vllm_flags.MODELLED
    own = {option for action in _parser()._actions for option in action.option_strings} - {"-h", "--help", "-O"}
    there = {name for flag in known.values() for name in (flag.name, flag.negative, *flag.aliases) if name}
    assert own == there


@pytest.mark.parametrize("flag", ["--swap-space=4", "--task=embed", "--disable-log-requests"])
def test_flags_that_the_engine_no_longer_has_are_refused(flag: str) -> None:
    with pytest.raises(UsageError, match="unknown flag"):
        parse(["serve", "m", flag])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["serve", "m", "--max-num-seq", "4"], "unknown flag --max-num-seq; the nearest valid flag is --max-num-seqs"),
        (["serve", "m", "--gpu-mem-utilisation=1"], "nearest valid flag is --gpu-memory-utilization"),
        (["serve", "m", "n"], "unexpected argument 'n'"),
        (["serve"], "no model"),
        (["run", "m"], "invalid choice: 'run'"),
        (["serve", "m", "--port", "0"], "argument --port: 0 is not 1 to 65535"),
        (["serve", "m", "--max-num-seqs", "0"], "0 is not 1 or more"),
        (["serve", "m", "--block-size", "big"], "'big' is not a whole number"),
        (["serve", "m", "--gpu-memory-utilization", "1.2"], "1.2 is not above 0 and at most 1"),
        (["serve", "m", "--gpu-memory-utilization", "x"], "'x' is not a number"),
        (["serve", "m", "--max-model-len", "4.5"], "'4.5' is not a number of tokens"),
        (["serve", "m", "--dtype", "int3"], "invalid choice: 'int3'"),
        (["serve", "m", "--port"], "expected one argument"),
    ],
)
def test_errors_name_the_argument(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_help_says_that_it_is_a_simulator(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    assert "SIMULATOR of the vLLM OpenAI server" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "environ", "status", "message"),
    [
        (["serve", "m", "--nope"], {}, 2, "unknown flag --nope"),
        (["serve", "m"], {"SIMULATION_SPEEDUP": "-2"}, 2, "SIMULATION_SPEEDUP='-2' is not a factor above 0"),
        (["serve", "no/such-model"], {}, 1, "unknown model 'no/such-model': the simulator knows "),
        (["serve", "Qwen/Qwen2.5-Coder-7B-Instruct"], {"SIMULATION_GPU": "z80"}, 1, "unknown GPU 'z80'"),
        (["serve", "meta-llama/Llama-3.1-70B-Instruct"], {}, 1, "does not fit on 1 x l4"),
    ],
)
def test_a_failed_start_prints_one_line_and_its_status(
    argv: list[str], environ: dict[str, str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv, environ) == status
    printed = capsys.readouterr()
    assert printed.err.startswith("engine_simulator: error: ")
    assert message in printed.err
    assert (printed.err.count("\n"), printed.out) == (1, "")
