"""What an AWS account has: quota in vCPU, zones that offer a machine, spot prices of the last week, reservations.

Reads only: ec2:Describe*, servicequotas:GetServiceQuota and sts:GetCallerIdentity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from boto3 import Session
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from components.clouds.aws.places import default_zones
from components.clouds.aws.settings import AwsSettings
from components.clouds.rules import CloudSettings, PoolWish
from components.labels import ENVIRONMENT
from stacks.preflight import OfferRow, Preflight, PreflightError, PreflightReport, QuotaRow, SpotPriceRow

QUOTAS: Final[Mapping[tuple[str, bool], tuple[str, str]]] = {
    ("g", False): ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    ("p", False): ("L-417A185B", "Running On-Demand P instances"),
    ("standard", False): ("L-1216C47A", "Running On-Demand Standard instances"),
    ("g", True): ("L-3819A6DF", "All G and VT Spot Instance Requests"),
    ("p4", True): ("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"),
    ("p5", True): ("L-C4BD4855", "All P5 Spot Instance Requests"),
}
"""Code and name of a quota in vCPU, by group of families and whether it is of spot machines (Service Quotas, EC2)."""

STANDARD: Final = frozenset("acdhimrtz")
"""First letters of the families that count as standard."""

HISTORY: Final = timedelta(days=7)
CREDENTIALS: Final = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login`"


class AwsPreflight:
    """Reads an account through boto3."""

    def read(
        self, region: str, wishes: Sequence[PoolWish], settings: CloudSettings | None, environment: str
    ) -> PreflightReport:
        """Read the account that boto3 finds credentials for.

        Raises:
            PreflightError: no credentials, not allowed, or AWS does not answer.
        """
        chosen = settings if isinstance(settings, AwsSettings) else AwsSettings()
        with told_simply():
            session = Session(region_name=region)
            return _Account(session, region, chosen, environment).report(wishes)


class _Account:
    """One account in one region."""

    def __init__(self, session: Session, region: str, settings: AwsSettings, environment: str) -> None:
        self._session, self._region, self._settings, self._environment = session, region, settings, environment
        self._ec2 = session.client("ec2")
        self._zones = settings.availability_zones or default_zones(region)

    def report(self, wishes: Sequence[PoolWish]) -> PreflightReport:
        # First: it fails where there are no credentials, and before anything else is asked.
        account = self._session.client("sts").get_caller_identity()["Account"]
        system = self._settings.system_instance_type
        wanted = sorted({*(wish.instance_type for wish in wishes), system})
        there = self._offers(wanted)
        vcpus = self._vcpus([name for name in wanted if there[name]])
        quotas = self._quotas(wishes, vcpus)
        offers = self._offer_rows(wishes, there)
        unknown = [f"AWS does not say the limit of {row.quota} here" for row in quotas if row.limit is None]
        return PreflightReport(
            cloud="aws",
            region=self._region,
            account=account,
            quotas=quotas,
            offers=offers,
            spot_prices=self._spot_prices(sorted({wish.instance_type for wish in wishes if _spot(wish)})),
            problems=[*self._missing_zones(), *self._reservations(wishes)],
            notes=[*unknown, *_partial(offers)],
        )

    def _offers(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Zones of the region that offer each machine."""
        pages = self._ec2.get_paginator("describe_instance_type_offerings").paginate(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": list(names)}]
        )
        found: dict[str, list[str]] = {name: [] for name in names}
        for page in pages:
            for offer in page["InstanceTypeOfferings"]:
                if offer["InstanceType"] in found:
                    found[offer["InstanceType"]].append(offer["Location"])
        return {name: tuple(sorted(zones)) for name, zones in found.items()}

    def _offer_rows(self, wishes: Sequence[PoolWish], there: Mapping[str, tuple[str, ...]]) -> list[OfferRow]:
        rows = {(wish.instance_type, tuple(wish.zones or self._zones)): None for wish in wishes} | {
            (self._settings.system_instance_type, tuple(self._zones)): None
        }
        return [OfferRow(instance_type=name, zones=there[name], wanted=zones) for name, zones in rows]

    def _vcpus(self, names: Sequence[str]) -> dict[str, int]:
        if not names:
            return {}
        pages = self._ec2.get_paginator("describe_instance_types").paginate(InstanceTypes=list(names))
        return {
            found["InstanceType"]: found["VCpuInfo"]["DefaultVCpus"]
            for page in pages
            for found in page["InstanceTypes"]
        }

    def _quotas(self, wishes: Sequence[PoolWish], vcpus: Mapping[str, int]) -> list[QuotaRow]:
        """One row per limit; reserved machines are counted when they are reserved."""
        draws = [(self._settings.system_instance_type, "", False, self._settings.system_max_nodes)]
        for wish in wishes:
            if wish.capacity_type in {"on-demand", "spot-with-fallback"}:
                draws.append((wish.instance_type, wish.accelerator, False, wish.max_nodes))
            if _spot(wish):
                draws.append((wish.instance_type, wish.accelerator, True, wish.max_nodes))
        groups: dict[tuple[str, bool], list[tuple[str, str, float]]] = {}
        for name, gpu, spot, nodes in draws:
            if name in vcpus:
                groups.setdefault((group_of(name, spot=spot), spot), []).append((name, gpu, vcpus[name] * nodes))
        used = self._used()
        return [
            QuotaRow(
                cloud="aws",
                region=self._region,
                quota=QUOTAS[group][1] if group in QUOTAS else f"{'Spot' if group[1] else 'On-Demand'} {group[0]}",
                instance_type=", ".join(sorted({name for name, _, _ in drawn})),
                gpu=", ".join(sorted({gpu for _, gpu, _ in drawn if gpu})),
                limit=self._limit(group),
                used=used.get(group, 0),
                unit="vCPU",
                needed=sum(amount for _, _, amount in drawn),
            )
            for group, drawn in groups.items()
        ]

    def _limit(self, group: tuple[str, bool]) -> float | None:
        if group not in QUOTAS:
            return None
        client = self._session.client("service-quotas")
        try:
            answer = client.get_service_quota(ServiceCode="ec2", QuotaCode=QUOTAS[group][0])
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchResourceException":
                return None
            raise
        return float(answer["Quota"]["Value"])

    def _used(self) -> dict[tuple[str, bool], float]:
        """VCPUs of machines that run and are not the environment's own."""
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        )
        running = [
            (machine["InstanceType"], machine.get("InstanceLifecycle") == "spot")
            for page in pages
            for reservation in page["Reservations"]
            for machine in reservation["Instances"]
            if {"Key": ENVIRONMENT, "Value": self._environment} not in machine.get("Tags", [])
        ]
        vcpus = self._vcpus(sorted({name for name, _ in running}))
        used: dict[tuple[str, bool], float] = {}
        for name, spot in running:
            group = (group_of(name, spot=spot), spot)
            used[group] = used.get(group, 0) + vcpus.get(name, 0)
        return used

    def _spot_prices(self, names: Sequence[str]) -> list[SpotPriceRow]:
        """The latest price in each zone of the network, with the week's lowest and highest."""
        if not names:
            return []
        pages = self._ec2.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=list(names),
            ProductDescriptions=["Linux/UNIX"],
            StartTime=datetime.now(tz=UTC) - HISTORY,
        )
        history: dict[tuple[str, str], list[tuple[datetime, float]]] = {}
        for page in pages:
            for price in page["SpotPriceHistory"]:
                if price["AvailabilityZone"] in self._zones and price["InstanceType"] in names:
                    place = (price["InstanceType"], price["AvailabilityZone"])
                    history.setdefault(place, []).append((price["Timestamp"], float(price["SpotPrice"])))
        return [
            SpotPriceRow(
                instance_type=name,
                zone=zone,
                price=max(prices)[1],
                as_of=max(prices)[0].isoformat(),
                lowest=min(price for _, price in prices),
                highest=max(price for _, price in prices),
            )
            for (name, zone), prices in sorted(history.items())
        ]

    def _missing_zones(self) -> list[str]:
        zones = self._ec2.describe_availability_zones()["AvailabilityZones"]
        there = {zone["ZoneName"] for zone in zones if zone["State"] == "available"}
        missing = [zone for zone in self._zones if zone not in there]
        if not missing:
            return []
        names = ", ".join(sorted(there))
        return [f"the account has no zone {', '.join(missing)}: name two or three in aws.availability_zones: {names}"]

    def _reservations(self, wishes: Sequence[PoolWish]) -> Iterator[str]:
        """What of the reservations does not go with the pool."""
        for wish in wishes:
            if not wish.reservation_id.startswith("cr-"):
                continue
            try:
                found = self._ec2.describe_capacity_reservations(CapacityReservationIds=[wish.reservation_id])
            except ClientError as error:
                if not error.response["Error"]["Code"].startswith("InvalidCapacityReservationId"):
                    raise
                yield f"pool {wish.name}: the account has no reservation {wish.reservation_id} here"
                continue
            for reservation in found["CapacityReservations"]:
                yield from _unfit(wish, reservation)


def _partial(offers: Sequence[OfferRow]) -> Iterator[str]:
    """Zones that would be tried in vain."""
    for row in offers:
        missing = [zone for zone in row.wanted if zone not in row.zones]
        if row.fits and missing:
            where = ", ".join(missing)
            yield f"{row.instance_type} is not to be had in {where}: its pools get nodes in the other zones"


def _unfit(wish: PoolWish, reservation: Mapping[str, Any]) -> Iterator[str]:
    about = f"pool {wish.name}: the reservation {wish.reservation_id} is"
    if reservation["InstanceType"] != wish.instance_type:
        yield f"{about} for {reservation['InstanceType']}, and the pool has {wish.instance_type}"
    if wish.zones and reservation["AvailabilityZone"] not in wish.zones:
        yield f"{about} in {reservation['AvailabilityZone']}, and the pool in {', '.join(wish.zones)}"
    if reservation["TotalInstanceCount"] < wish.max_nodes:
        yield f"{about} for {reservation['TotalInstanceCount']} machines, and max_nodes is {wish.max_nodes}"
    if reservation["State"] not in {"active", "scheduled"}:
        yield f"{about} {reservation['State']}"


def _spot(wish: PoolWish) -> bool:
    return wish.capacity_type in {"spot", "spot-with-fallback"}


def group_of(instance_type: str, *, spot: bool) -> str:
    """Families that share a quota: g and vt, p, standard; spot quotas split p by generation."""
    family = instance_type.partition(".")[0]
    if family.startswith(("g", "vt")):
        return "g"
    if family.startswith("p"):
        if not spot:
            return "p"
        return "p4" if family[1:2] in {"2", "3", "4"} else family[:2]
    return "standard" if family[0] in STANDARD else family


@contextmanager
def told_simply() -> Iterator[None]:
    """Turn what boto3 raises into one sentence that says what to do.

    Raises:
        PreflightError: no credentials, not allowed, or AWS does not answer.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise PreflightError(f"no credentials for AWS: {CREDENTIALS}") from error
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
        raise PreflightError(f"AWS refuses {error.operation_name} ({code}: {message}): {CREDENTIALS}") from error
    except BotoCoreError as error:
        raise PreflightError(f"AWS cannot be asked ({error}): {CREDENTIALS}") from error


PREFLIGHT: Final[Preflight] = AwsPreflight()
