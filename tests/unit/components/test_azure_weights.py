"""Where an AKS cluster keeps model weights: an NFS share or a container of Blob storage.

Does not prove that Azure accepts them (tests/contract reads its API models), nor that pods can mount them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.clouds.azure.cloud import AzureCloud
from tests.unit.components.azure_samples import GROUP, AzureEngine, azure_engine, build, cluster_args

pytestmark = pytest.mark.unit


@pytest.fixture
def engine() -> Iterator[AzureEngine]:
    with azure_engine() as made:
        yield made


def test_files_are_an_nfs_share_for_the_nodes_alone(engine: AzureEngine) -> None:
    engine.run(lambda: build(weights_store="shared-files", settings={"weights_gib": 2048}))
    account = engine.one("StorageAccount", "prod-weights-account")
    name = account["accountName"]
    assert (account["kind"], account["sku"]) == ("FileStorage", {"name": "Premium_LRS"})
    assert account["enableHttpsTrafficOnly"] is False
    assert account["allowSharedKeyAccess"] is False
    assert account["networkRuleSet"]["defaultAction"] == "Deny"
    (rule,) = account["networkRuleSet"]["virtualNetworkRules"]
    assert rule["virtualNetworkResourceId"].endswith("/prod-network-nodes")
    share = engine.one("FileShare", "prod-weights-share")
    assert (share["enabledProtocols"], share["shareQuota"], share["accountName"]) == ("NFS", 2048, name)
    spec = engine.one("PersistentVolume", "prod-weights-volume")["spec"]
    assert spec["csi"] == {
        "driver": "file.csi.azure.com",
        "volumeHandle": f"{name}_weights",
        "volumeAttributes": {
            "resourceGroup": GROUP,
            "storageAccount": name,
            "shareName": "weights",
            "protocol": "nfs",
        },
    }
    assert spec["capacity"] == {"storage": "2048Gi"}
    assert engine.one("ManagedCluster", "prod-cluster")["storageProfile"] == {"blobCSIDriver": {"enabled": False}}


def test_objects_are_a_container_that_the_nodes_identity_reads(engine: AzureEngine) -> None:
    engine.run(lambda: build(weights_store="object-store"))
    account = engine.one("StorageAccount", "prod-weights-account")
    assert (account["kind"], account["enableHttpsTrafficOnly"]) == ("StorageV2", True)
    assert engine.one("BlobContainer", "prod-weights-container")["publicAccess"] == "None"
    nodes = engine.one("RoleAssignment", "prod-weights-nodes")
    assert nodes["principalId"] == "kubelet-object"
    assert nodes["roleDefinitionId"].endswith("/ba92f5b4-2d11-453d-a403-e96b0029c9fe")
    spec = engine.one("PersistentVolume", "prod-weights-volume")["spec"]
    assert spec["csi"]["volumeAttributes"] == {
        "resourceGroup": GROUP,
        "storageAccount": account["accountName"],
        "containerName": "weights",
        "protocol": "fuse2",
        "AzureStorageAuthType": "MSI",
        "AzureStorageIdentityClientID": "kubelet-client",
    }
    assert engine.one("ManagedCluster", "prod-cluster")["storageProfile"] == {"blobCSIDriver": {"enabled": True}}


@pytest.mark.parametrize("store", ["shared-files", "object-store"])
def test_pods_claim_the_volume_that_is_there(engine: AzureEngine, store: str) -> None:
    def program() -> Any:
        cloud, args = AzureCloud(), cluster_args(weights_store=store)
        return cloud.create_weights("prod", args, cloud.create_cluster("prod", args))

    volume = engine.run(program)
    assert (volume.storage_class, volume.volume_name, volume.access_mode) == ("", "weights-prod", "ReadWriteMany")
    assert volume.whole_files is (store == "object-store")
    assert len(volume.after) == 1
    assert engine.one("PersistentVolume", "prod-weights-volume")["metadata"]["name"] == "weights-prod"


def test_node_disk_needs_nothing(engine: AzureEngine) -> None:
    engine.run(build)
    assert not [item for item in engine.seen if "weights" in item.name]


def test_an_unknown_store_is_refused(engine: AzureEngine) -> None:
    with pytest.raises(ValueError, match="shared-files or object-store, not in 'floppy'"):
        engine.run(lambda: build(weights_store="floppy"))
