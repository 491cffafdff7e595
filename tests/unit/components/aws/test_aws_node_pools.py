"""GPU node pools on EKS as managed node groups, and the autoscaler that sizes them.

Does not prove that AWS accepts them (tests/contract), nor what the autoscaler does with its flags.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from email import message_from_string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.clouds.aws.cloud import CLOUD
from components.clouds.aws.names import NODE_GROUP_PREFIX, prefix
from components.clouds.names import DIGEST, shortened
from components.cluster import NodePoolArgs
from components.labels import NODE_POOL
from components.scheduling import GpuPool, SharingMode
from tests.unit.components.aws.aws_samples import CLUSTER, H100, L4, TAGS, pool, shared
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


def create(engine: Engine, *pools: NodePoolArgs) -> list[Any]:
    """Make the pools; what they return."""

    def build() -> list[Any]:
        return list(CLOUD.create_node_pools("prod", pools, CLOUD.create_cluster("prod", CLUSTER)))

    return engine.run(build)


def groups(engine: Engine) -> dict[str, dict[str, Any]]:
    return {item.name: item.inputs for item in engine.seen if item.type.endswith(":NodeGroup")}


def test_a_pool_is_a_node_group_with_a_launch_template(engine: Engine) -> None:
    returned = create(engine, pool())
    assert engine.one(":NodeGroup", "prod-l4") == {
        "clusterName": "inference-prod",
        "nodeGroupNamePrefix": "l4-",
        "nodeRoleArn": "arn:aws:iam:us-east-1:123456789012:prod-node",
        "version": "1.35",
        "amiType": "AL2023_x86_64_NVIDIA",
        "capacityType": "ON_DEMAND",
        "instanceTypes": ["g6.12xlarge"],
        "subnetIds": [f"prod-network-private-{zone}-id" for zone in "abc"],
        "scalingConfig": {"minSize": 0, "maxSize": 3, "desiredSize": 0},
        "launchTemplate": {"id": "prod-l4-id", "version": "1"},
        "labels": {
            "inference.platform/node-pool": "l4",
            "inference.platform/capacity-type": "on-demand",
            "nvidia.com/gpu.product": "NVIDIA-L4",
            "nvidia.com/gpu.count": "4",
            "nvidia.com/gpu.present": "true",
            "k8s.amazonaws.com/accelerator": "NVIDIA-L4",
        },
        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
        "updateConfig": {"maxUnavailable": 1},
        "nodeRepairConfig": {"enabled": True},
        "tags": {**TAGS, "k8s.io/cluster-autoscaler/node-template/resources/nvidia.com/gpu": "4"},
    }
    tags = {**TAGS, "Name": "prod-l4"}
    assert engine.one(":LaunchTemplate", "prod-l4") == {
        "updateDefaultVersion": True,
        "blockDeviceMappings": [
            {
                "deviceName": "/dev/xvda",
                "ebs": {
                    "volumeSize": 200,
                    "volumeType": "gp3",
                    "iops": 3000,
                    "throughput": 125,
                    "encrypted": "true",
                    "deleteOnTermination": "true",
                },
            }
        ],
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
        "monitoring": {"enabled": False},
        "tagSpecifications": [
            {"resourceType": kind, "tags": tags} for kind in ("instance", "volume", "network-interface")
        ],
        "tags": TAGS,
    }
    assert len(returned) == 2  # the autoscaler's release and the group


def test_pods_find_their_nodes(engine: Engine) -> None:
    create(engine, pool())
    placement = L4.place()
    group = groups(engine)["prod-l4"]
    assert placement.node_selector.items() <= group["labels"].items()
    assert [(taint.key, taint.value) for taint in placement.taints] == [
        (taint["key"], taint["value"]) for taint in group["taints"]
    ]


def test_spot_first_and_on_demand_when_there_is_none(engine: Engine) -> None:
    create(engine, pool(capacity_type="spot-with-fallback", min_nodes=1), pool(gpus=H100, instance_type="p5.48xlarge"))
    made = groups(engine)
    spot, demand = made["prod-l4-spot"], made["prod-l4-on-demand"]
    assert (spot["capacityType"], demand["capacityType"]) == ("SPOT", "ON_DEMAND")
    assert (spot["scalingConfig"]["minSize"], demand["scalingConfig"]["minSize"]) == (1, 0)
    assert spot["scalingConfig"]["maxSize"] == demand["scalingConfig"]["maxSize"] == 3
    same = ("labels", "taints", "launchTemplate", "instanceTypes", "amiType", "tags")
    assert {key: spot[key] for key in same} == {key: demand[key] for key in same}
    values = engine.one(":Release", "prod-cluster-autoscaler-release")["values"]
    assert values["expanderPriorities"] == {"100": ["^eks-l4-spot-.*"], "10": [".*"]}
    assert values["extraArgs"]["expander"] == "priority,least-waste"
    assert spot["nodeGroupNamePrefix"] == "l4-spot-"


def test_spot_alone(engine: Engine) -> None:
    create(engine, pool(capacity_type="spot"))
    assert [group["capacityType"] for name, group in groups(engine).items() if name != "prod-system"] == ["SPOT"]


def test_a_capacity_block_is_bought_by_the_launch_template(engine: Engine) -> None:
    reserved = pool(
        gpus=H100,
        instance_type="p5.48xlarge",
        capacity_type="reserved",
        reservation_kind="capacity-block",
        reservation_id="cr-0123456789abcdef0",
        zones=("us-east-1b",),
    )
    create(engine, reserved)
    template, group = engine.one(":LaunchTemplate", "prod-h100"), groups(engine)["prod-h100"]
    assert template["instanceType"] == "p5.48xlarge"
    assert template["instanceMarketOptions"] == {"marketType": "capacity-block"}
    assert template["capacityReservationSpecification"] == {
        "capacityReservationTarget": {"capacityReservationId": "cr-0123456789abcdef0"}
    }
    assert group["capacityType"] == "CAPACITY_BLOCK"
    assert "instanceTypes" not in group
    assert group["subnetIds"] == ["prod-network-private-b-id"]


def test_a_reservation_or_a_group_of_them_is_a_target(engine: Engine) -> None:
    group = "arn:aws:resource-groups:us-east-1:123456789012:group/h100"
    create(
        engine,
        pool(capacity_type="reserved", reservation_kind="reservation", reservation_id="cr-01234567"),
        pool(gpus=H100, capacity_type="reserved", reservation_kind="reservation", reservation_id=group),
    )
    one = engine.one(":LaunchTemplate", "prod-l4")
    assert one["capacityReservationSpecification"] == {
        "capacityReservationTarget": {"capacityReservationId": "cr-01234567"}
    }
    assert "instanceMarketOptions" not in one
    assert engine.one(":LaunchTemplate", "prod-h100")["capacityReservationSpecification"] == {
        "capacityReservationTarget": {"capacityReservationResourceGroupArn": group}
    }
    assert groups(engine)["prod-l4"]["capacityType"] == "ON_DEMAND"


@pytest.mark.parametrize(
    ("gpus", "resource", "label"),
    [
        (
            shared(SharingMode.MIG, 7, "1g.10gb"),
            "nvidia.com/mig-1g.10gb",
            ("nvidia.com/mig.config", "all-1g.10gb"),
        ),
        (
            shared(SharingMode.TIME_SLICING, 4),
            "nvidia.com/gpu.shared",
            ("nvidia.com/device-plugin.config", "time-slicing-4"),
        ),
        (shared(SharingMode.MPS, 4), "nvidia.com/gpu.shared", ("nvidia.com/device-plugin.config", "mps-4")),
    ],
    ids=["mig", "time-slicing", "mps"],
)
def test_slices_are_known_before_there_is_a_node(
    engine: Engine, gpus: GpuPool, resource: str, label: tuple[str, str]
) -> None:
    create(engine, pool(gpus=gpus))
    group = groups(engine)["prod-h100"]
    template = "k8s.io/cluster-autoscaler/node-template/resources"
    assert group["tags"][f"{template}/{resource}"] == str(8 * gpus.sharing.slices_per_gpu)
    assert group["tags"][f"{template}/nvidia.com/gpu"] == "0"
    assert group["labels"][label[0]] == label[1]
    assert "k8s.amazonaws.com/accelerator" not in group["labels"]


@pytest.mark.parametrize(
    ("nvme", "streaming", "spec", "throughput"),
    [
        (True, False, {"instance": {"localStorage": {"strategy": "RAID0"}}}, 125),
        (False, True, {"featureGates": {"FastImagePull": True}}, 1000),
        (
            True,
            True,
            {"instance": {"localStorage": {"strategy": "RAID0"}}, "featureGates": {"FastImagePull": True}},
            125,
        ),
    ],
)
def test_disks_and_images(engine: Engine, nvme: bool, streaming: bool, spec: dict[str, Any], throughput: int) -> None:
    create(engine, pool(local_nvme=nvme, image_streaming=streaming, disk_gib=500))
    template = engine.one(":LaunchTemplate", "prod-l4")
    whole = message_from_string(base64.b64decode(template["userData"]).decode())
    part = list(whole.walk())[-1]
    assert part.get_content_type() == "application/node.eks.aws"
    assert json.loads(str(part.get_payload())) == {
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": spec,
    }
    disk = template["blockDeviceMappings"][0]["ebs"]
    assert (disk["volumeSize"], disk["throughput"]) == (500, throughput)


def test_the_autoscaler_never_moves_a_loaded_model(engine: Engine) -> None:
    create(engine, pool())
    release = engine.one(":Release", "prod-cluster-autoscaler-release")
    assert (release["name"], release["namespace"], release["version"]) == (
        "cluster-autoscaler",
        "kube-system",
        "9.59.0",
    )
    assert release["repositoryOpts"] == {"repo": "https://kubernetes.github.io/autoscaler"}
    assert (release["timeout"], release["cleanupOnFail"]) == (600, True)
    values = release["values"]
    assert values["autoDiscovery"] == {"clusterName": "inference-prod"}
    assert values["nodeSelector"] == {NODE_POOL: "system"}
    assert "expanderPriorities" not in values
    flags = values["extraArgs"]
    # One of eight GPUs in use is 0.125 of the node.
    assert float(flags["scale-down-gpu-utilization-threshold"]) < 1 / 8
    assert float(flags["scale-down-utilization-threshold"]) < 1 / 8
    assert flags["scale-down-unneeded-time"] == "10m0s"


def test_the_autoscaler_resizes_groups_of_its_own_cluster_only(engine: Engine) -> None:
    create(engine, pool())
    association = engine.one(":PodIdentityAssociation", "prod-cluster-autoscaler-association")
    assert association["serviceAccount"] == "cluster-autoscaler"
    read, write = json.loads(engine.one(":RolePolicy", "prod-cluster-autoscaler-policy")["policy"])["Statement"]
    assert not any(action.partition(":")[2].startswith(("Set", "Terminate")) for action in read["Action"])
    assert write["Condition"] == {"StringEquals": {"aws:ResourceTag/k8s.io/cluster-autoscaler/inference-prod": "owned"}}


def test_pools_are_made_once_each(engine: Engine) -> None:
    create(engine, pool(), pool(gpus=H100, instance_type="p5.48xlarge"))
    kinds = Counter(item.type.rpartition(":")[2] for item in engine.seen)
    assert (kinds["NodeGroup"], kinds["LaunchTemplate"], kinds["GpuNodePool"]) == (3, 3, 2)


@given(st.text("abc-", min_size=1, max_size=100), st.integers(DIGEST + 3, 64))
def test_names_keep_within_their_limit(name: str, longest: int) -> None:
    assert len(shortened(name, longest)) <= longest
    assert len(prefix(name, longest)) <= longest


def test_long_names_stay_apart() -> None:
    one, other = ("a" * 40 + end for end in "xy")
    assert prefix(one, NODE_GROUP_PREFIX) != prefix(other, NODE_GROUP_PREFIX)
    with pytest.raises(ValueError, match="told apart"):
        shortened("abcdefghij", 5)
