"""Two thousand random environments on clusters that are there: each is a plan, or errors that name their fields.

Does not prove that a cluster has what the section says of it: nobody asks it here (tests/local does).
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from components.clouds.existing.settings import ExistingSettings, Provided
from planner.catalog import instances
from stacks.cluster import cluster_args
from stacks.config import EnvironmentConfig
from stacks.node_pools import gpu_pool
from stacks.plan import plan_config
from tests.unit.components.random_environments import (
    Raw,
    check_environments,
    random_deployment,
    random_sharing,
    spoil,
)

pytestmark = pytest.mark.unit

FIELDS = ("cloud", "serving_stack", "region", "node_pools", "model_deployments", "weights", "cluster", "existing")
MACHINES = sorted(instances().values(), key=lambda row: row.key)
WRONG: tuple[Any, ...] = (None, "", 0, -1, "x", 1.5, True, [], {}, ["a"], "UPPER CASE", "-x", 10**9)
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def random_environment(random: Random, wrong: float = 0.0) -> Raw:
    """An environment, mostly possible; `wrong` is the share of fields with a value of the wrong kind."""
    pools = [_pool(random, f"pool-{index}") for index in range(random.randint(1, 3))]
    store = random.choice(["node-disk", "shared-files", "object-store"])
    section = _section(random, pools, store)
    raw: Raw = {
        "cloud": "existing",
        "serving_stack": random.choice(["manifests", "production-stack"]),
        "node_pools": pools,
        "model_deployments": [_deployment(random, index, pool, store) for index, pool in enumerate(pools)],
        "weights": _weights(random, store, section),
        "existing": section,
    }
    if random.random() < 0.05:
        raw["region"] = "us-east-1"
    if random.random() < 0.05:
        del raw["existing"]
    if wrong:
        spoil(random, raw, wrong, WRONG)
    return raw


def _pool(random: Random, name: str) -> Raw:
    row = random.choice(MACHINES)
    pool: Raw = {"name": name, "max_nodes": random.randint(1, 9), "sharing": random_sharing(random, row.gpu)}
    by_name = random.random() < 0.5
    pool |= {"instance_type": row.key} if by_name else {"accelerator": row.gpu, "gpus_per_node": row.gpus}
    # Only who makes the nodes can do these.
    not_ours: Raw = {"provisioner": "auto", "zones": ["a"], "local_nvme": True, "image_streaming": True}
    return pool | {key: value for key, value in not_ours.items() if random.random() < 0.02}


def _deployment(random: Random, index: int, pool: Raw, store: str) -> Raw:
    deployment = random_deployment(random, index, pool)
    source = deployment["source"]
    if random.random() < 0.3:
        source["revision"] = random.choice(["main", "v1", "refs/pr/7", "0e9e39f249a16976918f6564b8830bc894c89659"])
    if store != "node-disk" and random.random() < 0.2:
        source["allow_patterns"] = ["*.json", "*.gguf"]
    return deployment


def _weights(random: Random, store: str, section: Raw) -> Raw:
    found: Raw = {"store": store, "preload": store != "node-disk" and random.random() < 0.8}
    if random.random() < 0.3:
        found["offline"] = found["preload"] or (store != "node-disk" and "weights_volume" in section)
    return found if random.random() < 0.9 else {**found, "offline": not found.get("offline", False)}


def _section(random: Random, pools: list[Raw], store: str) -> Raw:
    where = random.choice([{"kubeconfig": "~/.kube/lab"}, {"context": "lab"}, {"stack": "acme/platform/lab"}])
    section: Raw = {**where, "provides": random.sample([word.value for word in Provided], random.randint(0, 4))}
    if random.random() < 0.05:
        section |= {"stack": "acme/platform/lab", "context": "lab"}
    if store == "object-store" or random.random() < 0.3:
        section["weights_volume"] = "models"
    elif store == "shared-files":
        section["storage_class"] = "nfs"
    section["node_pools"] = [_nodes(random, name) for name in [*(pool["name"] for pool in pools), "system"]]
    section["gateway_service_type"] = random.choice(["ClusterIP", "NodePort", "LoadBalancer"])
    return section


def _nodes(random: Random, name: str) -> Raw:
    found: Raw = {"name": name if random.random() < 0.97 else "no-such-pool"}
    if random.random() < 0.5:
        found["node_selector"] = {"example.com/pool": name if random.random() < 0.95 else "same"}
    if name != "system":
        found["taints"] = random.choice([None, [], [dict(TAINT)]])
    if name != "system" and random.random() < 0.2:
        found["gpu_resource"] = "nvidia.com/gpu"
    return found


def test_a_plan_or_a_clear_error() -> None:
    def use(seed: int, config: EnvironmentConfig) -> None:
        assert isinstance(cluster_args(config, "dev").settings, ExistingSettings), seed
        assert all(gpu_pool(pool, None).place().tolerations() for pool in config.node_pools), seed
        if seed % 16 == 0:
            assert len(plan_config(config, "dev").lines()) > 1, seed

    check_environments(random_environment, 0.01, FIELDS, use)
