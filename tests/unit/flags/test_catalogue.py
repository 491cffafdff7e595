"""The catalogues, the rules between flags, and the check of any command line.

Not proven here: that the catalogues are what the programs take (tests/contract), nor that the rules are complete.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.versions import VLLM_ENGINE, VLLM_ROUTER
from local.layout import REPOSITORY
from planner.catalog import gpus, models
from planner.flags.__main__ import main, table
from planner.flags.catalogue import UnknownEngineError, catalogue, versions
from planner.flags.check import check_engine_arguments
from planner.flags.rules import table as rules
from planner.flags.surroundings import Surroundings
from stacks.config.warnings import warnings
from tests.unit.stacks.config_samples import loaded

pytestmark = pytest.mark.unit

PINNED = VLLM_ENGINE.rpartition(":")[2]
WORDS = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(sorted(catalogue("vllm", PINNED).by_name)),
        st.builds("{}={}".format, st.sampled_from(sorted(catalogue("vllm", PINNED).flags)), st.text(max_size=20)),
        st.builds("{}={}".format, st.sampled_from(["--speculative-config", "-cc", "--hf-overrides"]), st.text()),
    ),
    max_size=8,
)


def lines(engine: str, version: str, words: list[str]) -> list[str]:
    return [error.line() for error in check_engine_arguments(engine, version, words)]


def test_every_pinned_image_has_a_catalogue() -> None:
    assert catalogue("vllm", PINNED).version == "0.32.0"
    assert catalogue("vllm-router", VLLM_ROUTER.rpartition(":")[2]).version == "0.1.17"


def test_a_flag_of_each_kind() -> None:
    known = catalogue("vllm", "0.32.0")
    length = known.flags["--max-model-len"]
    assert (length.kind, length.type, length.minimum) == ("value", "human_int_or_auto", -1)
    share = known.flags["--gpu-memory-utilization"]
    assert (share.default, share.exclusive_minimum, share.maximum) == (0.92, 0, 1)
    caching = known.flags["--enable-prefix-caching"]
    assert (caching.kind, caching.negative) == ("switch", "--no-enable-prefix-caching")
    assert known.flags["--kv-transfer-config"].schema == "KVTransferConfig"
    assert "NixlConnector" in known.flags["--kv-transfer-config"].field_names["kv_connector"]
    assert known.find("-tp") is known.find("--tensor_parallel_size") is known.flags["--tensor-parallel-size"]
    assert known.flags["--lora-modules"].kind == "list"
    assert known.flags["--scheduling-policy"].choices == ("fcfs", "priority")


def test_since_when_and_until_when() -> None:
    known = catalogue("vllm", "0.32.0")
    assert known.flags["--dtype"].since is None
    assert known.flags["--shutdown-timeout"].since == "0.20.0"
    assert known.gone["--swap-space"] == "0.20.0"
    assert "--max-num-seqs" not in known.gone


def test_a_flag_of_a_later_version() -> None:
    (new,) = sorted(set(catalogue("vllm", "0.33.0").flags) - set(catalogue("vllm", "0.32.0").flags))[:1]
    (line,) = lines("vllm", "0.32.0", ["m", new])
    assert "it comes with 0.33.0" in line


def test_every_rule_is_about_flags_that_there_are_and_has_a_source() -> None:
    for engine in versions():
        known = catalogue(engine, PINNED if engine == "vllm" else versions()[engine][-1])
        for kind, rows in rules(engine).items():
            for row in rows:
                assert row["source"]
                names = [row[key] for key in ("flag", "needs", "other", "small", "large") if key in row]
                if kind == "removed":
                    assert row["flag"] not in known.by_name
                    names = [row["now"]] if row["now"] else []
                for name in names:
                    flag, _, field = name.partition(".")
                    assert flag in known.flags, name
                    schema = known.schemas.get(known.flags[flag].schema or "", {})
                    assert not field or field in schema["properties"], name


def test_unknown_engines_and_versions() -> None:
    with pytest.raises(UnknownEngineError, match=r"no catalogue of tgi: there is .*vllm"):
        catalogue("tgi", "3.0.0")
    with pytest.raises(UnknownEngineError, match=r"no catalogue of vllm 0\.1\.0: there is 0\.31\.0"):
        catalogue("vllm", "v0.1.0")


@pytest.mark.parametrize(
    ("engine", "version", "words", "start"),
    [
        ("sglang", "0.5.23", ["--model-path", "m", "--tp-sise", "2"], "--tp-sise: is no flag of sglang 0.5.23"),
        (
            "sglang",
            "0.5.23",
            ["--model-path", "m", "--mem-fraction-static", "x"],
            "--mem-fraction-static: must be a num",
        ),
        ("vllm-router", "0.1.17", ["--policy", "cache-aware"], "--policy: is none of the choices"),
        ("vllm-router", "0.1.17", ["--retry-max-retrys", "5"], "--retry-max-retrys: is no flag of vllm-router 0.1.17"),
        (
            "production-stack-router",
            "0.1.12",
            ["--routing-logic", "session", "--service-discovery", "k8s"],
            "--routing-logic: --routing-logic needs --session-key",
        ),
        ("production-stack-router", "0.1.12", ["--routing-logic", "prefix"], "--routing-logic: is none of the choices"),
    ],
)
def test_other_programs(engine: str, version: str, words: list[str], start: str) -> None:
    (line,) = lines(engine, version, words)
    assert line.startswith(start)


def test_command_lines_of_other_programs_that_are_fine() -> None:
    assert lines("sglang", "0.5.23", ["--model-path", "m", "--tp", "2", "--mem-fraction-static=0.8"]) == []
    words = ["--routing-logic", "session", "--session-key", "x-user-id", "--service-discovery", "k8s"]
    assert lines("production-stack-router", "0.1.12", words) == []


def test_tensor_parallelism_and_the_model() -> None:
    around = Surroundings(model=models()["meta-llama/Llama-3.1-8B-Instruct"], gpu=gpus()["l4"], gpus=8)
    (error,) = check_engine_arguments("vllm", PINNED, ["m", "-tp", "3"], around)
    assert (error.choices[:2], error.message.split(" of ")[0]) == (
        ("2", "4"),
        "does not divide the 32 heads (8 KV heads)",
    )
    (error,) = check_engine_arguments("vllm", PINNED, ["m", "-tp", "16"], around)
    assert error.message == "is more than the 8 GPUs that a replica can have"


def test_forms_that_vllm_takes() -> None:
    words = ["m", "-tp", "2", "-O3", "--max_model_len=4k", "--compilation-config.cudagraph_mode", "FULL", "-cc.mode=3"]
    words += ["--kv-transfer-config", '{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_port":14k}', "-q", "fp8"]
    words += ["--quantization", "fp8", "--seed", "-1", "--speculative-config", "None", "--max-model-len", "4k"]
    assert lines("vllm", PINNED, words) == []


def test_a_secret_is_not_repeated() -> None:
    (line,) = lines("vllm", PINNED, ["m", "--api-keyy", "s3cret"])
    assert "s3cret" not in line


@given(WORDS)
def test_any_command_line_gets_an_answer(words: list[str]) -> None:
    for error in check_engine_arguments("vllm", PINNED, words):
        assert error.line()
        json.dumps([error.flag, error.message, error.choices, error.fix])


def test_prefix_caching_off_with_the_default_policy_is_a_warning() -> None:
    config = loaded(model_deployments__0__engine__extra_args={"enable-prefix-caching": False})
    assert "model_deployments[0].router_policy" in [warn.path for warn in warnings(config)]


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "vllm", "v0.32.0", "--", "m", "--dtype", "half"]) == 0
    assert main(["check", "vllm", "v0.32.0", "--", "m", "--dtype", "bf16"]) == 1
    assert "Did you mean bfloat16?" in capsys.readouterr().out
    assert main(["check", "vllm", "1", "--", "m"]) == 2
    assert "no catalogue of vllm 1" in capsys.readouterr().err


def test_the_table_of_the_documentation_is_up_to_date() -> None:
    assert table() in (REPOSITORY / "docs" / "engine-arguments.md").read_text(encoding="utf-8")
