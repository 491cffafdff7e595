"""Random environments on AWS: every field that matters to the cloud, mostly possible, sometimes not."""

from __future__ import annotations

from random import Random
from typing import Any

from planner.catalog import instances
from tests.unit.components.random_environments import Raw, random_deployment, random_sharing, spoil

AWS = [row for row in instances().values() if row.cloud == "aws"]
REGIONS = ("us-east-1", "us-west-2", "eu-central-1", "ap-northeast-1", "ca-central-1", "us-gov-west-1")
GROUP = "arn:aws:resource-groups:us-east-1:123456789012:group/gpus"
WRONG: tuple[Any, ...] = (None, "", 0, -1, "x", 1.5, True, [], {}, ["a"], "us-east-1z", 10**9)
ADMIN = "arn:aws:iam::123456789012:role/ops"


def random_environment(random: Random, wrong: float = 0.0) -> Raw:
    """An environment.

    Args:
        random: where chance comes from.
        wrong: share of fields with a value of the wrong kind.
    """
    region = random.choice(REGIONS)
    pools = [_pool(random, f"pool-{index}", region) for index in range(random.randint(1, 4))]
    raw: Raw = {
        "cloud": "aws",
        "serving_stack": "manifests",
        "region": region,
        "node_pools": pools,
        "model_deployments": [random_deployment(random, index, pool) for index, pool in enumerate(pools)],
        "weights": _weights(random),
        "cluster": {
            "private_endpoint": random.random() < 0.5,
            "audit_logs": random.random() < 0.5,
            "deletion_protection": random.random() < 0.5,
            "authorized_networks": random.choice([[], ["203.0.113.0/24"]]),
        },
        "tags": random.choice([{}, {"team": "ml", "stage": "prod"}]),
    }
    if random.random() < 0.7:
        raw["aws"] = _settings(random)
    if wrong:
        spoil(random, raw, wrong, WRONG)
    return raw


def _weights(random: Random) -> Raw:
    store = random.choice(["node-disk", "shared-files", "object-store"])
    # Mostly as it has to be: not with node-disk, and never without for a bucket.
    fitting = {"node-disk": False, "shared-files": random.random() < 0.5, "object-store": True}[store]
    return {"store": store, "preload": fitting if random.random() < 0.9 else not fitting}


def _pool(random: Random, name: str, region: str) -> Raw:
    gpu = random.choice(sorted({row.gpu for row in AWS}))
    row = random.choice([row for row in AWS if row.gpu == gpu])
    most = random.randint(1, 20)
    pool: Raw = {"name": random.choice([name, f"{name}-with-quite-a-long-name-behind-it"]), "max_nodes": most}
    if random.random() < 0.5:
        pool["instance_type"] = row.key
    else:
        pool |= {"accelerator": row.gpu, "gpus_per_node": row.gpus}
    pool["capacity_type"] = random.choice(
        ["on-demand", "reserved", *(["spot", "spot-with-fallback"] if row.spot else [])]
    )
    pool["provisioner"] = random.choice(["node-group", "node-group", "auto"])
    pool["min_nodes"] = 0 if pool["provisioner"] == "auto" else random.randint(0, most)
    if pool["capacity_type"] == "reserved":
        block = row.key.startswith("p") and random.random() < 0.5
        pool["reservation"] = {
            "kind": "capacity-block" if block else "reservation",
            "id": random.choice(["cr-0123456789abcdef0", "cr-01234567"]),
        }
        pool["zones"] = [f"{region}a"]
        if pool["provisioner"] == "node-group" and not block and random.random() < 0.3:
            pool["reservation"]["id"] = GROUP
    elif random.random() < 0.3:
        pool["zones"] = [f"{region}a"]
    pool["sharing"] = random_sharing(random, row.gpu) if pool["provisioner"] == "node-group" else {"mode": "none"}
    pool["disk_gib"] = random.choice([50, 200, 500, 16_000])
    pool["local_nvme"] = random.random() < 0.3
    pool["image_streaming"] = random.random() < 0.3
    return pool


def _settings(random: Random) -> Raw:
    possible: Raw = {
        "vpc_cidr": random.choice(["10.0.0.0/16", "192.168.0.0/20", "172.20.0.0/18"]),
        "nat_gateways": random.choice(["one", "per-zone"]),
        "public_gateway": random.random() < 0.5,
        "system_instance_type": random.choice(["m7i.xlarge", "c7i.2xlarge"]),
        "system_min_nodes": random.randint(1, 3),
        "system_max_nodes": random.randint(3, 9),
        "admins": random.choice([[], [ADMIN]]),
        "addon_versions": random.choice([{}, {"coredns": "v1.13.1-eksbuild.1"}]),
        "log_retention_days": random.choice([1, 30, 365]),
        "node_repair": random.random() < 0.5,
        "scale_down_minutes": random.randint(1, 60),
        "shared_files": random.choice(["efs", "fsx-lustre"]),
        "lustre_gib": random.choice([1200, 2400, 4800]),
    }
    return {key: value for key, value in possible.items() if random.random() < 0.5}
