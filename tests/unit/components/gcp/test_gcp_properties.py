"""2,000 environments on Google Cloud at random: a plan, or errors that name a field. Never a traceback.

Does not prove that Google Cloud takes what passes: see the contract tests.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.clouds import load_rules
from components.clouds.gcp.machines import accelerator_type
from planner.catalog import instances
from stacks.cluster import cluster_args
from stacks.config import load_environment
from stacks.errors import ConfigError
from stacks.node_pools import gpu_pool, node_pool_args

pytestmark = pytest.mark.unit

MACHINES = sorted(row.key for row in instances().values() if row.cloud == "gcp")
ACCELERATORS = sorted({row.gpu for row in instances().values() if row.cloud == "gcp"} | {"l40s"})
MODELS = ["meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-0.6B", "some/unknown-model", "some/unknown-model"]
FIELD = re.compile(
    r"(node_pools|model_deployments)\[\d\]\.[a-z_.]+|gcp(\.[a-z_]+)?|weights\.[a-z]+|region|cluster\.[a-z_]+"
)

odd: st.SearchStrategy[Any] = st.sampled_from([None, "", 0, -1, True, "nonsense", [], {}, 10**20])


def often(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A fitting value, and now and then one that does not fit."""
    return st.integers(0, 59).flatmap(lambda roll: odd if roll == 59 else usual)


sharings = st.one_of(
    st.just({"mode": "none"}),
    st.sampled_from(["1g.10gb", "1g.5gb", "4g.40gb", "2g.20gb"]).map(lambda name: {"mode": "mig", "profile": name}),
    st.tuples(st.sampled_from(["time-slicing", "mps"]), st.integers(2, 49)).map(
        lambda pair: {"mode": pair[0], "replicas": pair[1]}
    ),
)
machines = st.one_of(
    st.sampled_from(MACHINES).map(lambda name: {"instance_type": name}),
    st.sampled_from(ACCELERATORS).map(lambda name: {"accelerator": name}),
    st.tuples(st.sampled_from(ACCELERATORS), st.sampled_from([1, 2, 4, 8])).map(
        lambda pair: {"accelerator": pair[0], "gpus_per_node": pair[1]}
    ),
)
pools = st.fixed_dictionaries(
    {"max_nodes": often(st.integers(1, 9))},
    optional={
        "capacity_type": often(st.sampled_from(["on-demand", "spot", "spot-with-fallback", "reserved"])),
        "reservation": often(
            st.fixed_dictionaries(
                {"kind": st.sampled_from(["capacity-block", "reservation", "queued", "flex-start"])},
                optional={"id": st.just("mine")},
            )
        ),
        "sharing": often(sharings),
        "provisioner": often(st.sampled_from(["node-group", "auto"])),
        "min_nodes": often(st.integers(0, 3)),
        "zones": often(st.lists(st.sampled_from(["us-central1-a", "us-central1-b", "europe-west4-a"]), max_size=2)),
        "disk_gib": often(st.integers(50, 900)),
        "local_nvme": often(st.booleans()),
        "image_streaming": often(st.booleans()),
    },
)
sections = st.fixed_dictionaries(
    {"project": often(st.just("acme-inference"))},
    optional={
        "project_number": often(st.just(12345)),
        "zone": often(st.sampled_from(["us-central1-a", "europe-west4-b"])),
        "pods_cidr": often(st.sampled_from(["10.4.0.0/14", "10.4.0.0/14", "10.0.0.0/16", "999.0.0.0/8"])),
        "services_cidr": often(st.just("10.8.0.0/20")),
        "kms_key": often(st.just("projects/p/locations/l/keyRings/r/cryptoKeys/k")),
        "filestore_tier": often(st.sampled_from(["REGIONAL", "ZONAL", "BASIC_SSD"])),
        "provisioning_requests": often(st.booleans()),
        "release_channel": often(st.just("stable")),
    },
)


@st.composite
def environments(draw: st.DrawFn) -> dict[str, Any]:
    """An environment that may be wrong here and there."""
    model = draw(st.sampled_from(MODELS))
    engine = {"tensor_parallel": draw(st.sampled_from([1, 1, 1, 2])), "max_model_len": 2048}
    return {
        "cloud": "gcp",
        "serving_stack": "manifests",
        "node_pools": [{"name": "p", **draw(machines), **draw(pools)}],
        "model_deployments": [{"name": "m", "source": {"hugging_face": model}, "engine": engine, "node_pool": "p"}],
        **draw(st.sampled_from([{}, {"region": "us-central1"}, {"region": "europe-west4"}])),
        **draw(st.sampled_from([{}, {"weights": {"store": "shared-files"}}, {"weights": {"store": "object-store"}}])),
        **draw(st.sampled_from([{}, {"cluster": {"private_endpoint": True}}])),
        "gcp": draw(often(sections)),
    }


UNKNOWN = {"project": "acme-inference", "prject": "acme"}
WRONG = {"cloud": "gcp", "node_pools": [{}], "model_deployments": [{}], "gcp": {"project": 7, "zone": None}}


@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(environments())
@example(WRONG)
@example({**WRONG, "gcp": UNKNOWN})
def test_a_plan_or_an_error_that_names_a_field(raw: dict[str, Any]) -> None:
    try:
        config = load_environment(raw, "prod")
    except ConfigError as error:
        assert error.errors
        for item in error.errors:
            assert FIELD.match(item.path) or item.path in {"serving_stack"}, item.line()
        return
    rules = load_rules("gcp")
    cluster = cluster_args(config, "prod")
    assert cluster.settings is not None
    for pool in config.node_pools:
        args = node_pool_args(pool, gpu_pool(pool, rules), config.tags)
        assert args.gpus.resource_name == "nvidia.com/gpu"
        assert accelerator_type(args.accelerator, args.instance_type)
        assert args.gpus.place().tolerations()
