"""A subscription read through Azure's own clients over a recorded transport.

The recordings are written by hand in the form of Azure's REST reference (see their README): that a live Azure answers
so is not proved.
"""

from __future__ import annotations

import json
import logging
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest import HttpRequest
from azure.core.rest._http_response_impl import RestHttpClientTransportResponse

from stacks.preflight.azure_account import (
    AzureAccount,
    AzureAccountError,
    Machine,
    Quota,
    SpotPrice,
    named_subscription,
)

pytestmark = pytest.mark.unit

RECORDINGS = Path(__file__).parent / "recordings" / "azure"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
ANSWERS = {
    "/usages": "usage.json",
    "/skus": "skus.json",
    "/api/retail/prices": "prices-1.json",
    "skip=100": "prices-2.json",
}


class _Raw:
    """What http.client would have got."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.reason, self.body = status, "said so", body

    def getheaders(self) -> list[tuple[str, str]]:
        return [("Content-Type", "application/json")]

    def read(self) -> bytes:
        return self.body


class Recorded(HttpTransport[HttpRequest, Any]):
    """Answers from files; keeps what was asked."""

    def __init__(self, status: int = 200, fault: Exception | None = None) -> None:
        self.asked: list[str] = []
        self._status, self._fault = status, fault

    def send(self, request: HttpRequest, **_: Any) -> Any:
        self.asked.append(request.url)
        if self._fault:
            raise self._fault
        body = json.dumps({"error": {"code": "AuthorizationFailed", "message": "no right to read"}}).encode()
        if self._status == 200:
            name = next(file for part, file in reversed(ANSWERS.items()) if part in request.url)
            body = (RECORDINGS / name).read_bytes()
        raw = _Raw(self._status, body)
        return RestHttpClientTransportResponse(request=request, internal_response=raw)  # type: ignore[no-untyped-call]

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


class Credential:
    """Somebody who is signed in."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("token", 4_000_000_000)


def account(transport: Recorded) -> AzureAccount:
    return AzureAccount("eastus", SUBSCRIPTION, Credential(), transport)


def test_machines_with_their_family_and_zones() -> None:
    transport = Recorded()
    found = account(transport).machines(
        ["Standard_ND96isr_H100_v5", "Standard_NC4as_T4_v3", "Standard_ND96isr_H200_v5"]
    )
    assert found == {
        # Zone 3 is there, but not for this subscription.
        "Standard_ND96isr_H100_v5": Machine(
            name="Standard_ND96isr_H100_v5", family="standardNDSH100v5Family", vcpus=96, zones=("1",), offered=True
        ),
        "Standard_NC4as_T4_v3": Machine(
            name="Standard_NC4as_T4_v3", family="Standard NCASv3_T4 Family", vcpus=4, zones=(), offered=True
        ),
    }
    (asked,) = transport.asked
    assert f"/subscriptions/{SUBSCRIPTION}/" in asked
    assert parse_qs(urlsplit(asked).query)["$filter"] == ["location eq 'eastus'"]


def test_a_machine_that_the_subscription_may_not_have() -> None:
    found = account(Recorded()).machines(["Standard_NC24ads_A100_v4"])["Standard_NC24ads_A100_v4"]
    assert (found.offered, found.reason) == (False, "NotAvailableForSubscription")


def test_quotas() -> None:
    transport = Recorded()
    found = account(transport).quotas()
    assert found["standardNDSH100v5Family"] == Quota(name="standardNDSH100v5Family", used=96, limit=192)
    assert found["lowPriorityCores"].limit == 100
    assert "/locations/eastus/usages" in transport.asked[0]


def test_spot_prices_of_linux_from_all_pages() -> None:
    transport = Recorded()
    found = account(transport).spot_prices(["Standard_ND96isr_H100_v5", "Standard_NC4as_T4_v3"])
    assert found == [
        SpotPrice(machine="Standard_NC4as_T4_v3", dollars_per_hour=0.1, since="2026-11-01"),
        SpotPrice(machine="Standard_ND96isr_H100_v5", dollars_per_hour=30.5, since="2026-10-15"),
    ]
    assert len(transport.asked) == 2
    (query,) = parse_qs(urlsplit(transport.asked[0]).query)["$filter"]
    assert "armRegionName eq 'eastus'" in query
    assert "armSkuName eq 'Standard_NC4as_T4_v3' or armSkuName eq 'Standard_ND96isr_H100_v5'" in query


def test_no_machine_no_question() -> None:
    transport = Recorded()
    assert account(transport).spot_prices([]) == []
    assert transport.asked == []


@pytest.mark.parametrize(
    ("transport", "message"),
    [
        (Recorded(401), "not signed in to Azure: run `az login`"),
        (Recorded(403), r"Azure refuses to tell \(403\): .*AuthorizationFailed.* no right to read"),
        (Recorded(fault=ServiceRequestError("name not known")), "Azure does not answer: name not known"),
    ],
)
def test_what_goes_wrong_is_one_clear_message(transport: Recorded, message: str) -> None:
    with pytest.raises(AzureAccountError, match=message):
        account(transport).quotas()


def test_nobody_signed_in_is_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    """The client itself would log a page."""
    account(Recorded(401))
    logging.getLogger("azure.identity").warning("a page")
    assert caplog.text == ""


def test_the_subscription_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "second")
    assert named_subscription() == "second"
    monkeypatch.setenv("ARM_SUBSCRIPTION_ID", "first")
    assert named_subscription() == "first"


@pytest.mark.parametrize("answer", [None, (1, ""), (0, "\n")])
def test_no_subscription_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str] | None) -> None:
    for name in ("ARM_SUBSCRIPTION_ID", "AZURE_SUBSCRIPTION_ID"):
        monkeypatch.delenv(name, raising=False)

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        if answer is None:
            raise FileNotFoundError(command[0])
        return subprocess.CompletedProcess(command, answer[0], answer[1], "")

    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(AzureAccountError, match="no Azure subscription is named: run `az login`"):
        named_subscription()
