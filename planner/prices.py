"""What an hour of an instance costs: list prices, and a user's own in their place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from planner.catalog import CATALOG_FOLDER, Instance

OWN = "own price file"
"""Source of a price that the user gave."""

EXAMPLES = {
    "prices": '"g6.xlarge" = 0.5',
    "spot": '"g6.xlarge" = 0.2',
    "reserved": '"p5.48xlarge" = 31.5',
    "managed": '"meta-llama/Llama-3.3-70B-Instruct" = { input = 0.6, output = 0.7 }',
}


class PriceError(ValueError):
    """A price file cannot be read, or has no such form; one line that names file and key."""


@dataclass(frozen=True, kw_only=True)
class OwnPrices:
    """A user's own prices, US dollars per hour by instance type; they override the catalogue.

    Attributes:
        on_demand: by instance type.
        spot: by instance type.
        reserved: by instance type; the catalogue has none.
        managed: (input, output) dollars per million tokens of a managed API, by model.
    """

    on_demand: Mapping[str, float] = field(default_factory=dict)
    spot: Mapping[str, float] = field(default_factory=dict)
    reserved: Mapping[str, float] = field(default_factory=dict)
    managed: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Price:
    """The price of an instance, US dollars per hour, None where no source has it."""

    per_hour: float | None
    source: str
    as_of: str
    estimate: bool = False


@cache
def market() -> Mapping[str, Any]:
    """Spot discounts and managed prices, from catalog/market.toml."""
    return tomllib.loads((CATALOG_FOLDER / "market.toml").read_text(encoding="utf-8"))


def read_prices(path: Path) -> OwnPrices:
    """A user's own price file: TOML with any of [prices], [spot], [reserved] and [managed].

    The first three have `"instance type" = dollars per hour`, the last `"model" = { input = , output = }` in dollars
    per million tokens.

    Raises:
        PriceError: it cannot be read, has another table, or a value is not a number of 0 or more.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PriceError(f"{path}: {error}") from None
    unknown = sorted(set(document) - set(EXAMPLES))
    if unknown or not document:
        found = f"has the unknown table [{unknown[0]}]" if unknown else "is empty"
        example = "; ".join(f"[{name}] with {line}" for name, line in EXAMPLES.items())
        raise PriceError(f"{path}: {found}; tables are {example}")
    hourly = {name: _hourly(path, name, document.get(name, {})) for name in ("prices", "spot", "reserved")}
    return OwnPrices(
        on_demand=hourly["prices"],
        spot=hourly["spot"],
        reserved=hourly["reserved"],
        managed=_managed(path, document.get("managed", {})),
    )


def _hourly(path: Path, name: str, table: object) -> dict[str, float]:
    if not isinstance(table, dict):
        raise PriceError(f"{path}: {name} is not a table; write [{name}] and lines such as {EXAMPLES[name]}")
    return {str(key): _dollars(path, f"{name}.{key}", value, "dollars per hour") for key, value in table.items()}


def _managed(path: Path, table: object) -> dict[str, tuple[float, float]]:
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise PriceError(f"{path}: managed is not a table of tables; write lines such as {EXAMPLES['managed']}")
    unit = "dollars per million tokens"
    return {
        str(model): (
            _dollars(path, f"managed.{model}.input", row.get("input"), unit),
            _dollars(path, f"managed.{model}.output", row.get("output"), unit),
        )
        for model, row in table.items()
    }


def _dollars(path: Path, key: str, value: object, unit: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise PriceError(f"{path}: {key} is {value!r}; it must be {unit}, 0 or more")
    return float(value)


def price(instance: Instance, capacity_type: str = "on-demand", own: OwnPrices | None = None) -> Price:
    """What an hour of an instance costs.

    Args:
        instance: the catalogue's row.
        capacity_type: `on-demand`, `spot`, `spot-with-fallback` (priced as spot) or `reserved` (as on-demand, unless
            the user's own prices have it: clouds negotiate them).
        own: a user's prices; they override the catalogue.
    """
    mine = own or OwnPrices()
    if capacity_type == "reserved" and instance.key in mine.reserved:
        return _own(mine.reserved[instance.key])
    listed = _own(mine.on_demand[instance.key]) if instance.key in mine.on_demand else _listed(instance)
    if not capacity_type.startswith("spot"):
        reserved = capacity_type == "reserved"
        return Price(per_hour=listed.per_hour, source=listed.source, as_of=listed.as_of, estimate=reserved)
    if instance.key in mine.spot:
        return _own(mine.spot[instance.key])
    spot = market()["spot"]
    as_of = spot["as_of"].isoformat()
    if instance.key in spot["prices"]:
        return Price(per_hour=spot["prices"][instance.key], source=spot["source"], as_of=as_of)
    guess = None if listed.per_hour is None else round(listed.per_hour * (1 - spot["discount_typical"]), 4)
    return Price(per_hour=guess, source=spot["source"], as_of=as_of, estimate=True)


def managed_price(model: str, own: OwnPrices | None = None) -> tuple[float, float] | None:
    """Dollars per million input and output tokens of a managed API, None where no table has the model."""
    if own is not None and model in own.managed:
        return own.managed[model]
    row = market()["managed"].get(model)
    return None if row is None else (row["input"], row["output"])


def _own(dollars: float) -> Price:
    return Price(per_hour=dollars, source=OWN, as_of="own")


def _listed(instance: Instance) -> Price:
    return Price(per_hour=instance.price_per_hour, source=instance.source, as_of=instance.as_of.isoformat())
