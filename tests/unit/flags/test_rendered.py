"""Every command line that the platform writes passes the check that the user's own flags have to pass.

Not proven here: that the programs take them; tests/contract asks their own parsers.
"""

from __future__ import annotations

from typing import Any

import pytest

from components.serving.base import EngineArgs
from components.serving.engine import engine_arguments
from planner.flags.check import check_engine_arguments
from tests.rendered import CommandLine, all_command_lines, command_lines, environments
from tests.unit.stacks.config_samples import loaded

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("line", all_command_lines(), ids=lambda line: f"{line.environment} {line.workload}")
def test_the_environments_of_the_repository(line: CommandLine) -> None:
    assert check_engine_arguments(line.engine, line.version, line.words) == []


def test_there_are_some() -> None:
    assert {line.environment for line in all_command_lines()} == set(environments()) >= {"dev", "quick"}


def test_flags_of_every_kind_as_the_platform_writes_them() -> None:
    extra = {
        "enable-prefix-caching": False,
        "enable_chunked_prefill": True,
        "seed": 7,
        "kv-cache-dtype": "fp8",
        "speculative-config": '{"method": "ngram", "num_speculative_tokens": 3}',
        "watermark": 0.01,
    }
    config = loaded(model_deployments__0__engine__extra_args=extra)
    engine, _router = command_lines(config, "dev")
    assert len(engine.words) == 9 + len(extra)
    assert check_engine_arguments(engine.engine, engine.version, engine.words) == []


TOPOLOGIES: dict[str, dict[str, Any]] = {
    "adapters": {
        "model_deployments__0__engine__lora_adapters": [
            {"name": name, "source": {"hugging_face": f"somebody/{name}"}} for name in ("sql", "legal")
        ],
        "model_deployments__0__engine__max_loras": 1,
    },
    "apart": {"model_deployments__0__topology": {"kind": "disaggregated"}},
    "shared": {"router": "shared", "model_deployments__0__scaling__min_replicas": 2},
    "share": {
        "node_pools__0__sharing": {"mode": "mps", "replicas": 2},
        "model_deployments__0__source__hugging_face": "Qwen/Qwen3-0.6B",
    },
}
WORKLOADS = {"apart": {"chat prefill", "chat decode", "chat router"}, "shared": {"chat engine", "router"}}


@pytest.mark.parametrize("stack", ["manifests", "production-stack"])
@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_every_topology_on_both_serving_stacks(topology: str, stack: str) -> None:
    lines = command_lines(loaded(serving_stack=stack, **TOPOLOGIES[topology]), "dev")
    assert {line.workload for line in lines} == WORKLOADS.get(topology, {"chat engine", "chat router"})
    for line in lines:
        assert check_engine_arguments(line.engine, line.version, line.words) == []


def test_a_mistake_in_a_command_line_that_the_platform_writes_would_be_found() -> None:
    words = engine_arguments(EngineArgs(model="a/b", extra_args={"gpu_memory_utilisation": 0.5}), "m", 5)
    (error,) = check_engine_arguments("vllm", "v0.32.0", words)
    assert (error.flag, error.choices[0]) == ("--gpu-memory-utilisation", "--gpu-memory-utilization")
