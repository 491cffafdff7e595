"""Whatever can be asked for, Azure's own API models accept what is sent: azure-mgmt-containerservice, at random.

Inputs are recorded from the components themselves. Also Karpenter's CRDs for node auto-provisioning. Does not prove
what Azure checks beyond its models (quota, combinations, regions); `test_the_models_refuse_mistakes` shows that the
check can fail.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from azure.mgmt.containerservice import models

from components.clouds.azure.agent_pools import MIG_PROFILES
from components.clouds.azure.cloud import AzureCloud
from components.clouds.azure.handle import azure_handle
from components.clouds.azure.settings import (
    AzureSettings,
    NodeImageChannel,
    OperatingSystem,
    Outbound,
    Tier,
    UpgradeChannel,
)
from components.cluster import NodePoolArgs
from components.scheduling import Sharing, SharingMode
from planner.catalog import instances
from tests.contract.azure_models import agent_pool_body, cluster_body, violations
from tests.contract.custom_resources import Schema, crd_schema
from tests.unit.components.azure_samples import (
    RESERVATION,
    SUBSCRIPTION,
    AzureEngine,
    azure_engine,
    cluster_args,
    pool_args,
)

pytestmark = pytest.mark.unit

MACHINES = sorted(key for key, row in instances().items() if row.cloud == "azure")
GUID = "00000000-0000-0000-0000-00000000000a"
DISKS = f"{SUBSCRIPTION}/resourceGroups/keys/providers/Microsoft.Compute/diskEncryptionSets/disks"


Dice = Random


def section(dice: Dice) -> dict[str, Any]:
    """A section `azure`, each of its settings thrown."""
    least = dice.randint(1, 5)
    return {
        "tier": dice.choice(list(Tier)),
        "system_pool": {
            "min_nodes": least,
            "max_nodes": least + dice.randint(0, 5),
            "zones": dice.choice([(), ("1",), ("1", "2", "3")]),
        },
        "os": dice.choice(list(OperatingSystem)),
        "install_gpu_driver": dice.choice([True, False]),
        "spot_max_price": dice.choice([None, 0.5, 31.25]),
        "outbound": dice.choice(list(Outbound)),
        "admin_group_ids": dice.choice([(), (GUID,)]),
        "azure_rbac": dice.choice([True, False]),
        "local_accounts": dice.choice([True, False]),
        "encrypt_secrets": dice.choice([True, False]),
        "disk_encryption_set_id": dice.choice([None, DISKS]),
        "encryption_at_host": dice.choice([True, False]),
        "upgrade_channel": dice.choice(list(UpgradeChannel)),
        "node_image_channel": dice.choice(list(NodeImageChannel)),
        "keda_add_on": dice.choice([True, False]),
    }


def pool(dice: Dice, name: str) -> NodePoolArgs:
    """A pool as AKS can have it."""
    machine = dice.choice(MACHINES)
    gpu = instances()[machine].gpu
    auto = dice.random() < 0.25
    mode = dice.choice(["none"] if auto else ["none", "time-slicing", "mps", *(["mig"] if gpu in MIG_PROFILES else [])])
    ways = {
        "none": Sharing(),
        "mig": Sharing(SharingMode.MIG, 7, dice.choice(MIG_PROFILES.get(gpu, ("1g.10gb",)))),
        "time-slicing": Sharing(SharingMode.TIME_SLICING, dice.randint(2, 48)),
        "mps": Sharing(SharingMode.MPS, dice.randint(2, 48)),
    }
    bought = ["on-demand", "spot", *([] if mode == "mig" else ["spot-with-fallback"]), *([] if auto else ["reserved"])]
    capacity_type, most = dice.choice(bought), dice.randint(1, 1000)
    return pool_args(
        name,
        ways[mode],
        instance_type=machine,
        capacity_type=capacity_type,
        reservation_id=RESERVATION if capacity_type == "reserved" else "",
        provisioner="auto" if auto else "node-group",
        min_nodes=most if mode == "mig" else 0 if auto else dice.randint(0, most),
        max_nodes=most,
        zones=dice.choice([(), ("2",), ("1", "3")]),
        disk_gib=dice.randint(50, 2048),
    )


def pool_name(dice: Dice, index: int) -> str:
    """Up to forty characters, unlike any other of the test."""
    letters = "".join(dice.choice("abcxyz019-") for _ in range(dice.randint(0, 34)))
    return f"p{letters}{index:03}"


def made(engine: AzureEngine, kind: str) -> list[dict[str, Any]]:
    return [item.inputs for item in engine.seen if item.type.endswith(f":{kind}")]


def test_clusters() -> None:
    """Eight environments in one program, since each takes a third of a second."""
    dice = Random(1)

    def program() -> None:
        for index in range(8):
            private = dice.choice([True, False])
            args = cluster_args(
                settings=AzureSettings(**section(dice)),
                provisioners=frozenset(dice.choice([("node-group",), ("auto",), ("auto", "node-group")])),
                private_endpoint=private,
                authorized_networks=() if private else dice.choice([(), ("203.0.113.0/24",)]),
                audit_logs=False,
                weights_store=dice.choice(["node-disk", "object-store"]),
            )
            AzureCloud().create_cluster(f"prod{index}", args)

    with azure_engine() as engine:
        engine.run(program)
        clusters = made(engine, "ManagedCluster")
    assert len(clusters) == 8
    for cluster in clusters:
        assert list(violations(models.ManagedCluster, cluster_body(cluster))) == []


def test_pools() -> None:
    """Sixty pools in one cluster, with the settings of three others."""
    dice = Random(1)

    def program() -> None:
        cloud = AzureCloud()
        handle = azure_handle(cloud.create_cluster("prod", cluster_args(audit_logs=False)))
        for round_ in range(3):
            chosen = replace(
                handle, settings=AzureSettings(**section(dice)), node_auto_provisioning=dice.random() < 0.5
            )
            wanted = [pool(dice, pool_name(dice, index)) for index in range(20)]
            cloud.create_node_pools(f"round{round_}", wanted, chosen)

    with azure_engine() as engine:
        engine.run(program)
        found = {kind: made(engine, kind) for kind in ("AgentPool", "NodePool", "AKSNodeClass")}
    assert len(found["AgentPool"]) > 40
    assert len(found["NodePool"]) > 10
    assert len({agent_pool["agentPoolName"] for agent_pool in found["AgentPool"]}) == len(found["AgentPool"])
    for agent_pool in found["AgentPool"]:
        assert list(violations(models.AgentPool, agent_pool_body(agent_pool))) == []
        assert_coherent(agent_pool)
    for kind in ("NodePool", "AKSNodeClass"):
        for resource in found[kind]:
            assert list(SCHEMAS[kind].violations(resource)) == []


SCHEMAS: dict[str, Schema] = {
    "NodePool": crd_schema("karpenter.sh_nodepools.yaml", "v1"),
    "AKSNodeClass": crd_schema("karpenter.azure.com_aksnodeclasses.yaml", "v1beta1"),
}


def assert_coherent(pool: dict[str, Any]) -> None:
    """What the documentation of agent pools asks for beyond types."""
    if pool["enableAutoScaling"]:
        assert 0 <= pool["minCount"] <= pool["count"] <= pool["maxCount"] <= 1000
    else:
        assert not {"minCount", "maxCount"} & set(pool)
        assert pool["count"] >= 1
    spot = pool["scaleSetPriority"] == "Spot"
    assert spot == ("spotMaxPrice" in pool) == ("scaleSetEvictionPolicy" in pool)
    assert not (spot and "upgradeSettings" in pool)
    assert not (spot and "capacityReservationGroupID" in pool)
    assert not ("gpuInstanceProfile" in pool and pool["enableAutoScaling"])
    assert 30 <= pool["osDiskSizeGB"] <= 2048
    assert all(len(key) <= 512 and not set(key) & set("<>%&\\?/") for key in pool["tags"])
    assert not any("kubernetes.io/" in key for key in pool["nodeLabels"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"vmSise": "x"}, ".properties.vmSise: no such property"),
        ({"count": "three"}, ".properties.count: 'three' is no int"),
        ({"count": 1.5}, ".properties.count: 1.5 is no int"),
        ({"scaleSetPriority": "Cheap"}, ".properties.scaleSetPriority: 'Cheap' is none of ['Regular', 'Spot']"),
        ({"provisioningState": "x"}, ".properties.provisioningState: only read"),
        ({"gpuProfile": {"driver": "No"}}, ".properties.gpuProfile.driver: 'No' is none of ['Install', 'None']"),
        ({"nodeTaints": "a=b:NoSchedule"}, ".properties.nodeTaints: 'a=b:NoSchedule' is no list"),
        ({"nodeTaints": [1]}, ".properties.nodeTaints[0]: 1 is no str"),
        ({"tags": {"a": 1}}, ".properties.tags.a: 1 is no str"),
        ({"upgradeSettings": {"maxSurge": 1}}, ".properties.upgradeSettings.maxSurge: 1 is no str"),
        ({"enableAutoScaling": "true"}, ".properties.enableAutoScaling: 'true' is no bool"),
    ],
)
def test_the_models_refuse_mistakes(change: dict[str, Any], complaint: str) -> None:
    assert list(violations(models.AgentPool, agent_pool_body(change))) == [complaint]


def test_the_models_know_what_must_be_there() -> None:
    body = {"location": "eastus", "properties": {"agentPoolProfiles": [{}]}}
    assert list(violations(models.ManagedCluster, body)) == [".properties.agentPoolProfiles[0].name: missing"]


@pytest.mark.parametrize(
    ("kind", "spec", "complaint"),
    [
        ("AKSNodeClass", {"imageFamily": "Debian"}, "imageFamily"),
        ("AKSNodeClass", {"osDiskSizeGB": 10}, "osDiskSizeGB"),
        ("AKSNodeClass", {"diskSize": 100}, "diskSize"),
        ("NodePool", {}, "template"),
        ("NodePool", {"template": {"spec": {"requirements": []}}}, "nodeClassRef"),
    ],
)
def test_the_crds_refuse_mistakes(kind: str, spec: dict[str, Any], complaint: str) -> None:
    found = list(SCHEMAS[kind].violations({"apiVersion": "x", "kind": kind, "spec": spec}))
    assert found
    assert complaint in found[0]
