"""A subscription's report: what the environment needs at its largest, against what there is.

Over the hand-written recordings of test_azure_account.
"""

from __future__ import annotations

from typing import Any

import pytest

from components.clouds.azure.settings import AzureSettings
from components.clouds.rules import PoolWish
from stacks.preflight import OfferRow, PreflightError, PreflightReport, load_preflight
from stacks.preflight.azure import AzurePreflight
from tests.unit.preflight.test_azure_account import SUBSCRIPTION, Credential, Recorded

pytestmark = pytest.mark.unit


def h100(**changes: Any) -> PoolWish:
    wish = {"name": "h100", "instance_type": "Standard_ND96isr_H100_v5", "accelerator": "h100", "gpus_per_node": 8}
    return PoolWish(**{**wish, **changes})


def t4(**changes: Any) -> PoolWish:
    wish = {"name": "t4", "instance_type": "Standard_NC4as_T4_v3", "accelerator": "t4", "gpus_per_node": 1}
    return PoolWish(**{**wish, **changes})


def report(
    *wishes: PoolWish, settings: AzureSettings | None = None, transport: Recorded | None = None
) -> PreflightReport:
    reader = AzurePreflight(SUBSCRIPTION, Credential(), transport or Recorded())
    return reader.read("eastus", wishes, settings, "prod")


def needed(found: PreflightReport) -> dict[str, tuple[float, float, float | None, bool]]:
    return {row.quota: (row.needed, row.used, row.limit, row.fits) for row in found.quotas}


def test_what_fits() -> None:
    found = report(h100(max_nodes=1), t4(max_nodes=4))
    assert needed(found) == {
        "standardNDSH100v5Family": (96, 96, 192, True),
        "Standard NCASv3_T4 Family": (16, 0, 24, True),
        # Six nodes of the system pool.
        "standardDSv5Family": (48, 0, None, True),
        "cores": (160, 40, 350, True),
    }
    assert found.fits
    assert found.account == SUBSCRIPTION
    assert found.notes == [
        "Azure does not say the limit of standardDSv5Family here",
        "Azure counts the machines of this environment that run already as used, and they are needed again",
    ]


def test_one_machine_too_many() -> None:
    found = report(h100(max_nodes=2))
    assert needed(found)["standardNDSH100v5Family"] == (192, 96, 192, False)
    assert not found.fits


def test_pools_of_a_family_share_its_quota() -> None:
    assert needed(report(t4(max_nodes=4), t4(name="other", max_nodes=3)))["Standard NCASv3_T4 Family"][0] == 28


def test_spot_has_a_quota_of_its_own_and_a_price() -> None:
    found = report(h100(capacity_type="spot", max_nodes=1), t4(capacity_type="spot", max_nodes=2))
    assert needed(found)["lowPriorityCores"] == (104, 0, 100, False)
    assert "standardNDSH100v5Family" not in needed(found)
    assert [(row.instance_type, row.zone, row.price, row.as_of) for row in found.spot_prices] == [
        ("Standard_NC4as_T4_v3", "", 0.1, "2026-11-01"),
        ("Standard_ND96isr_H100_v5", "", 30.5, "2026-10-15"),
    ]


def test_a_fallback_needs_both() -> None:
    found = needed(report(t4(capacity_type="spot-with-fallback", max_nodes=5)))
    assert found["lowPriorityCores"][0] == found["Standard NCASv3_T4 Family"][0] == 20


def test_what_is_reserved_has_its_quota() -> None:
    found = report(h100(capacity_type="reserved", max_nodes=9))
    assert set(needed(found)) == {"standardDSv5Family", "cores"}
    assert found.spot_prices == []


def test_zones() -> None:
    settings = AzureSettings(system_pool={"zones": ("1", "2")})
    found = report(h100(zones=("3",)), t4(), settings=settings)
    assert found.offers == [
        # Zone 3 has it, but not for this subscription.
        OfferRow(instance_type="Standard_ND96isr_H100_v5", zones=("1",), wanted=("3",)),
        OfferRow(instance_type="Standard_NC4as_T4_v3", zones=("eastus",), wanted=()),
        OfferRow(instance_type="Standard_D8s_v5", zones=("1", "2", "3"), wanted=("1", "2")),
    ]
    assert [row.fits for row in found.offers] == [False, True, True]


def test_a_machine_that_is_closed_or_not_there() -> None:
    closed = h100(instance_type="Standard_NC24ads_A100_v4", accelerator="a100-80")
    missing = h100(instance_type="Standard_ND96isr_H200_v5", accelerator="h200")
    found = report(closed, missing)
    assert [(row.instance_type, row.zones) for row in found.offers][:2] == [
        ("Standard_NC24ads_A100_v4", ()),
        ("Standard_ND96isr_H200_v5", ()),
    ]
    (problem,) = found.problems
    assert "Standard_NC24ads_A100_v4 is closed to the subscription in eastus (NotAvailableForSubscription)" in problem
    assert not found.fits


def test_nobody_signed_in_is_one_clear_message() -> None:
    with pytest.raises(PreflightError, match="not signed in to Azure: run `az login`"):
        report(t4(), transport=Recorded(401))


def test_the_reader_is_registered() -> None:
    assert isinstance(load_preflight("azure"), AzurePreflight)
