"""Pod addresses. Not proven here: that an address can be bound (the cluster's network namespace)."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from local.node_agent.addresses import AddressesExhaustedError, PodAddresses

pytestmark = pytest.mark.unit

SMALL = ipaddress.IPv4Network("10.1.0.0/29")  # .1 to .6


def test_an_address_comes_back_only_when_the_range_is_through(tmp_path: Path) -> None:
    addresses = PodAddresses(SMALL, tmp_path / "a.json")
    first = addresses.allocate("pod-0")
    addresses.release("pod-0")
    others = [addresses.allocate(f"pod-{i}") for i in range(1, 6)]
    assert (first, others) == ("10.1.0.1", [f"10.1.0.{i}" for i in range(2, 7)])
    assert addresses.allocate("pod-6") == "10.1.0.1"


def test_a_pod_keeps_its_address_also_after_a_restart(tmp_path: Path) -> None:
    before = PodAddresses(SMALL, tmp_path / "a.json")
    assert [before.allocate(uid) for uid in ("a", "b", "a")] == ["10.1.0.1", "10.1.0.2", "10.1.0.1"]
    before.release("b")
    after = PodAddresses(SMALL, tmp_path / "a.json")
    assert [after.allocate(uid) for uid in ("a", "c")] == ["10.1.0.1", "10.1.0.3"]


def test_the_address_of_the_status_is_taken_where_the_files_are_lost(tmp_path: Path) -> None:
    addresses = PodAddresses(SMALL, tmp_path / "a.json")
    assert addresses.allocate("a", wanted="10.1.0.4") == "10.1.0.4"
    assert addresses.allocate("b", wanted="10.1.0.4") == "10.1.0.1"  # taken
    assert addresses.allocate("c", wanted="10.9.0.4") == "10.1.0.2"  # not ours
    assert addresses.allocate("d", wanted="nonsense") == "10.1.0.3"
    assert addresses.allocate("e") == "10.1.0.5"  # passes over the one that was taken out of turn


def test_a_full_range_is_an_error_that_says_so(tmp_path: Path) -> None:
    addresses = PodAddresses(SMALL, tmp_path / "a.json")
    for i in range(6):
        addresses.allocate(f"pod-{i}")
    with pytest.raises(AddressesExhaustedError, match=r"^all 6 pod addresses of 10\.1\.0\.0/29 are in use$"):
        addresses.allocate("one more")
    addresses.keep_only({"pod-1"})
    assert addresses.allocate("one more") == "10.1.0.1"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"next": "x", "held": {}}', '{"next": 1, "held": {"a": "x"}}'])
def test_a_broken_file_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    assert PodAddresses(SMALL, tmp_path / "a.json").allocate("a") == "10.1.0.1"
