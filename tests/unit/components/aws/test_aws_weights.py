"""Stores of weights on AWS: what is made, and how pods mount it.

Does not prove that a mount works: that needs an account.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from components.clouds.aws.cloud import CLOUD
from components.clouds.aws.settings import AwsSettings, SharedFiles
from components.cluster import WeightsVolume
from tests.unit.components.aws.aws_samples import CLUSTER
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

LUSTRE = AwsSettings(shared_files=SharedFiles.FSX_LUSTRE, lustre_gib=4800)


def create(engine: Engine, store: str, settings: AwsSettings | None = None) -> WeightsVolume | None:
    args = replace(CLUSTER, weights_store=store, settings=settings)
    return engine.run(lambda: CLOUD.create_weights("prod", args, CLOUD.create_cluster("prod", args)))


def made(engine: Engine) -> Counter[str]:
    return Counter(
        item.type.rpartition(":")[2]
        for item in engine.seen
        if not item.is_component and item.name.startswith("prod-weights")
    )


def test_node_disk_needs_nothing(engine: Engine) -> None:
    assert create(engine, "node-disk") is None
    assert made(engine) == Counter()


def test_shared_files_grow_by_themselves_in_all_zones(engine: Engine) -> None:
    volume = create(engine, "shared-files")
    assert made(engine) == Counter(
        {
            "FileSystem": 1,
            "MountTarget": 3,
            "SecurityGroup": 1,
            "SecurityGroupIngressRule": 2,
            "Role": 1,
            "RolePolicyAttachment": 1,
            "Addon": 1,
            "StorageClass": 1,
        }
    )
    files = engine.one(":FileSystem", "prod-weights")
    assert (files["encrypted"], files["throughputMode"]) == (True, "elastic")
    rule = engine.one(":SecurityGroupIngressRule", "prod-weights-nodes-2049")
    assert (rule["referencedSecurityGroupId"], rule["fromPort"], rule["toPort"]) == ("sg-cluster", 2049, 2049)
    storage = engine.one(":StorageClass", "prod-weights-class")
    assert storage["provisioner"] == "efs.csi.aws.com"
    assert storage["parameters"]["fileSystemId"] == "prod-weights-id"
    assert volume is not None
    assert (volume.storage_class, volume.volume_name, volume.access_mode) == ("weights", "", "ReadWriteMany")
    assert storage["metadata"]["name"] == volume.storage_class
    assert len(volume.after) == 1


def test_lustre_is_a_volume_that_is_there(engine: Engine) -> None:
    volume = create(engine, "shared-files", LUSTRE)
    assert made(engine) == Counter(
        {
            "LustreFileSystem": 1,
            "SecurityGroup": 1,
            "SecurityGroupIngressRule": 4,
            "Role": 1,
            "RolePolicyAttachment": 1,
            "Addon": 1,
            "PersistentVolume": 1,
        }
    )
    files = engine.one(":LustreFileSystem", "prod-weights")
    assert (files["deploymentType"], files["storageCapacity"]) == ("SCRATCH_2", 4800)
    assert files["subnetIds"] == "prod-network-private-a-id"
    spec = engine.one(":PersistentVolume", "prod-weights-volume")["spec"]
    assert spec["csi"] == {
        "driver": "fsx.csi.aws.com",
        "volumeHandle": "prod-weights-id",
        "volumeAttributes": {"dnsname": "fs-1.fsx.us-east-1.amazonaws.com", "mountname": "abc"},
    }
    assert volume is not None
    assert (volume.storage_class, volume.volume_name, volume.capacity) == ("", "weights-prod", "4800Gi")
    assert volume.whole_files is False


def test_a_bucket_that_pods_mount(engine: Engine) -> None:
    volume = create(engine, "object-store")
    assert made(engine) == Counter(
        {
            "Bucket": 1,
            "BucketPublicAccessBlock": 1,
            "Role": 1,
            "RolePolicy": 1,
            "Addon": 1,
            "PersistentVolume": 1,
        }
    )
    block = engine.one(":BucketPublicAccessBlock", "prod-weights")
    assert all(value is True for key, value in block.items() if key != "bucket")
    listing, objects = json.loads(engine.one(":RolePolicy", "prod-weights-driver-policy")["policy"])["Statement"]
    bucket = "arn:aws:s3:us-east-1:123456789012:prod-weights"
    assert (listing["Resource"], objects["Resource"]) == (bucket, f"{bucket}/*")
    volume_spec = engine.one(":PersistentVolume", "prod-weights-volume")["spec"]
    assert volume_spec["csi"] == {
        "driver": "s3.csi.aws.com",
        "volumeHandle": "weights-prod",
        "volumeAttributes": {"bucketName": "prod-weights-id"},
    }
    assert "region us-east-1" in volume_spec["mountOptions"]
    assert volume is not None
    assert (volume.storage_class, volume.volume_name, volume.whole_files) == ("", "weights-prod", True)


@pytest.mark.parametrize(("protected", "force"), [(False, True), (True, False)])
def test_a_destroy_deletes_weights_unless_the_cluster_is_protected(
    engine: Engine, protected: bool, force: bool
) -> None:
    args = replace(CLUSTER, weights_store="object-store", deletion_protection=protected)
    engine.run(lambda: CLOUD.create_weights("prod", args, CLOUD.create_cluster("prod", args)))
    assert engine.one(":Bucket", "prod-weights")["forceDestroy"] is force
