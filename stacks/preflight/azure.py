"""Whether an Azure subscription can hold an environment: quota in virtual CPUs, zones, spot prices.

Reads only: Microsoft.Compute/skus/read and Microsoft.Compute/locations/usages/read, which the role Reader has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from components.clouds.azure.settings import AzureSettings
from components.clouds.rules import CloudSettings, PoolWish
from stacks.preflight import OfferRow, Preflight, PreflightError, PreflightReport, QuotaRow, SpotPriceRow
from stacks.preflight.azure_account import (
    REGION_QUOTA,
    SPOT_QUOTA,
    AzureAccount,
    AzureAccountError,
    Machine,
    Quota,
    named_subscription,
)

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.pipeline.transport import HttpTransport

OWN_MACHINES: Final = (
    "Azure counts the machines of this environment that run already as used, and they are needed again"
)

REGULAR: Final = frozenset({"on-demand", "spot-with-fallback"})
SPOT: Final = frozenset({"spot", "spot-with-fallback"})
"""Reserved machines take quota when they are reserved."""


class AzurePreflight:
    """Reads a subscription through Azure's own clients."""

    def __init__(
        self,
        subscription: str | None = None,
        credential: TokenCredential | None = None,
        transport: HttpTransport[Any, Any] | None = None,
    ) -> None:
        """Prepare; nothing is asked yet.

        Args:
            subscription: its id; None for the one that the environment or `az account` names.
            credential: None for the one that azure-identity finds.
            transport: of HTTP; None for the network.
        """
        self._subscription, self._credential, self._transport = subscription, credential, transport

    def read(
        self,
        region: str,
        wishes: Sequence[PoolWish],
        settings: CloudSettings | None,
        environment: str,  # noqa: ARG002 - Azure's usage names no owners
    ) -> PreflightReport:
        """Read the subscription that is signed in to.

        Raises:
            PreflightError: not signed in, not allowed, or Azure does not answer.
        """
        chosen = settings if isinstance(settings, AzureSettings) else AzureSettings()
        system = chosen.system_pool
        try:
            subscription = self._subscription or named_subscription()
            account = AzureAccount(region, subscription, self._credential, self._transport)
            machines = account.machines([*(wish.instance_type for wish in wishes), system.vm_size])
            quotas = account.quotas()
            prices = account.spot_prices([wish.instance_type for wish in wishes if wish.capacity_type in SPOT])
        except AzureAccountError as error:
            raise PreflightError(str(error)) from error
        rows = list(
            _quota_rows(region, [*_draws(wishes), ("", system.vm_size, False, system.max_nodes)], machines, quotas)
        )
        wanted = [(wish.instance_type, tuple(wish.zones)) for wish in wishes] + [(system.vm_size, tuple(system.zones))]
        return PreflightReport(
            cloud="azure",
            region=region,
            account=subscription,
            quotas=rows,
            offers=[_offer(name, zones, machines.get(name), region) for name, zones in dict.fromkeys(wanted)],
            spot_prices=[
                SpotPriceRow(instance_type=price.machine, zone="", price=price.dollars_per_hour, as_of=price.since)
                for price in prices
            ],
            problems=[
                f"{machine.name} is closed to the subscription in {region} ({machine.reason}): ask Azure to open it"
                for machine in machines.values()
                if not machine.offered
            ],
            notes=[
                *(f"Azure does not say the limit of {row.quota} here" for row in rows if row.limit is None),
                *([OWN_MACHINES] if any(row.used for row in rows) else []),
            ],
        )


def _draws(wishes: Sequence[PoolWish]) -> Iterator[tuple[str, str, bool, int]]:
    """GPU, machine, whether it is spot, and how many, for each agent pool."""
    for wish in wishes:
        if wish.capacity_type in REGULAR:
            yield wish.accelerator, wish.instance_type, False, wish.max_nodes
        if wish.capacity_type in SPOT:
            yield wish.accelerator, wish.instance_type, True, wish.max_nodes


def _quota_rows(
    region: str,
    draws: Sequence[tuple[str, str, bool, int]],
    machines: Mapping[str, Machine],
    quotas: Mapping[str, Quota],
) -> Iterator[QuotaRow]:
    """One row per limit: of each family, of the region, and of the region's spot machines."""
    # Resource SKUs and quotas spell families with different capitals.
    limits = {name.casefold(): quota for name, quota in quotas.items()}
    drawn: dict[str, list[tuple[str, str, int]]] = {}
    for gpu, name, spot, nodes in draws:
        if name not in machines:
            continue
        machine = machines[name]
        for quota in (SPOT_QUOTA,) if spot else (machine.family, REGION_QUOTA):
            drawn.setdefault(quota, []).append((name, gpu, machine.vcpus * nodes))
    for quota, parts in drawn.items():
        limit = limits.get(quota.casefold())
        yield QuotaRow(
            cloud="azure",
            region=region,
            quota=quota,
            instance_type=", ".join(sorted({name for name, _, _ in parts})),
            gpu=", ".join(sorted({gpu for _, gpu, _ in parts if gpu})),
            limit=limit.limit if limit else None,
            used=limit.used if limit else 0,
            unit="vCPU",
            needed=sum(amount for _, _, amount in parts),
        )


def _offer(name: str, wanted: tuple[str, ...], machine: Machine | None, region: str) -> OfferRow:
    """Where a machine is to be had: its zones, or the region where that has none."""
    if machine is None or not machine.offered:
        return OfferRow(instance_type=name, zones=(), wanted=wanted)
    return OfferRow(instance_type=name, zones=machine.zones or (region,), wanted=wanted)


PREFLIGHT: Final[Preflight] = AzurePreflight()
