"""Whether an account can hold what an environment can grow to, read with the cloud's own SDK before anything is made.

Importing this loads no SDK; `load_preflight` loads the chosen cloud's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from components.clouds.rules import CloudSettings, PoolWish

READERS: Final[Mapping[str, str]] = {
    "aws": "stacks.preflight.aws",
    "azure": "stacks.preflight.azure",
    "gcp": "stacks.preflight.gcp",
}
"""Module of each cloud whose accounts can be read; it has an attribute ``PREFLIGHT``."""


@dataclass(frozen=True, kw_only=True)
class QuotaRow:
    """A limit of the account, and what the environment may take of it. Pools that share a limit share a row.

    Attributes:
        cloud: name.
        region: where the limit counts.
        quota: the cloud's name of the limit.
        instance_type: machines that draw on it, with commas between.
        gpu: their GPUs, keys of the catalogue, with commas between; "" for CPU nodes.
        limit: most of the account; None if the cloud does not say.
        used: by others: what carries the environment's tag is left out, where the cloud can tell.
        unit: of limit, used and needed, e.g. vCPU.
        needed: by the environment at its largest.
    """

    cloud: str
    region: str
    quota: str
    instance_type: str
    gpu: str
    limit: float | None
    used: float
    unit: str
    needed: float

    @property
    def fits(self) -> bool:
        """Whether there is enough; an unknown limit counts as enough, and is said."""
        return self.limit is None or self.used + self.needed <= self.limit


@dataclass(frozen=True, kw_only=True)
class OfferRow:
    """Where a machine is to be had at all.

    Attributes:
        instance_type: the machine.
        zones: of the region that offer it.
        wanted: zones where the environment would put it.
    """

    instance_type: str
    zones: tuple[str, ...]
    wanted: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether one of the wanted zones offers it; any zone will do where none is named."""
        return bool(set(self.zones) & set(self.wanted)) if self.wanted else bool(self.zones)


@dataclass(frozen=True, kw_only=True)
class SpotPriceRow:
    """What a spot machine costs in a zone.

    Attributes:
        instance_type: the machine.
        zone: "" where prices are the region's.
        price: latest, US dollars per hour.
        as_of: since when, ISO 8601.
        lowest: of the history that was read; None if the cloud publishes none.
        highest: likewise.
    """

    instance_type: str
    zone: str
    price: float
    as_of: str
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True, kw_only=True)
class PreflightReport:
    """What was found.

    Attributes:
        cloud: name.
        region: that was read.
        account: whose; the cloud's id of it.
        quotas: limits.
        offers: where machines are to be had.
        spot_prices: of the pools that use spot.
        problems: what else keeps the environment from growing to its largest, a sentence each.
        notes: what could not be found out, a sentence each.
    """

    cloud: str
    region: str
    account: str
    quotas: Sequence[QuotaRow] = ()
    offers: Sequence[OfferRow] = ()
    spot_prices: Sequence[SpotPriceRow] = ()
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def fits(self) -> bool:
        """Whether the environment can grow to its largest, as far as an account says."""
        enough, offered = all(row.fits for row in self.quotas), all(row.fits for row in self.offers)
        return enough and offered and not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            **asdict(self),
            "quotas": [{**asdict(row), "fits": row.fits} for row in self.quotas],
            "offers": [{**asdict(row), "fits": row.fits} for row in self.offers],
            "fits": self.fits,
        }


class Preflight(Protocol):
    """Reads accounts of one cloud. One object per cloud, attribute ``PREFLIGHT`` of its module."""

    def read(
        self, region: str, wishes: Sequence[PoolWish], settings: CloudSettings | None, environment: str
    ) -> PreflightReport:
        """Read the account that the cloud's own SDK finds credentials for; changes nothing.

        Args:
            region: where the environment goes.
            wishes: its pools.
            settings: its section for the cloud; None for all defaults.
            environment: its name: what carries it as a tag is the environment's own.

        Raises:
            PreflightError: no credentials, not allowed to look, or nobody answers.
        """
        ...


class PreflightError(Exception):
    """The account cannot be read; the message says why and what to do."""


def load_preflight(cloud: str) -> Preflight:
    """The reader of a cloud.

    Raises:
        PreflightError: there is none, or its SDK is not installed.
    """
    if cloud not in READERS:
        raise PreflightError(f"cloud {cloud} has no account to read; accounts can be read of: {', '.join(READERS)}")
    try:
        reader: Preflight = importlib.import_module(READERS[cloud]).PREFLIGHT
    except ModuleNotFoundError as error:
        message = f"reading an account of {cloud} needs the package {error.name}: pip install '.[{cloud}]'"
        raise PreflightError(message) from error
    return reader
