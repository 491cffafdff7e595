"""Engines and sleep mode in the configuration: each mistake in exact words. Shows no deployed object."""

from __future__ import annotations

from typing import Any

import pytest

from components.scheduling import PODS_SHARE_OF_NODE
from planner import sleep
from planner.sleep import estimate_sleep
from stacks.config.placement import static_memory_share
from stacks.config.warnings import warnings
from stacks.environment import model_deployment_args
from stacks.node_pools import gpu_pool
from stacks.plan import plan_config
from tests.unit.stacks.config_samples import errors, loaded, sample

pytestmark = pytest.mark.unit

MODEL = "model_deployments__0__"
ENGINE, SCALING = MODEL + "engine", MODEL + "scaling"
WHERE = "model_deployments[0]"
ASLEEP = {"min_replicas": 1, "idle": {"kind": "sleep"}}
CUSTOM = {"name": "custom", "custom": {"image": "registry.example/team/engine:1.2.3"}}


def one(**changes: object) -> str:
    (line,) = errors(sample(**changes))
    return line


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {SCALING: {"idle": {"kind": "sleep"}}},
            f"{WHERE}.scaling.min_replicas: an idle model cannot sleep and go away: scaling.idle says that it sleeps "
            "(got 0). Set min_replicas to 1, or remove scaling.idle to scale to zero.",
        ),
        (
            {SCALING: {**ASLEEP, "idle": {"kind": "slep"}}},
            f"{WHERE}.scaling.idle.kind: not one of the words that can stand here (got 'slep'); choose from sleep, "
            "scale. Did you mean sleep?",
        ),
        (
            {SCALING: {**ASLEEP, "idle": {"kind": "sleep", "level": 3}}},
            f"{WHERE}.scaling.idle.level: must be a whole number from 1 to 2 (got 3).",
        ),
        (
            {SCALING: {**ASLEEP, "idle": {"kind": "scale", "level": 1}}},
            f"{WHERE}.scaling.idle.level: unknown key (got 1); choose from kind. Remove it.",
        ),
        (
            {SCALING: ASLEEP, "serving_stack": "production-stack"},
            f"{WHERE}.scaling.idle.kind: the serving stack production-stack has nobody who wakes a sleeping engine "
            "(got 'sleep'); choose from scale. Set serving_stack: manifests, or remove scaling.idle.",
        ),
        (
            {SCALING: ASLEEP, ENGINE: {"name": "sglang"}},
            f"{WHERE}.scaling.idle.kind: sleep mode is vLLM's, and the engine is sglang (got 'sleep'); choose from "
            "scale. Set engine.name: vllm, or remove scaling.idle.",
        ),
        (
            {ENGINE: {"extra_args": {"enable-sleep-mode": True}}},
            f"{WHERE}.engine.extra_args.enable-sleep-mode: the platform writes --enable-sleep-mode itself (got True). "
            "Remove it: set scaling.idle: {kind: sleep}.",
        ),
        (
            {ENGINE: {"name": "sglang"}, "serving_stack": "production-stack"},
            f"{WHERE}.engine.name: the serving stack production-stack runs vLLM and nothing else (got 'sglang'); "
            "choose from vllm. Set serving_stack: manifests, which has all engines, or engine.name: vllm.",
        ),
        (
            {ENGINE: {"name": "sglang", "extra_args": {"schedule-polcy": "lpm"}}},
            f"{WHERE}.engine.extra_args.schedule-polcy: is no flag of sglang 0.5.23 (got 'lpm'); choose from "
            "schedule-policy",
        ),
        (
            {ENGINE: {"name": "sglang", "extra_args": {"context-length": 4096}}},
            f"{WHERE}.engine.extra_args.context-length: the platform writes --context-length itself (got 4096). "
            "Remove it: set engine.max_model_len.",
        ),
        (
            {ENGINE: {"name": "tgi", "extra_args": {"num-shard": 2}}},
            f"{WHERE}.engine.extra_args.num-shard: the platform writes --num-shard itself (got 2). Remove it: set "
            "engine.tensor_parallel.",
        ),
        (
            {ENGINE: {"triton": {"backend": "vllm"}}},
            f"{WHERE}.engine.triton: belongs to the engine triton, and the engine is vllm. Remove it, or set "
            "engine.name: triton.",
        ),
        (
            {ENGINE: {"name": "triton", "triton": {"backend": "tensorrt-llm"}}},
            f"{WHERE}.engine.triton.model_repository: required, but not given: TensorRT-LLM runs engines that were "
            "built for the pool's GPU beforehand. Name the repository that has them, a path below /weights or a "
            "bucket, or set backend: vllm.",
        ),
        (
            {ENGINE: {"name": "custom"}},
            f"{WHERE}.engine.custom: required, but not given, with the engine custom (the image and how it is "
            "started). Add it, at least its image.",
        ),
        (
            {ENGINE: {**CUSTOM, "extra_args": {"seed": 1}}},
            f"{WHERE}.engine.extra_args: nobody knows how this engine takes flags. Write them into engine.custom.args.",
        ),
        (
            {ENGINE: {"name": "custom", "custom": {"image": "team/engine"}}},
            f"{WHERE}.engine.custom.image: must be an image with its tag or digest, such as "
            "registry.example/team/engine:1.2.3 (got 'team/engine').",
        ),
        (
            {ENGINE: {"name": "custom", "custom": {"image": "a/b:1", "health_path": "health"}}},
            f"{WHERE}.engine.custom.health_path: must be a path that begins with / (got 'health').",
        ),
    ],
)
def test_one_mistake_one_message(changes: dict[str, Any], line: str) -> None:
    found = one(**changes)
    assert found == line or found.startswith(line + ","), found


def test_level_one_needs_the_pods_memory_for_its_weights() -> None:
    """A g5.xlarge has 16 GiB, of which a pod gets 12.8; 14.96 GiB of weights do not fit beside the engine."""
    small = {"name": "l4", "instance_type": "g5.xlarge", "max_nodes": 1}
    line = one(**{SCALING: ASLEEP, "node_pools": [small], ENGINE: {"max_model_len": 2048}})
    assert line == (
        f"{WHERE}.scaling.idle.level: meta-llama/Llama-3.1-8B-Instruct keeps 15.0 GiB of weights in its pod's memory "
        "while it sleeps, beside 4 GiB of the engine; a pod with 1 of the 1 GPUs or slices of a g5.xlarge has 12.8 GiB "
        "(got 1); choose from 2. Set it to 2, or choose an instance type with more memory."
    )
    asleep = {**ASLEEP, "idle": {"kind": "sleep", "level": 2}}
    assert errors(sample(**{SCALING: asleep, "node_pools": [small], ENGINE: {"max_model_len": 2048}})) == []
    assert sleep.PODS_SHARE_OF_NODE == PODS_SHARE_OF_NODE


def test_sleepers_on_a_shared_gpu_may_all_be_awake_at_once() -> None:
    shared = {"mode": "time-slicing", "replicas": 2}
    source = {"hugging_face": "Qwen/Qwen3-1.7B"}
    all_of_it = {"gpu_memory_utilization": 0.85}
    line = one(**{SCALING: ASLEEP, ENGINE: all_of_it, "node_pools__0__sharing": shared, MODEL + "source": source})
    assert "2 x 0.85 is more than 1, and nobody keeps models that sleep when idle from being awake at once" in line


def test_what_a_sleeper_is_told() -> None:
    config = loaded(**{SCALING: {**ASLEEP, "idle": {"kind": "sleep", "level": 2, "after_seconds": 60}}})
    (deployment,), (pool,) = config.model_deployments, config.node_pools
    args = model_deployment_args(deployment, pool, {"l4": gpu_pool(pool, None)}, simulated=True)
    assert args.sleep is not None
    assert (args.sleep.level, args.sleep.after_seconds) == (2, 60)


def test_the_plan_says_what_a_sleep_frees_and_takes() -> None:
    asleep = plan_config(loaded(**{SCALING: ASLEEP}), "dev").models[0].sleep
    assert asleep == {
        "level": 1,
        "after_seconds": 300,
        "freed_gib": 17.53,
        "kept_gib": 1.2,
        "host_gib": 14.96,
        "sleep_seconds": 13.99,
        "wake_seconds": 0.69,
    }
    assert plan_config(loaded(), "dev").models[0].sleep is None


def test_the_published_measurement_is_what_the_estimate_gives_for_its_own_case() -> None:
    """The tutorial's model on the tutorial's GPU: 39.26 GiB freed in 5.75 s, awake again in 0.285 s."""
    found = estimate_sleep(1, sleep.PUBLISHED_WEIGHTS_GIB, 39.26 + 1.20)
    assert (round(found.freed_gib, 2), found.kept_gib) == (39.26, 1.20)
    assert (round(found.sleep_seconds, 3), round(found.wake_seconds, 3)) == (5.75, 0.285)


@pytest.mark.parametrize("parallel", [1, 2, 4, 8])
def test_gpus_of_a_replica_copy_at_the_same_time(parallel: int) -> None:
    one_gpu, several = (estimate_sleep(1, 40.0, 60.0, count) for count in (1, parallel))
    assert several.sleep_seconds == pytest.approx(one_gpu.sleep_seconds / parallel)
    assert several.host_gib == one_gpu.host_gib == 40.0


def test_sglang_gets_its_share_of_the_memory_without_what_it_computes_with() -> None:
    config = loaded(**{ENGINE: {"name": "sglang"}})
    share = static_memory_share(config.node_pools[0], config.model_deployments[0])
    assert share is not None
    assert 0.75 < share < 0.85


@pytest.mark.parametrize(
    ("engine", "warned"),
    [({"name": "sglang"}, False), ({"name": "tgi"}, True), ({"name": "triton"}, True), (CUSTOM, True)],
)
def test_what_the_local_cloud_cannot_run_is_said(engine: dict[str, Any], warned: bool) -> None:
    lines = [item.line() for item in warnings(loaded(**{ENGINE: engine})) if "not simulated" in item.line()]
    assert bool(lines) is warned
