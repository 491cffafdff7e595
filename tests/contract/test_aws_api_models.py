"""Everything that we make on AWS is accepted by AWS' own API models (botocore) and Karpenter's CRD schemas.

Over random environments that our own checks accept. Does not prove that an id, a zone or an add-on's version exists,
nor what services check beyond their models; EC2's launch templates are only types there, no words.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Any

import boto3
import pulumi
import pytest
from moto import mock_aws

from components.clouds.aws.cloud import CLOUD
from components.clouds.aws.rules import RULES
from stacks.cluster import cluster_args
from stacks.config import EnvironmentConfig, load_environment
from stacks.errors import ConfigError
from stacks.node_pools import gpu_pool, node_pool_args
from tests.contract.aws_requests import REQUESTS, node_group, objections
from tests.contract.custom_resources import spec_schema
from tests.unit.components.aws.aws_configs import ADMIN, random_environment
from tests.unit.components.aws.conftest import AwsMocks
from tests.unit.conftest import Engine, Registered

pytestmark = pytest.mark.unit

ENVIRONMENTS = 6
CUSTOM = {"NodePool": "nodepool", "EC2NodeClass": "ec2nodeclass"}


STORES = (("node-disk", "efs"), ("shared-files", "efs"), ("shared-files", "fsx-lustre"), ("object-store", "efs"))
SPECIAL: tuple[dict[str, Any], ...] = (
    {
        "name": "block",
        "instance_type": "p5.48xlarge",
        "capacity_type": "reserved",
        "reservation": {"kind": "capacity-block", "id": "cr-0123456789abcdef0"},
        "max_nodes": 1,
    },
    {"name": "made", "instance_type": "g6.2xlarge", "provisioner": "auto", "capacity_type": "spot", "max_nodes": 2},
    {"name": "cheap", "instance_type": "g5.2xlarge", "capacity_type": "spot-with-fallback", "max_nodes": 2},
)


class RealisticMocks(AwsMocks):
    """Ids and ARNs of the forms that AWS' models ask for."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        made, outputs = super().new_resource(args)
        kind = args.typ.rpartition(":")[2]
        digits = sha256(args.name.encode()).hexdigest()[:17]
        if kind in {"Role", "InstanceProfile"}:
            outputs["arn"] = f"arn:aws:iam::123456789012:role/{args.name[:30]}"
        if kind == "Cluster":
            outputs["vpcConfig"]["clusterSecurityGroupId"] = f"sg-{digits}"
        return (f"subnet-{digits}" if kind == "Subnet" else made), outputs


def configs() -> Iterator[EnvironmentConfig]:
    """Environments that the checks accept; among them at least one with each kind of resource."""
    found = 0
    seed = 0
    while found < ENVIRONMENTS:
        seed += 1
        raw = random_environment(Random(seed))
        raw["weights"]["store"] = STORES[found % len(STORES)][0]
        raw["aws"] = {**raw.get("aws", {}), "shared_files": STORES[found % len(STORES)][1], "admins": [ADMIN]}
        raw["cluster"]["audit_logs"] = found % 2 == 0
        raw["node_pools"].append({**SPECIAL[found % len(SPECIAL)], "zones": [f"{raw['region']}a"]})
        try:
            config = load_environment(raw, "dev")
        except ConfigError:
            continue
        found += 1
        yield config


def registered(config: EnvironmentConfig, name: str) -> list[Registered]:
    """What the cloud's part of an environment registers."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    engine = Engine(RealisticMocks())
    pulumi.runtime.set_mocks(engine.mocks, project="inference-platform", stack=name, preview=False)

    def program() -> None:
        args = cluster_args(config, name)
        cluster = CLOUD.create_cluster(name, args)
        pools = [node_pool_args(pool, gpu_pool(pool, RULES), config.tags) for pool in config.node_pools]
        CLOUD.create_node_pools(name, pools, cluster)
        CLOUD.create_weights(name, args, cluster)

    engine.run(program)
    asyncio.set_event_loop(None)
    loop.close()
    return [Registered(item.type, item.name, whole(item.inputs)) for item in engine.seen]


def whole(value: Any) -> Any:
    """On the way to the mocks all numbers become floating-point ones, as they do on the way to a provider."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.fixture(scope="module")
def everything() -> list[Registered]:
    names = ("dev", "an-environment-with-a-name-as-long-as-names-can-be-53")
    return [item for index, config in enumerate(configs()) for item in registered(config, names[index % len(names)])]


def test_aws_takes_every_request(everything: list[Registered]) -> None:
    asked: Counter[str] = Counter()
    for item in everything:
        request = REQUESTS.get(item.type)
        if request is not None:
            service, operation, parameters = request(item.inputs)
            asked[operation] += 1
            assert objections(service, operation, parameters) == [], (item.name, parameters)
    assert set(asked) == {request(sample(everything, kind))[1] for kind, request in REQUESTS.items()}
    assert asked["CreateNodegroup"] > 2 * ENVIRONMENTS


def sample(everything: list[Registered], kind: str) -> dict[str, Any]:
    return next(item.inputs for item in everything if item.type == kind)


def test_karpenter_takes_every_object(everything: list[Registered]) -> None:
    checked: Counter[str] = Counter()
    for item in everything:
        kind = item.type.rpartition(":")[2]
        if kind in CUSTOM:
            checked[kind] += 1
            assert list(spec_schema(CUSTOM[kind]).violations(item.inputs)) == [], item.name
    assert checked["NodePool"] == checked["EC2NodeClass"] > 1


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"amiType": "AL2023_x86_64_NVIDA"}, "is none of"),
        ({"capacityType": "CHEAP"}, "is none of"),
        ({"scalingConfig": {"minSize": "0"}}, "Invalid type"),
        ({"scalingConfig": {"minSize": -1}}, "valid min value"),
        ({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}, "is none of"),
        ({"labels": {"k": 4}}, "Invalid type"),
        ({"nodeRepairConfig": {"on": True}}, "Unknown parameter"),
    ],
)
def test_a_wrong_request_is_found(everything: list[Registered], change: dict[str, Any], objection: str) -> None:
    """The check can fail."""
    service, operation, parameters = node_group({**sample(everything, "aws:eks/nodeGroup:NodeGroup"), **change})
    assert objection in "\n".join(objections(service, operation, parameters))


@pytest.mark.parametrize(
    ("path", "value", "violation"),
    [
        (("disruption", "consolidationPolicy"), "WhenIdle", "is none of"),
        (("disruption", "consolidateAfter"), "10 minutes", "does not match"),
        (("template", "spec", "expireAfter"), 720, "is no string"),
        (("template", "spec", "taint"), [], "no such field"),
        (("limits",), {"nvidia.com/gpu": "many"}, "does not match"),
        (("template", "metadata", "labels"), {f"label-{number}": "" for number in range(101)}, "too many"),
    ],
)
def test_a_wrong_object_is_found(
    everything: list[Registered], path: tuple[str, ...], value: object, violation: str
) -> None:
    spec = sample(everything, "kubernetes:karpenter.sh/v1:NodePool")["spec"]

    def changed(part: Any, way: tuple[str, ...]) -> Any:
        return {**part, way[0]: changed(part.get(way[0], {}), way[1:])} if way else value

    found = list(spec_schema("nodepool").violations({"spec": changed(spec, path)}))
    assert [line for line in found if violation in line], found


@mock_aws
def test_a_simulated_eks_makes_the_groups(everything: list[Registered]) -> None:
    """Moto keeps rules of its own: which fields go together, names that are taken."""
    client = boto3.client("eks", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    role = "arn:aws:iam::123456789012:role/r"
    network = {"subnetIds": ["subnet-1", "subnet-2"]}
    client.create_cluster(name="inference-dev", roleArn=role, resourcesVpcConfig=network)
    groups = [item.inputs for item in everything if item.type == "aws:eks/nodeGroup:NodeGroup"]
    # One of each kind: moto starts a machine for each, which takes its time.
    kinds = {(group["capacityType"], group["amiType"], "taints" in group): group for group in groups}
    assert {kind[0] for kind in kinds} == {"ON_DEMAND", "SPOT", "CAPACITY_BLOCK"}
    for index, group in enumerate(kinds.values()):
        _, _, parameters = node_group(group)
        parameters |= {"clusterName": "inference-dev", "nodegroupName": f"group-{index}", "nodeRole": role}
        answer = client.create_nodegroup(**parameters)["nodegroup"]
        assert answer["scalingConfig"] == group["scalingConfig"]
        assert answer["capacityType"] == group["capacityType"]
