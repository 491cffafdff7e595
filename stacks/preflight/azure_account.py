"""What an Azure subscription has: quota for machines, zones that offer them, list prices of spot.

Quota is counted in virtual CPUs: one number per machine family for what is bought regularly, and one of the region for
all spot machines together (learn.microsoft.com, per-VM quota requests and spot quota). Prices are Azure's public
Retail Prices API, which needs no sign-in; Azure publishes today's price and since when, not a history.
"""

from __future__ import annotations

import logging
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.pipeline.transport import HttpTransport

SPOT_QUOTA: Final = "lowPriorityCores"
"""Name of the region's quota for all spot machines together."""

REGION_QUOTA: Final = "cores"
"""Name of the region's quota for all machines that are no spot."""

PRICES: Final = "https://prices.azure.com"

SUBSCRIPTION_VARIABLES: Final = ("ARM_SUBSCRIPTION_ID", "AZURE_SUBSCRIPTION_ID")

SIGN_IN: Final = (
    "run `az login` and `az account set --subscription ID`, or set ARM_SUBSCRIPTION_ID and AZURE_CLIENT_ID, "
    "AZURE_TENANT_ID, AZURE_CLIENT_SECRET"
)


class AzureAccountError(Exception):
    """The subscription cannot be read; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A VM size as a subscription sees it in a region.

    Attributes:
        name: of the size.
        family: whose quota it takes.
        vcpus: of one machine.
        zones: where this subscription may have it; () where the region has no zones.
        offered: whether this subscription may have it in the region at all.
        reason: why not, in Azure's word; "" if it may.
    """

    name: str
    family: str
    vcpus: int
    zones: tuple[str, ...]
    offered: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """A limit of the subscription in a region, in virtual CPUs.

    Attributes:
        name: Azure's, e.g. standardNDSH100v5Family.
        used: of it.
        limit: most.
    """

    name: str
    used: int
    limit: int


@dataclass(frozen=True, kw_only=True)
class SpotPrice:
    """A price.

    Attributes:
        machine: VM size.
        dollars_per_hour: of one machine.
        since: date from which it counts, ISO.
    """

    machine: str
    dollars_per_hour: float
    since: str


class AzureAccount:
    """Reads a subscription through Azure's own clients."""

    def __init__(
        self,
        region: str,
        subscription: str | None = None,
        credential: TokenCredential | None = None,
        transport: HttpTransport[Any, Any] | None = None,
    ) -> None:
        """Prepare to read; nothing is asked yet.

        Args:
            region: Azure's name.
            subscription: its id; None for the one that the environment or `az account` names.
            credential: None for the one that azure-identity finds.
            transport: of HTTP; None for the network.

        Raises:
            AzureAccountError: no subscription is named anywhere, or the clients are not installed.
        """
        try:
            from azure.core import PipelineClient
            from azure.identity import DefaultAzureCredential
            from azure.mgmt.compute import ComputeManagementClient
        except ModuleNotFoundError as error:
            raise AzureAccountError(f"the package {error.name} is not installed: pip install '.[azure]'") from error
        # Without credentials it would write a page on each way to sign in that it tried; we say one sentence.
        logging.getLogger("azure.identity").setLevel(logging.ERROR)
        options: dict[str, Any] = {} if transport is None else {"transport": transport}
        self._region = region
        self._compute = ComputeManagementClient(
            credential or DefaultAzureCredential(), subscription or named_subscription(), **options
        )
        self._prices: PipelineClient[Any, Any] = PipelineClient(PRICES, **options)

    def machines(self, names: Iterable[str]) -> dict[str, Machine]:
        """These VM sizes, by name; without those that the region does not have.

        Raises:
            AzureAccountError: not signed in, not allowed, or Azure does not answer.
        """
        wanted = set(names)
        with _told_simply():
            rows = [
                row
                for row in self._compute.resource_skus.list(filter=f"location eq '{self._region}'")
                if row.resource_type == "virtualMachines" and row.name in wanted
            ]
        return {str(row.name): machine_of(row.as_dict()) for row in rows}

    def quotas(self) -> dict[str, Quota]:
        """The region's quotas of machines, by name.

        Raises:
            AzureAccountError: not signed in, not allowed, or Azure does not answer.
        """
        with _told_simply():
            rows = list(self._compute.usage.list(self._region))
        return {
            str(row.name.value): Quota(name=str(row.name.value), used=int(row.current_value), limit=int(row.limit))
            for row in rows
        }

    def spot_prices(self, names: Sequence[str]) -> list[SpotPrice]:
        """Today's spot prices of these VM sizes on Linux.

        Raises:
            AzureAccountError: Azure does not answer.
        """
        if not names:
            return []
        sizes = " or ".join(f"armSkuName eq '{name}'" for name in sorted(set(names)))
        query = (
            f"serviceName eq 'Virtual Machines' and armRegionName eq '{self._region}' and priceType eq 'Consumption' "
            f"and contains(skuName, 'Spot') and ({sizes})"
        )
        with _told_simply():
            found = list(self._pages("/api/retail/prices", {"$filter": query}))
        return sorted(spot_prices_of(found), key=lambda price: price.machine)

    def _pages(self, path: str, parameters: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        from azure.core.rest import HttpRequest

        request: HttpRequest | None = HttpRequest("GET", path, params=dict(parameters))
        while request is not None:
            response = self._prices.send_request(request)
            response.raise_for_status()
            page = response.json()
            yield from page["Items"]
            following = page.get("NextPageLink")
            request = HttpRequest("GET", following) if following else None


def machine_of(row: Mapping[str, Any]) -> Machine:
    """A VM size from a row of Azure's resource SKUs."""
    capabilities = {item["name"]: item["value"] for item in row.get("capabilities", ())}
    zones = {zone for place in row.get("locationInfo", ()) for zone in place.get("zones") or ()}
    reason = ""
    for restriction in row.get("restrictions", ()):
        if restriction["type"] == "Location":
            reason = restriction.get("reasonCode", "restricted")
        elif restriction["type"] == "Zone":
            zones -= set(restriction.get("restrictionInfo", {}).get("zones") or ())
    return Machine(
        name=row["name"],
        family=row["family"],
        vcpus=int(capabilities["vCPUs"]),
        zones=tuple(sorted(zones)),
        offered=not reason,
        reason=reason,
    )


def spot_prices_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[SpotPrice]:
    """Spot prices on Linux from rows of the Retail Prices API."""
    for row in rows:
        spot = row["skuName"].endswith(" Spot")
        if spot and "Windows" not in row["productName"]:
            yield SpotPrice(
                machine=row["armSkuName"],
                dollars_per_hour=float(row["retailPrice"]),
                since=row["effectiveStartDate"][:10],
            )


def named_subscription() -> str:
    """The subscription that the environment names, else the one that the Azure CLI uses.

    Raises:
        AzureAccountError: none is named.
    """
    for name in SUBSCRIPTION_VARIABLES:
        if os.environ.get(name):
            return os.environ[name]
    try:
        asked = subprocess.run(
            ["az", "account", "show", "--query", "id", "--output", "tsv"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise AzureAccountError(f"no Azure subscription is named: {SIGN_IN}") from None
    if asked.returncode or not asked.stdout.strip():
        raise AzureAccountError(f"no Azure subscription is named: {SIGN_IN}")
    return asked.stdout.strip()


@contextmanager
def _told_simply() -> Iterator[None]:
    """Turns the clients' errors into one of ours."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    try:
        yield
    except ClientAuthenticationError as error:
        raise AzureAccountError(f"not signed in to Azure: {SIGN_IN}") from error
    except HttpResponseError as error:
        said = error.message.splitlines()[0] if error.message else error.reason
        raise AzureAccountError(f"Azure refuses to tell ({error.status_code}): {said}") from error
    except AzureError as error:
        raise AzureAccountError(f"Azure does not answer: {error.message.splitlines()[0]}") from error
