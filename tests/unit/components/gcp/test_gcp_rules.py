"""What Google Cloud refuses, and why: each impossibility, through the configuration as a user writes it.

Does not prove that the list is whole, nor that what passes is to be had: quotas and stock are for preflight.
"""

from __future__ import annotations

from typing import Any

import pytest

from components.clouds.gcp.machines import ACCELERATOR_TYPES, LOCAL_SSDS
from components.clouds.gcp.rules import RULES
from components.clouds.gcp.settings import GcpSettings
from components.clouds.rules import EnvironmentWish, PoolWish
from planner.catalog import instances
from tests.unit.stacks.config_samples import errors, sample

pytestmark = pytest.mark.unit

POOL = "node_pools__0__"
GCP = {"project": "acme-inference"}


def lines(**changes: Any) -> list[str]:
    """Errors of an L4 environment on Google Cloud with these changes."""
    defaults = {"gcp": dict(GCP), f"{POOL}instance_type": "g2-standard-48"}
    return errors(sample(cloud="gcp", serving_stack="manifests", **{**defaults, **changes}))


def of(machine: str, **changes: Any) -> list[str]:
    """Errors of a pool of these machines, without those of the model that may not fit."""
    changed = {f"{POOL}{key}": value for key, value in changes.items()}
    return [line for line in lines(**{f"{POOL}instance_type": machine, **changed}) if line.startswith("node_pools[0]")]


def test_what_can_be() -> None:
    assert lines() == []


def test_the_project_is_named() -> None:
    message = (
        "gcp.project: required, but not given: the project that everything is made in. Set it to the project's id."
    )
    assert lines(gcp={}) == [message]
    raw = sample(cloud="gcp", serving_stack="manifests", **{f"{POOL}instance_type": "g2-standard-48"})
    assert errors(raw) == [message]


def test_a_broken_section_is_said_once() -> None:
    """The section's defaults stand in for it: no second error for the project that stands there."""
    found = lines(gcp={"project": "acme-inference", "zone": "nowhere"})
    assert found[0] == "gcp.zone: must have the form ^[a-z]+-[a-z]+[0-9]+-[a-z]$ (got 'nowhere')."


@pytest.mark.parametrize("machine", ["a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g"])
def test_small_h100_machines_are_spot_or_flex_start(machine: str) -> None:
    for capacity_type in ("on-demand", "spot-with-fallback"):
        assert of(machine, capacity_type=capacity_type) == [
            f"node_pools[0].capacity_type: Google Cloud gives {machine} as spot or flex-start only "
            f"(got '{capacity_type}'); choose from spot, reserved. Choose one of these (reserved with reservation.kind "
            "flex-start), or gpus_per_node: 8."
        ]
    assert of(machine, capacity_type="spot") == []
    assert of(machine, capacity_type="reserved", reservation={"kind": "flex-start"}) == []
    assert of("a3-highgpu-8g") == []


@pytest.mark.parametrize("machine", ["a3-ultragpu-8g", "a4-highgpu-8g"])
def test_the_newest_machines_are_never_on_demand(machine: str) -> None:
    for capacity_type in ("on-demand", "spot-with-fallback"):
        assert of(machine, capacity_type=capacity_type) == [
            f"node_pools[0].capacity_type: Google Cloud gives {machine} reserved, as flex-start or as spot, never on "
            f"demand (got '{capacity_type}'); choose from reserved, spot."
        ]
    assert of(machine, capacity_type="spot") == []


@pytest.mark.parametrize(
    ("reservation", "zones", "line"),
    [
        (
            {"kind": "capacity-block"},
            [],
            "node_pools[0].reservation.kind: capacity blocks are of AWS (got 'capacity-block'); "
            "choose from reservation, flex-start, queued.",
        ),
        (
            {"kind": "reservation"},
            ["us-central1-a"],
            "node_pools[0].reservation.id: required with this kind, but not given. "
            "Give the reservation's name, or projects/P/reservations/R of another project.",
        ),
        (
            {"kind": "reservation", "id": "mine"},
            [],
            "node_pools[0].zones: required with a reservation, but not given: it holds machines in one zone. "
            "Name the reservation's zone.",
        ),
        (
            {"kind": "flex-start", "id": "mine"},
            [],
            "node_pools[0].reservation.id: flex-start takes machines when there are some and has no reservation "
            "(got 'mine'). Remove it.",
        ),
        (
            {"kind": "queued"},
            [],
            "node_pools[0].reservation.kind: queued nodes come for ProvisioningRequests, which a served model's pods "
            "do not make (got 'queued'); choose from flex-start. Use flex-start, which brings the same machines to "
            "waiting pods; or, with Kueue in the cluster, set gcp.provisioning_requests.",
        ),
    ],
)
def test_reservations(reservation: dict[str, str], zones: list[str], line: str) -> None:
    assert of("g2-standard-48", capacity_type="reserved", reservation=reservation, zones=zones) == [line]


def test_reserved_says_how() -> None:
    assert of("g2-standard-48", capacity_type="reserved") == [
        "node_pools[0].reservation.kind: required with capacity_type reserved, but not given; "
        "choose from reservation, flex-start, queued."
    ]


def test_queued_with_something_that_asks() -> None:
    settings = {**GCP, "provisioning_requests": True}
    held = {f"{POOL}capacity_type": "reserved", f"{POOL}reservation": {"kind": "queued"}}
    assert lines(gcp=settings, **held) == []
    assert lines(gcp=settings, **held, **{f"{POOL}provisioner": "auto"}) == [
        "node_pools[0].provisioner: a ComputeClass takes no ProvisioningRequests (got 'auto'); choose from node-group."
    ]


def test_flex_start_nodes_cannot_be_kept() -> None:
    assert of("g2-standard-48", capacity_type="reserved", reservation={"kind": "flex-start"}, min_nodes=1) == [
        "node_pools[0].min_nodes: flex-start nodes come for waiting pods and live a week at most: none can be kept "
        "(got 1); choose from 0."
    ]


def test_a_compute_class_keeps_no_nodes() -> None:
    assert of("g2-standard-48", provisioner="auto", min_nodes=1) == [
        "node_pools[0].min_nodes: a ComputeClass makes nodes for waiting pods and keeps none (got 1); choose from 0. "
        "Set it to 0 and keep replicas instead (scaling.min_replicas), or use provisioner: node-group."
    ]


def test_sharing() -> None:
    assert of("a3-highgpu-8g", sharing={"mode": "mig", "profile": "4g.40gb"}) == [
        "node_pools[0].sharing.profile: GKE cuts whole GPUs into equal slices, of which 4g is none (got '4g.40gb'). "
        "Choose the GPU's profile 3g or 7g."
    ]
    mps = {"mode": "mps", "replicas": 2}
    assert of("g2-standard-48", sharing=mps) == [
        "node_pools[0].sharing.mode: GKE's MPS is reached over the node's IPC namespace, which pods of an environment "
        "may not share (got 'mps'); choose from time-slicing. Pod security `baseline` forbids it: use time-slicing."
    ]


def test_places_and_addresses() -> None:
    settings = {**GCP, "zone": "europe-west4-a", "pods_cidr": "10.0.0.0/14", "nodes_cidr": "10.0.0.1/20"}
    assert lines(gcp=settings, **{f"{POOL}zones": ["us-central1-a", "europe-west4-a"]}) == [
        "node_pools[0].zones[1]: no zone of the region us-central1 (got 'europe-west4-a'). Change it or the region.",
        "gcp.zone: no zone of the region us-central1 (got 'europe-west4-a'). Change it or the region.",
        "gcp.nodes_cidr: is no network (10.0.0.1/20 has host bits set) (got '10.0.0.1/20'). Give its first address "
        "and its size, such as 10.0.0.0/20.",
    ]
    assert lines(gcp={**GCP, "services_cidr": "10.4.0.0/20", "system_min_nodes": 9}) == [
        "gcp.system_min_nodes: is more than system_max_nodes, 5 (got 9). Lower it to 5 or raise system_max_nodes.",
        "gcp.services_cidr: overlaps with pods_cidr, 10.4.0.0/14 (got '10.4.0.0/20'). Choose networks apart.",
    ]


def test_weights() -> None:
    assert lines(weights={"store": "object-store"}) == [
        "gcp.project_number: required with weights.store object-store: the bucket's policy names the cluster's pods by "
        "it. Set it."
    ]
    assert lines(weights={"store": "shared-files"}) == []
    assert lines(weights={"store": "shared-files"}, gcp={**GCP, "filestore_tier": "BASIC_SSD"}) == [
        "gcp.filestore_tier: is in one zone, and gcp.zone names none (got 'BASIC_SSD'); choose from REGIONAL.",
        "gcp.filestore_capacity_gib: BASIC_SSD has 2560 GiB or more (got 1024). Set it to 2560 or choose another "
        "gcp.filestore_tier.",
    ]


def test_a_key_needs_the_projects_number() -> None:
    key = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"
    assert lines(gcp={**GCP, "kms_key": key}) == [
        "gcp.project_number: required with kms_key: GKE itself must be allowed to use the key. Set it."
    ]


def test_every_machine_of_the_catalogue_is_known() -> None:
    """A row without an accelerator type or a number of disks would fail while it is built."""
    rows = [row for row in instances().values() if row.cloud == "gcp"]
    assert {row.gpu for row in rows} == set(ACCELERATOR_TYPES)
    assert {row.key for row in rows} == set(LOCAL_SSDS)


def test_local_disks_of_a_machine_that_takes_none() -> None:
    wish = PoolWish(name="p", instance_type="x", accelerator="l4", gpus_per_node=1, local_nvme=True)
    environment = EnvironmentWish(
        name="e", region="", weights_store="node-disk", settings=GcpSettings(project="acme-inference")
    )
    assert [item.field for item in RULES.check_pool(wish, environment)] == ["local_nvme"]


@pytest.mark.parametrize(
    ("changes", "taints"),
    [
        ({}, []),
        ({"capacity_type": "spot"}, []),
        ({"provisioner": "auto"}, ["cloud.google.com/compute-class=inference-p:NoSchedule"]),
        (
            {"provisioner": "auto", "capacity_type": "spot-with-fallback"},
            [
                "cloud.google.com/compute-class=inference-p:NoSchedule",
                "cloud.google.com/gke-spot=true:NoSchedule",
            ],
        ),
        (
            {"capacity_type": "reserved", "reservation_kind": "queued"},
            ["cloud.google.com/gke-queued=true:NoSchedule"],
        ),
    ],
)
def test_taints_that_gke_puts_there(changes: dict[str, Any], taints: list[str]) -> None:
    wish = PoolWish(name="p", instance_type="g2-standard-8", accelerator="l4", gpus_per_node=1, **changes)
    assert [f"{item.key}={item.value}:{item.effect}" for item in RULES.extra_taints(wish)] == taints


@pytest.mark.parametrize("sharing", ["none", "mig", "time-slicing", "mps"])
def test_gke_has_one_name_for_all_gpus(sharing: str) -> None:
    wish = PoolWish(name="p", instance_type="g2-standard-8", accelerator="l4", gpus_per_node=1, sharing=sharing)
    assert RULES.gpu_resource(wish) == "nvidia.com/gpu"
