"""Pools that Karpenter makes: the controller, its permissions, NodePool and EC2NodeClass.

Does not prove what Karpenter does with them, nor the order of a destroy (tests/engine); the objects' schema is checked
in tests/contract.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pulumi
import pytest

from components.clouds.aws.cloud import CLOUD
from components.clouds.aws.karpenter import NOTICES
from components.clouds.aws.karpenter_policy import statements
from components.cluster import NodePoolArgs
from tests.unit.components.aws.aws_samples import CLUSTER, H100, TAGS, pool
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

AUTO = pool(provisioner="auto", capacity_type="spot", instance_type="g6.12xlarge")


def create(engine: Engine, *pools: NodePoolArgs) -> list[pulumi.Resource]:
    def build() -> list[pulumi.Resource]:
        return list(CLOUD.create_node_pools("prod", pools, CLOUD.create_cluster("prod", CLUSTER)))

    return engine.run(build)


def karpenter_children(engine: Engine) -> Counter[str]:
    return Counter(
        item.type.rpartition(":")[2]
        for item in engine.seen
        if not item.is_component and item.name.startswith(("prod-karpenter", "prod-l4"))
    )


def test_a_pool_and_its_controller(engine: Engine) -> None:
    returned = create(engine, AUTO)
    assert karpenter_children(engine) == Counter(
        {
            "Queue": 1,
            "QueuePolicy": 1,
            "EventRule": 5,
            "EventTarget": 5,
            "Role": 2,
            "RolePolicyAttachment": 3,
            "RolePolicy": 1,
            "InstanceProfile": 1,
            "AccessEntry": 1,
            "PodIdentityAssociation": 1,
            "Release": 2,
            "EC2NodeClass": 1,
            "NodePool": 1,
        }
    )
    assert len(returned) == 2  # the autoscaler's release and the NodePool


def test_no_karpenter_without_a_pool_for_it(engine: Engine) -> None:
    create(engine, pool())
    assert not [item for item in engine.seen if "karpenter" in item.name]


def test_two_pools_share_one_controller(engine: Engine) -> None:
    create(engine, AUTO, pool(gpus=H100, instance_type="p5.48xlarge", provisioner="auto"))
    kinds = Counter(item.type.rpartition(":")[2] for item in engine.seen)
    assert (kinds["NodePool"], kinds["EC2NodeClass"], kinds["Karpenter"]) == (2, 2, 1)


def test_the_node_pool_never_moves_a_loaded_model(engine: Engine) -> None:
    create(engine, AUTO)
    made = engine.one(":NodePool", "prod-l4-pool")
    assert made["apiVersion"] == "karpenter.sh/v1"
    # Its machines have ended when it has gone.
    assert made["metadata"] == {
        "name": "l4",
        "annotations": {"pulumi.com/deletionPropagationPolicy": "foreground"},
    }
    assert made["spec"] == {
        "template": {
            "metadata": {
                "labels": {
                    "inference.platform/node-pool": "l4",
                    "inference.platform/capacity-type": "spot",
                    "nvidia.com/gpu.product": "NVIDIA-L4",
                    "nvidia.com/gpu.count": "4",
                    "nvidia.com/gpu.present": "true",
                }
            },
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "l4"},
                "requirements": [
                    {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6.12xlarge"]},
                    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]},
                    {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                    {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
                ],
                "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
                "expireAfter": "Never",
            },
        },
        "limits": {"nvidia.com/gpu": "12"},
        "disruption": {
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": "10m",
            "budgets": [
                {"nodes": "100%", "reasons": ["Empty"]},
                {"nodes": "0", "reasons": ["Drifted", "Underutilized"]},
            ],
        },
    }


@pytest.mark.parametrize(
    ("capacity", "types"),
    [
        ("on-demand", ["on-demand"]),
        ("spot", ["spot"]),
        ("spot-with-fallback", ["spot", "on-demand"]),
        ("reserved", ["reserved"]),
    ],
)
def test_capacity_types(engine: Engine, capacity: str, types: list[str]) -> None:
    reserved = {"reservation_kind": "capacity-block", "reservation_id": "cr-01234567"} if capacity == "reserved" else {}
    create(engine, pool(provisioner="auto", capacity_type=capacity, zones=("us-east-1b",), **reserved))
    requirements = {
        item["key"]: item["values"]
        for item in engine.one(":NodePool", "prod-l4-pool")["spec"]["template"]["spec"]["requirements"]
    }
    assert requirements["karpenter.sh/capacity-type"] == types
    assert requirements["topology.kubernetes.io/zone"] == ["us-east-1b"]
    spec = engine.one(":EC2NodeClass", "prod-l4-class")["spec"]
    assert spec["subnetSelectorTerms"] == [{"id": "prod-network-private-b-id"}]
    assert spec.get("capacityReservationSelectorTerms") == ([{"id": "cr-01234567"}] if reserved else None)


def test_the_machines(engine: Engine) -> None:
    create(engine, AUTO)
    assert engine.one(":EC2NodeClass", "prod-l4-class")["spec"] == {
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "instanceProfile": "prod-karpenter-node-name",
        "subnetSelectorTerms": [{"id": f"prod-network-private-{zone}-id"} for zone in "abc"],
        "securityGroupSelectorTerms": [{"id": "sg-cluster"}],
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
        "blockDeviceMappings": [
            {
                "deviceName": "/dev/xvda",
                "ebs": {
                    "volumeSize": "200Gi",
                    "volumeType": "gp3",
                    "iops": 3000,
                    "throughput": 125,
                    "encrypted": True,
                    "deleteOnTermination": True,
                },
            }
        ],
        "tags": TAGS,
    }


def test_local_disks_and_fast_images(engine: Engine) -> None:
    create(
        engine,
        pool(provisioner="auto", local_nvme=True),
        pool(gpus=H100, provisioner="auto", image_streaming=True),
    )
    local = engine.one(":EC2NodeClass", "prod-l4-class")["spec"]
    fast = engine.one(":EC2NodeClass", "prod-h100-class")["spec"]
    assert local["instanceStorePolicy"] == "RAID0"
    assert "userData" not in local
    assert '"FastImagePull": true' in fast["userData"]
    assert fast["userData"].startswith("MIME-Version")  # as it is, not base64
    assert fast["blockDeviceMappings"][0]["ebs"]["throughput"] == 1000


def test_the_releases(engine: Engine) -> None:
    create(engine, AUTO)
    definitions, controller = (engine.one(":Release", f"prod-karpenter-{part}") for part in ("definitions", "release"))
    assert (definitions["chart"], controller["chart"]) == (
        "oci://public.ecr.aws/karpenter/karpenter-crd",
        "oci://public.ecr.aws/karpenter/karpenter",
    )
    assert definitions["version"] == controller["version"] == "1.14.1"
    assert controller["skipCrds"] is True
    assert controller["values"]["settings"] == {
        "clusterName": "inference-prod",
        "interruptionQueue": "prod-karpenter-notices-name",
    }
    assert controller["values"]["nodeSelector"] == {"inference.platform/node-pool": "system"}
    assert controller["values"]["replicas"] == 2


def test_notices_reach_the_queue(engine: Engine) -> None:
    create(engine, AUTO)
    patterns = [json.loads(engine.one(":EventRule", f"prod-karpenter-{kind}")["eventPattern"]) for kind in NOTICES]
    assert {pattern["detail-type"][0] for pattern in patterns} == {detail for _, detail in NOTICES.values()}
    arns = {engine.one(":EventTarget", f"prod-karpenter-{kind}")["arn"] for kind in NOTICES}
    assert len(arns) == 1
    allow, deny = json.loads(engine.one(":QueuePolicy", "prod-karpenter-notices")["policy"])["Statement"]
    assert allow["Resource"] == deny["Resource"] == arns.pop()
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_its_nodes_may_join(engine: Engine) -> None:
    create(engine, AUTO)
    entry = engine.one(":AccessEntry", "prod-karpenter-node")
    assert (entry["type"], entry["principalArn"]) == (
        "EC2_LINUX",
        "arn:aws:iam:us-east-1:123456789012:prod-karpenter-node",
    )


def test_it_changes_only_what_is_its_own() -> None:
    """Every action that changes something is bound to the cluster's tag, a resource, or a role by name."""
    made = statements("inference-prod", "us-east-1", queue_arn="arn:queue", node_role_arn="arn:role")
    free: dict[str, Any] = {
        item["Sid"]: item["Action"] for item in made if item["Resource"] == "*" and "Condition" not in item
    }
    assert free == {
        "LookUpPrices": ["pricing:GetProducts"],
        "LookUpProfiles": ["iam:GetInstanceProfile", "iam:ListInstanceProfiles"],
    }
    by_sid = {item["Sid"]: item for item in made}
    assert by_sid["GiveNodesTheirRole"]["Resource"] == "arn:role"
    assert by_sid["ReadNotices"]["Resource"] == "arn:queue"
    for sid in ("UseOwnTemplates", "MakeTaggedMachines", "TagWhatItMakes", "NameOwnMachines", "EndOwnMachines"):
        assert "kubernetes.io/cluster/inference-prod" in json.dumps(by_sid[sid]["Condition"])
    assert not [action for item in made for action in item["Action"] if action.startswith("iam:Create")]
