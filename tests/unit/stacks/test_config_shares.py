"""Several models on one GPU: each pod's share of its memory, in the plan, in the rendered engines and in the simulator.

Does not prove that engines keep to their shares on a GPU: time-slicing and MPS do not make them.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks.config import load_environment
from stacks.config.shares import DEFAULT_UTILIZATION, utilization_of_share
from stacks.environment import simulation_args
from stacks.plan import plan_config
from tests.unit.stacks.config_samples import errors, sample

pytestmark = pytest.mark.unit

POOL, MODEL = "node_pools__0__", "model_deployments__0__"
SMALL = {MODEL + "source__hugging_face": "Qwen/Qwen3-0.6B", MODEL + "engine__max_model_len": 2048}


def shared(mode: str, **changes: Any) -> dict[str, Any]:
    sharing = {"mode": mode, "profile": "1g.10gb"} if mode == "mig" else {"mode": mode, "replicas": 4}
    machine = {POOL + "instance_type": "p5.48xlarge"} if mode == "mig" else {}
    return sample(**{POOL + "sharing": sharing, **machine, **SMALL, **changes})


@pytest.mark.parametrize(("mode", "share"), [("none", 0.85), ("time-slicing", 0.21), ("mps", 0.21), ("mig", 0.85)])
def test_the_share_follows_the_number_of_pods_on_a_gpu(mode: str, share: float) -> None:
    raw = sample(**SMALL) if mode == "none" else shared(mode)
    config = load_environment(raw, "dev")
    assert config.model_deployments[0].engine.gpu_memory_utilization == share


@given(st.integers(2, 48))
def test_all_shares_together_are_no_more_than_one_engine_alone_would_take(pods: int) -> None:
    share = utilization_of_share(pods)
    assert share > 0
    assert share * pods <= DEFAULT_UTILIZATION + 1e-9
    assert (share + 0.01) * pods > DEFAULT_UTILIZATION - 1e-9


def test_what_is_written_counts() -> None:
    config = load_environment(shared("mps", **{MODEL + "engine__gpu_memory_utilization": 0.25}), "dev")
    assert config.model_deployments[0].engine.gpu_memory_utilization == 0.25


def test_shares_that_are_more_than_the_gpu_are_refused() -> None:
    (line,) = errors(shared("time-slicing", **{MODEL + "engine__gpu_memory_utilization": 0.3}))
    assert line == (
        "model_deployments[0].engine.gpu_memory_utilization: 4 pods share each GPU of the pool l4 (time-slicing) and "
        "each sees all of its memory: 4 x 0.3 is more than 1 (got 0.3). Set it to 0.25 or less."
    )


def test_a_model_that_is_too_big_for_its_share_is_refused() -> None:
    (line,) = errors(shared("time-slicing", **{MODEL + "source__hugging_face": "meta-llama/Llama-3.1-8B-Instruct"}))
    assert line.startswith(
        "model_deployments[0].source.hugging_face: does not fit 1 x NVIDIA L4: each GPU gives the engine 4.6 GiB"
    )


@pytest.mark.parametrize(
    ("mode", "share", "memory"), [("none", 1.0, None), ("time-slicing", 0.25, None), ("mps", 0.25, None)]
)
def test_the_simulated_engine_is_told_its_share(mode: str, share: float, memory: float | None) -> None:
    config = load_environment(sample(**SMALL) if mode == "none" else shared(mode), "dev")
    told = simulation_args(None, config.node_pools[0])
    assert (told.gpu_share, told.memory_gib) == (share, memory)


def test_a_simulated_slice_has_its_own_memory() -> None:
    told = simulation_args(None, load_environment(shared("mig"), "dev").node_pools[0])
    assert told.gpu_share == 1 / 7
    assert told.memory_gib is not None
    assert 9 < told.memory_gib < 10


def test_the_plan_counts_the_share_and_its_price() -> None:
    whole = plan_config(load_environment(sample(**SMALL), "dev"), "dev").models[0]
    part = plan_config(load_environment(shared("time-slicing"), "dev"), "dev").models[0]
    assert whole.gpu_memory is not None
    assert part.gpu_memory is not None
    assert part.price_per_replica_hour == pytest.approx((whole.price_per_replica_hour or 0) / 4, abs=1e-4)
    assert sum(part.gpu_memory.values()) == pytest.approx(sum(whole.gpu_memory.values()), abs=0.02)
    assert part.gpu_memory["kv_cache_gib"] < whole.gpu_memory["kv_cache_gib"]
    assert part.notes == ("a share of 1/4 of the GPU: latency is an estimate",)
