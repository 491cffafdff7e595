"""GPU node pools and ComputeClasses: exact inputs for every way of buying and sharing.

Does not prove that the autoscaler prefers spot, nor that GKE names what it should: documentation of Google's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.base import Component
from components.clouds.gcp.machines import accelerator_type
from components.clouds.gcp.rules import RULES
from components.clouds.gcp.settings import DriverVersion
from components.clouds.rules import PoolWish
from components.cluster import NodePoolArgs
from components.scheduling import GPU_TAINT, Sharing, SharingMode, Taint
from tests.unit.components.gcp.google import H100, MIG, POOL, SETTINGS, build
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

TIME_SLICING = Sharing(SharingMode.TIME_SLICING, 4)


def node_pool(engine: Engine, name: str = "prod-h100") -> dict[str, Any]:
    return engine.one("nodePool:NodePool", name)


def of(pool: NodePoolArgs, sharing: Sharing) -> NodePoolArgs:
    return replace(pool, gpus=replace(pool.gpus, sharing=sharing))


def test_a_pool_on_demand(engine: Engine) -> None:
    build(engine, POOL)
    found = node_pool(engine)
    assert found.pop("name").startswith("h100-")
    assert found == {
        "cluster": "inference-prod",
        "location": "us-central1",
        "autoscaling": {"totalMinNodeCount": 0, "totalMaxNodeCount": 4, "locationPolicy": "ANY"},
        "management": {"autoRepair": True, "autoUpgrade": True},
        "upgradeSettings": {"strategy": "SURGE", "maxSurge": 0, "maxUnavailable": 1},
        "nodeConfig": {
            "machineType": "a3-highgpu-8g",
            "guestAccelerators": [
                {
                    "type": "nvidia-h100-80gb",
                    "count": 8,
                    "gpuDriverInstallationConfig": {"gpuDriverVersion": "DEFAULT"},
                }
            ],
            "diskSizeGb": 200,
            "diskType": "pd-balanced",
            "imageType": "COS_CONTAINERD",
            "gvnic": {"enabled": True},
            "serviceAccount": "inference-prod@acme-inference.iam.gserviceaccount.com",
            "oauthScopes": ["https://www.googleapis.com/auth/cloud-platform"],
            "labels": {
                "inference.platform/node-pool": "h100",
                "inference.platform/capacity-type": "on-demand",
                "nvidia.com/gpu.product": "NVIDIA-H100-80GB-SXM",
                "nvidia.com/gpu.count": "8",
                "nvidia.com/gpu.present": "true",
            },
            "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
            "resourceLabels": {"team": "ml"},
            "shieldedInstanceConfig": {"enableSecureBoot": True, "enableIntegrityMonitoring": True},
            "workloadMetadataConfig": {"mode": "GKE_METADATA"},
        },
    }


def test_spot(engine: Engine) -> None:
    build(engine, replace(POOL, capacity_type="spot"))
    config = node_pool(engine)["nodeConfig"]
    assert config["spot"] is True
    assert config["reservationAffinity"] == {"consumeReservationType": "NO_RESERVATION"}
    assert config["labels"]["inference.platform/capacity-type"] == "spot"


def test_spot_with_fallback_is_two_pools_that_pods_cannot_tell_apart(engine: Engine) -> None:
    build(engine, replace(POOL, capacity_type="spot-with-fallback", min_nodes=1))
    spot, fallback = node_pool(engine, "prod-h100-spot"), node_pool(engine, "prod-h100-on-demand")
    assert spot["name"] != fallback["name"]
    assert spot["nodeConfig"]["spot"] is True
    assert "spot" not in fallback["nodeConfig"]
    # Only on-demand nodes can be kept.
    assert spot["autoscaling"]["totalMinNodeCount"] == 0
    assert fallback["autoscaling"]["totalMinNodeCount"] == 1
    selector = POOL.gpus.place().node_selector
    for pool in (spot, fallback):
        assert selector.items() <= pool["nodeConfig"]["labels"].items()
        assert pool["nodeConfig"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    assert [pool["nodeConfig"]["labels"]["inference.platform/capacity-type"] for pool in (spot, fallback)] == [
        "spot",
        "on-demand",
    ]


def test_a_reservation(engine: Engine) -> None:
    held = replace(
        POOL,
        capacity_type="reserved",
        reservation_kind="reservation",
        reservation_id="projects/other/reservations/h100",
        zones=("us-central1-a",),
    )
    build(engine, held)
    found = node_pool(engine)
    assert found["nodeConfig"]["reservationAffinity"] == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["projects/other/reservations/h100"],
    }
    assert found["nodeLocations"] == ["us-central1-a"]


@pytest.mark.parametrize("kind", ["flex-start", "queued"])
def test_nodes_that_come_when_there_are_some(engine: Engine, kind: str) -> None:
    build(engine, replace(POOL, capacity_type="reserved", reservation_kind=kind))
    found = node_pool(engine)
    config = found["nodeConfig"]
    assert config["flexStart"] is True
    assert config["maxRunDuration"] == "604800s"
    assert config["reservationAffinity"] == {"consumeReservationType": "NO_RESERVATION"}
    assert found["management"] == {"autoRepair": False, "autoUpgrade": True}
    assert "upgradeSettings" not in found
    assert found.get("queuedProvisioning") == ({"enabled": True} if kind == "queued" else None)


def test_gke_puts_the_taint_of_queued_nodes_there_and_pods_tolerate_it(engine: Engine) -> None:
    wish = PoolWish(
        name="h100",
        instance_type="a3-highgpu-8g",
        accelerator="h100",
        gpus_per_node=8,
        capacity_type="reserved",
        reservation_kind="queued",
    )
    (fact,) = RULES.extra_taints(wish)
    queued = replace(H100, taints=(GPU_TAINT, Taint(fact.key, fact.value, fact.effect)))
    build(engine, replace(POOL, gpus=queued, capacity_type="reserved", reservation_kind="queued"))
    assert [taint["key"] for taint in node_pool(engine)["nodeConfig"]["taints"]] == ["nvidia.com/gpu"]
    assert [item.key for item in queued.place().tolerations()] == ["nvidia.com/gpu", "cloud.google.com/gke-queued"]


@pytest.mark.parametrize(
    ("sharing", "inputs"),
    [
        (MIG, {"gpuPartitionSize": "1g.10gb"}),
        (
            TIME_SLICING,
            {"gpuSharingConfig": {"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": 4}},
        ),
        (
            Sharing(SharingMode.MPS, 3),
            {"gpuSharingConfig": {"gpuSharingStrategy": "MPS", "maxSharedClientsPerGpu": 3}},
        ),
    ],
)
def test_gke_splits_gpus_by_itself(engine: Engine, sharing: Sharing, inputs: dict[str, Any]) -> None:
    build(engine, of(POOL, sharing))
    (accelerator,) = node_pool(engine)["nodeConfig"]["guestAccelerators"]
    assert inputs.items() <= accelerator.items()
    # Whatever the share is, GKE's device plugin has one name for it.
    assert of(POOL, sharing).gpus.place().resources.devices == {"nvidia.com/gpu": "1"}


def test_disks_images_and_driver(engine: Engine) -> None:
    settings = SETTINGS.model_copy(update={"image_cache_disk": "global/images/vllm", "driver": DriverVersion.LATEST})
    build(engine, replace(POOL, local_nvme=True, disk_gib=500), settings=settings)
    config = node_pool(engine)["nodeConfig"]
    assert config["ephemeralStorageLocalSsdConfig"] == {"localSsdCount": 16}
    assert config["diskSizeGb"] == 500
    assert config["gcfsConfig"] == {"enabled": True}
    assert config["secondaryBootDisks"] == [{"diskImage": "global/images/vllm", "mode": "CONTAINER_IMAGE_CACHE"}]
    (accelerator,) = config["guestAccelerators"]
    assert accelerator["gpuDriverInstallationConfig"] == {"gpuDriverVersion": "LATEST"}


def test_other_machines_are_another_pool_and_more_nodes_are_the_same(engine: Engine) -> None:
    """A replacement has another name: the new pool is there before the old one goes."""
    names = []
    for pool in (POOL, replace(POOL, max_nodes=9, tags={}), replace(POOL, capacity_type="spot"), of(POOL, MIG)):
        build(engine, pool)
        names.append(node_pool(engine)["name"])
    assert names[0] == names[1]
    assert len(set(names)) == 3


@pytest.mark.parametrize(
    "other", [{"driver": DriverVersion.LATEST}, {"image_cache_disk": "global/images/vllm"}], ids=str
)
def test_another_driver_or_disk_with_images_is_another_pool_too(engine: Engine, other: dict[str, Any]) -> None:
    """The provider replaces the pool for both, and with the same name it would take the old one away first."""
    names = []
    for settings in (SETTINGS, SETTINGS.model_copy(update=other)):
        build(engine, POOL, settings=settings)
        names.append(node_pool(engine)["name"])
    assert names[0] != names[1]


def test_a_pool_of_the_longest_name(engine: Engine) -> None:
    long = replace(POOL, gpus=replace(H100, name="p" * 40), capacity_type="spot-with-fallback")
    build(engine, long)
    names = [item.inputs["name"] for item in engine.seen if item.type.endswith("nodePool:NodePool")]
    assert all(len(name) <= 40 for name in names)
    assert len(set(names)) == 3


def test_the_autoscalers_numbers_are_left_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    original = Component.child

    def child(self: Component, *after: pulumi.Resource, **options: Any) -> pulumi.ResourceOptions:
        made = original(self, *after, **options)
        asked.append(list(made.ignore_changes or []))
        return made

    monkeypatch.setattr(Component, "child", child)
    build(engine, POOL)
    assert asked.count(["nodeCount", "initialNodeCount"]) == 2


def test_every_gpu_has_googles_name() -> None:
    assert accelerator_type("h100", "a3-highgpu-8g") == "nvidia-h100-80gb"
    assert accelerator_type("h100", "a3-megagpu-8g") == "nvidia-h100-mega-80gb"
    with pytest.raises(ValueError, match="no GPU 'l40s'; it has t4, l4"):
        accelerator_type("l40s", "g6e.xlarge")


AUTO = replace(POOL, provisioner="auto")


def compute_class(engine: Engine) -> dict[str, Any]:
    return engine.one("cloud.google.com/v1:ComputeClass", "prod-h100-class")


def test_a_compute_class(engine: Engine) -> None:
    build(engine, replace(AUTO, zones=("us-central1-a", "us-central1-b"), image_streaming=True))
    assert compute_class(engine) == {
        "apiVersion": "cloud.google.com/v1",
        "kind": "ComputeClass",
        "metadata": {"name": "inference-h100"},
        "spec": {
            "priorities": [
                {
                    "machineType": "a3-highgpu-8g",
                    "spot": False,
                    "gpu": {"type": "nvidia-h100-80gb", "count": 8, "driverVersion": "default"},
                    "storage": {"bootDiskType": "pd-balanced", "bootDiskSize": 200},
                }
            ],
            "priorityDefaults": {"location": {"locationPolicy": "ANY", "zones": ["us-central1-a", "us-central1-b"]}},
            "nodePoolAutoCreation": {"enabled": True},
            "nodePoolConfig": {
                "imageType": "cos_containerd",
                "serviceAccount": "inference-prod@acme-inference.iam.gserviceaccount.com",
                "nodeLabels": {
                    "inference.platform/node-pool": "h100",
                    "inference.platform/capacity-type": "on-demand",
                    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-SXM",
                    "nvidia.com/gpu.count": "8",
                    "nvidia.com/gpu.present": "true",
                },
                "imageStreaming": {"enabled": True},
            },
            "activeMigration": {"optimizeRulePriority": False},
            "autoscalingPolicy": {"consolidationDelayMinutes": 10},
            "whenUnsatisfiable": "DoNotScaleUp",
        },
    }
    assert not [item for item in engine.seen if item.name == "prod-h100" and item.type.endswith("nodePool:NodePool")]


def test_a_ladder_from_spot_to_on_demand(engine: Engine) -> None:
    build(engine, replace(AUTO, capacity_type="spot-with-fallback"))
    assert [rung["spot"] for rung in compute_class(engine)["spec"]["priorities"]] == [True, False]


def test_a_rung_of_flex_start(engine: Engine) -> None:
    build(engine, replace(AUTO, capacity_type="reserved", reservation_kind="flex-start"))
    (rung,) = compute_class(engine)["spec"]["priorities"]
    assert rung["flexStart"] == {"enabled": True}
    assert rung["maxRunDurationSeconds"] == 604_800


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("h100", {"name": "h100", "zones": ["us-central1-a"]}),
        ("projects/other/reservations/h100", {"name": "h100", "project": "other", "zones": ["us-central1-a"]}),
    ],
)
def test_a_rung_of_a_reservation_has_the_reservations_zone(engine: Engine, name: str, named: dict[str, Any]) -> None:
    held = replace(
        AUTO,
        capacity_type="reserved",
        reservation_kind="reservation",
        reservation_id=name,
        zones=("us-central1-a",),
    )
    build(engine, held)
    spec = compute_class(engine)["spec"]
    assert spec["priorities"][0]["reservations"] == {"affinity": "Specific", "specific": [named]}
    assert "priorityDefaults" not in spec


@pytest.mark.parametrize(
    ("sharing", "inputs"),
    [
        (MIG, {"gpuPartitionSize": "1g.10gb"}),
        (TIME_SLICING, {"sharingStrategy": "TIME_SHARING", "maxSharedClientsPerGPU": 4}),
    ],
)
def test_shares_of_a_class(engine: Engine, sharing: Sharing, inputs: dict[str, Any]) -> None:
    build(engine, of(AUTO, sharing))
    (rung,) = compute_class(engine)["spec"]["priorities"]
    assert rung["gpu"]["gpuSharing"] == inputs


def test_disks_of_a_class(engine: Engine) -> None:
    settings = SETTINGS.model_copy(update={"image_cache_disk": "projects/p/global/images/vllm"})
    build(engine, replace(AUTO, local_nvme=True), settings=settings)
    (rung,) = compute_class(engine)["spec"]["priorities"]
    assert rung["storage"] == {
        "bootDiskType": "pd-balanced",
        "bootDiskSize": 200,
        "localSSDCount": 16,
        "secondaryBootDisks": [{"diskImageName": "vllm", "mode": "CONTAINER_IMAGE_CACHE"}],
    }
