"""What is not written gets a safe value, and the whole is one JSON-able, unchangeable object."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from stacks.config import (
    CapacityType,
    Cloud,
    EnvironmentConfig,
    RouterPolicy,
    Scaling,
    ServingStack,
    SharingMode,
    TopologyKind,
    load_environment,
)
from tests.unit.stacks.config_samples import loaded, sample

pytestmark = pytest.mark.unit


def test_the_defaults() -> None:
    config = loaded()
    pool, deployment = config.node_pools[0], config.model_deployments[0]
    assert config.cloud is Cloud.LOCAL
    assert config.serving_stack is ServingStack.MANIFESTS
    assert config.gateway.host_port == 8080
    assert (pool.min_nodes, pool.capacity_type, pool.sharing.mode) == (0, CapacityType.ON_DEMAND, SharingMode.NONE)
    assert deployment.router_policy is RouterPolicy.CACHE_AWARE
    assert deployment.topology.kind is TopologyKind.AGGREGATED
    assert deployment.simulation is None
    assert deployment.engine.model_dump() == {
        "name": "vllm",
        "max_model_len": None,
        "max_num_seqs": None,
        "gpu_memory_utilization": 0.85,
        "tensor_parallel": 1,
        "lora_adapters": (),
        "max_loras": None,
        "kv_offload": None,
        "traces": None,
        "extra_args": {},
        "triton": None,
        "custom": None,
    }
    assert deployment.scaling.model_dump() == {
        "min_replicas": 0,
        "max_replicas": 5,
        "queue_depth": 5,
        "concurrency": 32,
        "polling_interval_seconds": 10,
        "startup_budget_seconds": 600,
        "cooldown_seconds": 600,
        "scale_down_stabilization_seconds": 300,
        "drain_seconds": 300,
        "idle": {"kind": "scale"},
    }


@pytest.mark.parametrize(("budget", "cooldown"), [(1, 300), (300, 300), (301, 301), (1200, 1200)])
def test_the_cooldown_follows_the_startup_budget(budget: int, cooldown: int) -> None:
    assert Scaling(startup_budget_seconds=budget).cooldown_seconds == cooldown


def test_the_default_serving_stack_follows_the_cloud() -> None:
    clouds = {cloud: EnvironmentConfig.model_validate(sample(cloud=cloud.value)).serving_stack for cloud in Cloud}
    assert clouds.pop(Cloud.LOCAL) is ServingStack.MANIFESTS
    assert set(clouds.values()) == {ServingStack.PRODUCTION_STACK}


def test_nothing_can_be_changed_after_loading() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        loaded().cloud = Cloud.AWS  # type: ignore[misc]


def test_it_survives_json() -> None:
    config = loaded(
        node_pools__0__sharing={"mode": "time-slicing", "replicas": 4},
        model_deployments__0__engine={"gpu_memory_utilization": 0.25, "extra_args": {"seed": 7, "enforce-eager": True}},
        model_deployments__0__simulation={},
        node_pools__0__instance_type="p5.48xlarge",
    )
    text = json.dumps(config.model_dump(mode="json"))
    assert load_environment(json.loads(text), "dev") == config
