"""Files that a user gives: prices, quotas, traffic. Each broken one is named, with the field and what to write.

Not proven here: that a preflight writes such a file, or that a price is right.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planner.catalog import instances
from planner.prices import OwnPrices, PriceError, managed_price, price, read_prices
from planner.quotas import Quota, QuotaError, nodes_allowed, read_quotas
from planner.traffic import TrafficError, read_traffic

pytestmark = pytest.mark.unit

G6, P5 = instances()["g6.12xlarge"], instances()["p5.48xlarge"]


def test_prices_override_the_catalogue_by_how_nodes_are_bought(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(
        '[prices]\n"g6.12xlarge" = 4\n[spot]\n"g6.12xlarge" = 1.5\n[reserved]\n"p5.48xlarge" = 31.5\n'
        '[managed]\n"a/b" = { input = 0.5, output = 1 }\n'
    )
    own = read_prices(file)
    assert own == OwnPrices(
        on_demand={"g6.12xlarge": 4.0},
        spot={"g6.12xlarge": 1.5},
        reserved={"p5.48xlarge": 31.5},
        managed={"a/b": (0.5, 1.0)},
    )
    assert [price(G6, how, own).per_hour for how in ("on-demand", "spot", "spot-with-fallback")] == [4.0, 1.5, 1.5]
    reserved = price(P5, "reserved", own)
    assert (reserved.per_hour, reserved.source, reserved.estimate) == (31.5, "own price file", False)
    # Without an own price a reservation is guessed at the list price, and said to be a guess.
    assert (price(G6, "reserved").per_hour, price(G6, "reserved").estimate) == (4.6016, True)
    # An own on-demand price moves the guess for spot.
    guess = price(G6, "spot", OwnPrices(on_demand={"g6.12xlarge": 4.0}))
    assert guess.per_hour == pytest.approx(1.6)
    assert guess.estimate
    assert (price(instances()["g2-standard-4"], "spot").per_hour, price(P5).estimate) == (0.23, False)
    assert managed_price("a/b", own) == (0.5, 1.0)
    assert managed_price("meta-llama/Llama-3.3-70B-Instruct") == (0.88, 0.88)
    assert managed_price("a/b") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[prices]\n"g6.xlarge" = "cheap"\n', "prices.g6.xlarge is 'cheap'; it must be dollars per hour, 0 or more"),
        ('[reserved]\n"g6.xlarge" = -1\n', "reserved.g6.xlarge is -1; it must be dollars per hour"),
        ("[price]\n", 'has the unknown table [price]; tables are [prices] with "g6.xlarge" = 0.5'),
        ("", "is empty; tables are"),
        ("prices = 3\n", "prices is not a table; write [prices]"),
        ('[managed]\n"a/b" = 1\n', "managed is not a table of tables"),
        ('[managed]\n"a/b" = { input = 1 }\n', "managed.a/b.output is None; it must be dollars per million tokens"),
        ("[prices\n", "prices.toml: "),
    ],
)
def test_broken_prices_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(PriceError) as caught:
        read_prices(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_quotas(tmp_path: Path) -> None:
    file = tmp_path / "quotas.json"
    rows = [
        {"instance_type": "p5.48xlarge", "gpu": "h100", "limit": 384, "used": 192, "unit": "vcpu"},
        {"instance_type": "", "gpu": "H100", "limit": 100, "used": 0, "unit": "gpus"},
        {"instance_type": "g6.12xlarge", "limit": 3, "used": 5, "unit": "instances"},
    ]
    file.write_text(json.dumps({"cloud": "aws", "region": "us-east-1", "quotas": rows}))
    found = read_quotas(file)
    assert found[0] == Quota(instance_type="p5.48xlarge", gpu="h100", limit=384, used=192, unit="vcpu")
    assert nodes_allowed(P5, found) == 1
    assert nodes_allowed(instances()["p5.4xlarge"], found) == 100
    assert nodes_allowed(G6, found) == 0
    assert nodes_allowed(instances()["g5.xlarge"], found) is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, 'has no list "quotas"; a preflight writes one'),
        ({"quotas": [3]}, "quotas[0] is not an object"),
        (
            {"quotas": [{"gpu": "l4", "limit": 1, "used": 0, "unit": "cpu"}]},
            "quotas[0].unit is 'cpu'; choose from vcpu",
        ),
        ({"quotas": [{"limit": 1, "used": 0, "unit": "gpus"}]}, "quotas[0] names neither an instance_type nor a gpu"),
        ({"quotas": [{"gpu": "l4", "limit": True, "used": 0, "unit": "gpus"}]}, "quotas[0].limit is True"),
        ({"quotas": [{"gpu": "l4", "limit": 1, "unit": "gpus"}]}, "quotas[0].used is None; it must be a number"),
    ],
)
def test_broken_quotas_are_named(tmp_path: Path, document: object, message: str) -> None:
    file = tmp_path / "quotas.json"
    file.write_text(json.dumps(document))
    with pytest.raises(QuotaError) as caught:
        read_quotas(file)
    assert message in str(caught.value)


def test_missing_and_unreadable_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "x.json"
    broken.write_text("{")
    for read, error in ((read_quotas, QuotaError), (read_traffic, TrafficError)):
        with pytest.raises(error, match="is not JSON"):
            read(broken)
        with pytest.raises(error, match="No such file"):
            read(tmp_path / "nothing.json")
    with pytest.raises(PriceError, match="No such file"):
        read_prices(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "must be an object such as"),
        ({}, "must be an object such as"),
        ({"chat": 3}, "chat must be a list of 1 to 8784 figures"),
        ({"chat": []}, "chat must be a list of 1 to 8784 figures"),
        ({"chat": [0, -1]}, "chat[1] is -1; it must be requests per second, 0 or more"),
        (
            {"chat": [0], "code": [0, 1]},
            "are of several lengths (chat 1, code 2); give each the same hours",
        ),
    ],
)
def test_broken_traffic_is_named(tmp_path: Path, document: object, message: str) -> None:
    file = tmp_path / "traffic.json"
    file.write_text(json.dumps(document))
    with pytest.raises(TrafficError) as caught:
        read_traffic(file)
    assert message in str(caught.value)
    file.write_text('{"chat": [0, 1.5]}')
    assert read_traffic(file) == {"chat": (0.0, 1.5)}
