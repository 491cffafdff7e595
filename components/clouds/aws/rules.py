"""What AWS says about a configuration: what EKS, EC2 and Karpenter cannot do, and why."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Final

from components.clouds.aws.places import DEFAULT_REGION, NO_COMMON_ZONES, REGION, default_zones
from components.clouds.aws.settings import AwsSettings, SharedFiles
from components.clouds.rules import (
    CloudRules,
    CloudSettings,
    EnvironmentWish,
    Objection,
    PoolWish,
    TaintFacts,
    too_small_for_the_models,
)

CAPACITY_BLOCK_FAMILIES: Final = ("p4d", "p4de", "p5", "p5e", "p5en", "p6-b200")
"""GPU families of the catalogue that Capacity Blocks for ML are sold for (EC2 user guide, Capacity Blocks)."""

RESERVATION_KINDS: Final = ("capacity-block", "reservation")
RESERVATION_ID: Final = re.compile(r"^cr-[0-9a-f]{8,17}$")
RESERVATION_GROUP: Final = re.compile(r"^arn:aws(-cn|-us-gov)?:resource-groups:[a-z0-9-]+:[0-9]{12}:group/[\w.-]+$")

LOG_RETENTION_DAYS: Final = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557)
LOG_RETENTION_YEARS: Final = (2922, 3288, 3653)
"""Retention that CloudWatch Logs takes, days (PutRetentionPolicy)."""

FEWEST_ZONES: Final = 2

RFC_1918: Final = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""Addresses of private networks."""

SMALLEST_LUSTRE: Final = 1200
LUSTRE_STEP: Final = 2400
"""Sizes of an FSx for Lustre file system on SSD, GiB."""


class AwsRules:
    """EKS with managed node groups and Karpenter."""

    settings: type[CloudSettings] | None = AwsSettings
    default_region = DEFAULT_REGION
    installs = True
    spot_grace_seconds: int | None = 120
    """EC2's interruption notice. EKS drains managed nodes, Karpenter its own (Amazon EKS user guide)."""

    def gpu_resource(self, pool: PoolWish) -> str:
        """The device plugin's names: AL2023 has the driver and the container toolkit, the plugin is ours."""
        return ""

    def extra_taints(self, pool: PoolWish) -> Sequence[TaintFacts]:
        """None: EKS adds no taint of its own to managed node groups."""
        return ()

    def check_pool(self, pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
        """What of a pool it cannot do."""
        yield from _check_reservation(pool)
        yield from _check_karpenter(pool)
        yield from _check_zones(pool, environment)

    def check_environment(self, environment: EnvironmentWish) -> Iterator[Objection]:
        """What of the environment it cannot do."""
        region = environment.region or DEFAULT_REGION
        if not REGION.match(region):
            yield Objection(
                field="region",
                value=region,
                message="no region of AWS",
                choices=(DEFAULT_REGION, "us-east-2", "us-west-2", "eu-central-1", "eu-west-1", "ap-northeast-1"),
            )
            return
        settings = settings_of(environment)
        yield from _check_environment_zones(region, settings)
        yield from _check_settings(settings)
        yield from _check_weights(environment)
        if settings.shared_files is SharedFiles.FSX_LUSTRE:
            yield from too_small_for_the_models("aws.lustre_gib", settings.lustre_gib, environment)


def _check_weights(environment: EnvironmentWish) -> Iterator[Objection]:
    if environment.weights_store == "object-store" and not environment.preload:
        yield Objection(
            field="weights.preload",
            value=False,
            message="engines would load models into the bucket themselves, and cannot: a mounted bucket has no rename",
            fix="Set weights.preload: true; what is in the bucket already is not loaded again.",
        )


def settings_of(environment: EnvironmentWish) -> AwsSettings:
    """The section `aws`; defaults for what it does not say, or says wrongly (which is reported elsewhere)."""
    found = environment.settings
    return AwsSettings(**vars(found)) if isinstance(found, AwsSettings) else AwsSettings()


def zones_of(environment: EnvironmentWish) -> tuple[str, ...]:
    """Zones of the environment's network."""
    named = settings_of(environment).availability_zones
    return named or default_zones(environment.region or DEFAULT_REGION)


def _check_reservation(pool: PoolWish) -> Iterator[Objection]:
    if pool.capacity_type != "reserved":
        return
    if not pool.reservation_kind:
        yield Objection(
            field="reservation",
            value=None,
            message="required with capacity_type reserved: nodes come from a reservation that exists",
            fix="Give its kind (capacity-block or reservation) and its id (cr-...).",
        )
        return
    if pool.reservation_kind not in RESERVATION_KINDS:
        yield Objection(
            field="reservation.kind",
            value=pool.reservation_kind,
            message="AWS has no such reservation: queued and flex-start are Google Cloud's",
            choices=RESERVATION_KINDS,
        )
        return
    yield from _check_reservation_id(pool)
    if pool.reservation_kind == "capacity-block":
        yield from _check_capacity_block(pool)


def _check_reservation_id(pool: PoolWish) -> Iterator[Objection]:
    group = pool.reservation_kind == "reservation" and RESERVATION_GROUP.match(pool.reservation_id)
    if not group and not RESERVATION_ID.match(pool.reservation_id):
        also = " or the ARN of a resource group of reservations" if pool.reservation_kind == "reservation" else ""
        yield Objection(
            field="reservation.id",
            value=pool.reservation_id or None,
            message=f"required: the id of the reservation, cr- and 8 to 17 hexadecimal digits{also}",
            fix="`aws ec2 describe-capacity-reservations` lists them.",
        )
    elif not group and len(pool.zones) != 1:
        yield Objection(
            field="zones",
            value=list(pool.zones) or None,
            message="a reservation is in one zone, and nodes of any other would not find it",
            fix="Name the reservation's zone, and only that.",
        )


def _check_capacity_block(pool: PoolWish) -> Iterator[Objection]:
    if pool.instance_type.partition(".")[0] not in CAPACITY_BLOCK_FAMILIES:
        yield Objection(
            field="reservation.kind",
            value=pool.reservation_kind,
            message=f"Capacity Blocks are sold for {', '.join(CAPACITY_BLOCK_FAMILIES)}, not for {pool.instance_type}",
            choices=("reservation",),
        )


def _check_karpenter(pool: PoolWish) -> Iterator[Objection]:
    if pool.provisioner != "auto":
        return
    if pool.sharing != "none":
        yield Objection(
            field="provisioner",
            value=pool.provisioner,
            message=f"Karpenter counts whole GPUs when it looks for a machine: a pod that asks for a slice "
            f"({pool.sharing}) would wait forever (kubernetes-sigs/karpenter issue 729)",
            choices=("node-group",),
        )
    if RESERVATION_GROUP.match(pool.reservation_id):
        yield Objection(
            field="reservation.id",
            value=pool.reservation_id,
            message="Karpenter selects reservations one by one, not by resource group",
            fix="Give the id of one (cr-...), or use provisioner: node-group.",
        )
    if pool.min_nodes:
        yield Objection(
            field="min_nodes",
            value=pool.min_nodes,
            message="Karpenter makes nodes for pods and keeps none without",
            choices=("0",),
            fix="Set it to 0 and keep a replica with scaling.min_replicas, or use provisioner: node-group.",
        )


def _check_zones(pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
    zones = zones_of(environment)
    for zone in pool.zones:
        if zones and zone not in zones:
            yield Objection(
                field="zones",
                value=zone,
                message="not one of the network's zones",
                choices=zones,
                fix="Choose from these, or name the network's zones in aws.availability_zones.",
            )


def _check_environment_zones(region: str, settings: AwsSettings) -> Iterator[Objection]:
    named = settings.availability_zones
    if not named and region in NO_COMMON_ZONES:
        yield Objection(
            field="aws.availability_zones",
            value=None,
            message=f"required in {region}: each account sees two of its zones, not everyone the same",
            fix="`aws ec2 describe-availability-zones` lists yours.",
        )
    elif named and (len(set(named)) < FEWEST_ZONES or len(set(named)) != len(named)):
        yield Objection(
            field="aws.availability_zones",
            value=list(named),
            message="EKS asks for at least two zones, each named once",
            choices=default_zones(region),
        )
    for zone in named:
        if zone[:-1] != region:
            yield Objection(
                field="aws.availability_zones",
                value=zone,
                message=f"no zone of the region {region}",
                choices=default_zones(region),
            )


def _private(cidr: str) -> bool:
    try:
        network = ipaddress.IPv4Network(cidr)
    except ValueError:
        return False
    # Not `is_private`, which loopback and link-local addresses are too.
    return any(network.subnet_of(block) for block in RFC_1918)


def _check_settings(settings: AwsSettings) -> Iterator[Objection]:
    known = (*LOG_RETENTION_DAYS, *LOG_RETENTION_YEARS)
    if settings.log_retention_days not in known:
        yield Objection(
            field="aws.log_retention_days",
            value=settings.log_retention_days,
            message="no retention that CloudWatch Logs takes",
            choices=tuple(
                str(days) for days in sorted(known, key=lambda days: abs(days - settings.log_retention_days))
            ),
        )
    if settings.system_min_nodes > settings.system_max_nodes:
        yield Objection(
            field="aws.system_min_nodes",
            value=settings.system_min_nodes,
            message=f"is more than system_max_nodes, {settings.system_max_nodes}",
            fix=f"Lower it to {settings.system_max_nodes} or raise system_max_nodes.",
        )
    if not _private(settings.vpc_cidr):
        yield Objection(
            field="aws.vpc_cidr",
            value=settings.vpc_cidr,
            message="no private network that starts at its first address (RFC 1918)",
            choices=("10.64.0.0/16", "172.20.0.0/16", "192.168.0.0/16"),
        )
    if settings.lustre_gib != SMALLEST_LUSTRE and settings.lustre_gib % LUSTRE_STEP:
        above = -(-settings.lustre_gib // LUSTRE_STEP) * LUSTRE_STEP
        yield Objection(
            field="aws.lustre_gib",
            value=settings.lustre_gib,
            message="FSx for Lustre takes 1,200 GiB or a multiple of 2,400",
            choices=(str(above), str(above - LUSTRE_STEP or SMALLEST_LUSTRE)),
        )


RULES: Final[CloudRules] = AwsRules()
