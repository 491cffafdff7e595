"""What AWS cannot do, in one message each: the field, the reason, what to do.

Shows what is refused before anything is built; not that AWS would accept all the rest.
"""

from __future__ import annotations

from typing import Any

import pytest
from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

from components.clouds.aws.places import NO_COMMON_ZONES, default_zones
from components.clouds.aws.rules import CAPACITY_BLOCK_FAMILIES, RULES
from components.clouds.aws.settings import AwsSettings
from components.clouds.rules import EnvironmentWish, Objection, PoolWish
from planner.catalog import instances
from tests.unit.stacks.config_samples import errors, sample

pytestmark = pytest.mark.unit

ENVIRONMENT = EnvironmentWish(name="prod", region="us-east-1", weights_store="node-disk")
H100 = {"instance_type": "p5.48xlarge", "accelerator": "h100", "gpus_per_node": 8}
BLOCK = {
    "capacity_type": "reserved",
    "reservation_kind": "capacity-block",
    "reservation_id": "cr-0123456789abcdef0",
    "zones": ("us-east-1a",),
}
GROUP = "arn:aws:resource-groups:us-east-1:123456789012:group/gpus"


def wish(**changes: Any) -> PoolWish:
    base = {"name": "l4", "instance_type": "g6.12xlarge", "accelerator": "l4", "gpus_per_node": 4}
    return PoolWish(**{**base, **changes})


def objections(pool: PoolWish, **settings: Any) -> list[Objection]:
    environment = EnvironmentWish(
        name="prod", region="us-east-1", weights_store="node-disk", settings=AwsSettings(**settings)
    )
    return list(RULES.check_pool(pool, environment))


@pytest.mark.parametrize(
    ("changes", "field", "message", "choices"),
    [
        ({"capacity_type": "reserved"}, "reservation", "required with capacity_type reserved", ()),
        (
            {**BLOCK, "reservation_kind": "flex-start"},
            "reservation.kind",
            "Google Cloud's",
            ("capacity-block", "reservation"),
        ),
        ({**BLOCK, **H100, "reservation_id": ""}, "reservation.id", "cr- and 8 to 17 hexadecimal digits", ()),
        ({**BLOCK, **H100, "reservation_id": GROUP}, "reservation.id", "cr- and 8 to 17 hexadecimal digits", ()),
        ({**BLOCK, **H100, "zones": ()}, "zones", "a reservation is in one zone", ()),
        ({**BLOCK, **H100, "zones": ("us-east-1a", "us-east-1b")}, "zones", "a reservation is in one zone", ()),
        (BLOCK, "reservation.kind", "not for g6.12xlarge", ("reservation",)),
        (
            {"provisioner": "auto", "sharing": "mig", **H100},
            "provisioner",
            "Karpenter counts whole GPUs",
            ("node-group",),
        ),
        ({"provisioner": "auto", "sharing": "time-slicing"}, "provisioner", "issue 729", ("node-group",)),
        ({"provisioner": "auto", "sharing": "mps"}, "provisioner", "would wait forever", ("node-group",)),
        ({"provisioner": "auto", "min_nodes": 1}, "min_nodes", "keeps none without", ("0",)),
        (
            {**BLOCK, "provisioner": "auto", "reservation_kind": "reservation", "reservation_id": GROUP},
            "reservation.id",
            "not by resource group",
            (),
        ),
        (
            {"zones": ("us-east-1f",)},
            "zones",
            "not one of the network's zones",
            ("us-east-1a", "us-east-1b", "us-east-1c"),
        ),
    ],
)
def test_what_a_pool_cannot_have(changes: dict[str, Any], field: str, message: str, choices: tuple[str, ...]) -> None:
    (found,) = objections(wish(**changes))
    assert (found.field, found.choices) == (field, choices)
    assert message in found.message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"capacity_type": "spot"},
        {"capacity_type": "spot-with-fallback", "min_nodes": 2, "max_nodes": 3},
        {**H100, **BLOCK},
        {**H100, **BLOCK, "provisioner": "auto"},
        {**BLOCK, "reservation_kind": "reservation"},
        {**BLOCK, "reservation_kind": "reservation", "reservation_id": GROUP, "zones": ()},
        {"sharing": "time-slicing", "replicas": 4},
        {"sharing": "mps", "replicas": 4, "local_nvme": True, "image_streaming": True},
        {**H100, "sharing": "mig", "mig_profile": "1g.10gb", "capacity_type": "on-demand"},
        {"provisioner": "auto", "capacity_type": "spot-with-fallback", "zones": ("us-east-1b",)},
    ],
)
def test_what_a_pool_can_have(changes: dict[str, Any]) -> None:
    assert objections(wish(**changes)) == []


def test_pools_go_where_the_network_is() -> None:
    zones = ("us-east-1d", "us-east-1f")
    assert objections(wish(zones=("us-east-1f",)), availability_zones=zones) == []
    (found,) = objections(wish(zones=("us-east-1a",)), availability_zones=zones)
    assert found.choices == zones


@pytest.mark.parametrize(
    ("settings", "region", "field", "message"),
    [
        ({}, "eastus", "region", "no region of AWS"),
        ({}, "us-west-1", "aws.availability_zones", "not everyone the same"),
        ({"availability_zones": ("us-east-1a",)}, "us-east-1", "aws.availability_zones", "at least two zones"),
        (
            {"availability_zones": ("us-east-1a", "us-east-1a")},
            "us-east-1",
            "aws.availability_zones",
            "each named once",
        ),
        (
            {"availability_zones": ("us-east-1a", "us-west-2a")},
            "us-east-1",
            "aws.availability_zones",
            "no zone of the region us-east-1",
        ),
        ({"log_retention_days": 91}, "us-east-1", "aws.log_retention_days", "no retention"),
        ({"system_min_nodes": 9}, "us-east-1", "aws.system_min_nodes", "more than system_max_nodes, 6"),
        ({"vpc_cidr": "10.64.1.0/16"}, "us-east-1", "aws.vpc_cidr", "no private network"),
        ({"vpc_cidr": "127.0.0.0/16"}, "us-east-1", "aws.vpc_cidr", "no private network"),
        ({"vpc_cidr": "8.8.0.0/16"}, "us-east-1", "aws.vpc_cidr", "no private network"),
        ({"lustre_gib": 3600}, "us-east-1", "aws.lustre_gib", "a multiple of 2,400"),
    ],
)
def test_what_an_environment_cannot_have(settings: dict[str, Any], region: str, field: str, message: str) -> None:
    wanted = EnvironmentWish(name="", region=region, weights_store="node-disk", settings=AwsSettings(**settings))
    (found,) = RULES.check_environment(wanted)
    assert found.field == field
    assert message in found.message


def test_defaults_are_possible() -> None:
    assert list(RULES.check_environment(ENVIRONMENT)) == []


def test_a_broken_setting_does_not_hide_the_others() -> None:
    raw = sample(cloud="aws", region="us-west-1", aws={"nat_gateways": "two", "system_min_nodes": 9})
    found = errors(raw)
    assert [line.partition(":")[0] for line in found] == [
        "aws.nat_gateways",
        "aws.availability_zones",
        "aws.system_min_nodes",
    ]


def test_the_default_zones_are_there() -> None:
    """The list of zones that moto 5.2.5 was made with; an account's own may differ, which preflight finds."""
    known = {region: {zone.name for zone in zones} for region, zones in RegionsAndZonesBackend.zones.items()}
    assert len(known) > 20
    for region, zones in known.items():
        assert set(default_zones(region)) <= zones or region in NO_COMMON_ZONES, region


def test_capacity_blocks_are_for_machines_of_the_catalogue() -> None:
    families = {key.partition(".")[0] for key, row in instances().items() if row.cloud == "aws"}
    assert set(CAPACITY_BLOCK_FAMILIES) <= families


def test_a_bucket_is_filled_by_a_job() -> None:
    """Mountpoint for S3 has no rename, by which an engine's own download ends."""
    assert errors(sample(cloud="aws", serving_stack="manifests", weights__store="object-store")) == [
        "weights.preload: engines would load models into the bucket themselves, and cannot: a mounted bucket has no "
        "rename (got False). Set weights.preload: true; what is in the bucket already is not loaded again."
    ]
    assert (
        errors(sample(cloud="aws", serving_stack="manifests", weights={"store": "object-store", "preload": True})) == []
    )
