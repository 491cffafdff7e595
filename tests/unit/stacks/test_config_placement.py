"""A deployment on its pool in the planner's terms: shares of a GPU, limits, warnings.

Shows what is derived from a configuration; whether a cloud shares GPUs so is not shown.
"""

from __future__ import annotations

import pytest

from planner.sizing import kv_cache_tokens
from stacks.config import Cloud, EnvironmentConfig
from stacks.config.placement import engine_limits, memory_gib, place, shares_per_gpu
from stacks.config.warnings import warnings
from stacks.summary import summarize
from tests.unit.stacks.config_samples import loaded, sample

pytestmark = pytest.mark.unit

POOL, MODEL = "node_pools__0__", "model_deployments__0__"


@pytest.mark.parametrize(
    ("sharing", "shares", "memory"),
    [
        ({"mode": "none"}, 1, 39.5),
        ({"mode": "mig", "profile": "3g.20gb"}, 2, 19.62),
        ({"mode": "mig", "profile": "7g.40gb"}, 1, 39.5),
        ({"mode": "time-slicing", "replicas": 2}, 2, 39.5),
        ({"mode": "mps", "replicas": 2}, 2, 39.5),
    ],
)
def test_shares_of_a_gpu(sharing: dict[str, object], shares: int, memory: float) -> None:
    changes = {
        POOL + "instance_type": "p4d.24xlarge",
        POOL + "sharing": sharing,
        MODEL + "engine__gpu_memory_utilization": 0.5 if "replicas" in sharing else 0.9,
    }
    if "replicas" in sharing:
        changes[MODEL + "source"] = {"hugging_face": "Qwen/Qwen3-1.7B"}
    pool = loaded(**changes).node_pools[0]
    assert (shares_per_gpu(pool), memory_gib(pool)) == (shares, memory)


def test_limits_follow_sharing_quantization_and_cache_type() -> None:
    config = loaded(
        **{
            POOL + "instance_type": "p4d.24xlarge",
            POOL + "sharing": {"mode": "mig", "profile": "3g.20gb"},
            MODEL + "engine": {"extra_args": {"quantization": "fp8", "kv-cache-dtype": "fp8_e5m2"}},
        }
    )
    limits = engine_limits(config.node_pools[0], config.model_deployments[0])
    placement = place(Cloud.LOCAL, config.node_pools[0], config.model_deployments[0])
    assert limits is not None
    assert placement is not None
    assert limits.kv_cache_tokens == kv_cache_tokens(placement.model, 19.62, quantization="fp8", kv_cache_dtype="fp8")
    assert limits.max_model_len == 117_824


def test_slices_count_as_places() -> None:
    changes = {
        POOL + "instance_type": "p4d.24xlarge",
        POOL + "sharing": {"mode": "mig", "profile": "3g.20gb"},
        POOL + "max_nodes": 1,
        MODEL + "scaling": {"concurrency": 1, "max_replicas": 16},
        MODEL + "engine": {"max_model_len": 4096},
    }
    assert list(warnings(loaded(**changes))) == []
    changes[MODEL + "scaling"] = {"concurrency": 1, "max_replicas": 17}
    assert [item.line() for item in warnings(loaded(**changes))] == [
        "node_pools[0].max_nodes: chat at max_replicas need 17 GPUs or slices, and 1 nodes have 16: the last replicas "
        "would wait for a place."
    ]


def test_a_model_that_nobody_has_sized_is_a_warning_where_it_need_not_be_simulated() -> None:
    # `cloud: aws` cannot be loaded yet: the types alone take it.
    raw = sample(cloud="aws", **{MODEL + "source": {"hugging_face": "acme/own-model"}})
    config = EnvironmentConfig.model_validate(raw)
    assert engine_limits(config.node_pools[0], config.model_deployments[0]) is None
    assert [item.line() for item in warnings(config)] == [
        "model_deployments[0].source.hugging_face: acme/own-model is not in planner/catalog/models.toml: whether it "
        "fits "
        "was not checked."
    ]
    (model,) = summarize(config, "prod").models
    assert (model.weights_gib, model.kv_cache_tokens, model.max_model_len) == (None, None, None)
