"""How long a replica takes from nothing: node, driver, image, weights, engine."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner.catalog import CATALOG_FOLDER

DEFAULT_STORAGE = "gp3"
"""A network disk with the weights on it: never downloaded at each start (the guides' rule)."""


@dataclass(frozen=True, kw_only=True)
class ColdStart:
    """The stages of a cold start, seconds; `low_s` and `high_s` bound the sum.

    Attributes:
        node_s: from the pod pending to the node registered.
        driver_s: until the GPU can be allocated.
        image_s: pulling the engine's image.
        weights_s: reading the weights.
        engine_s: profiling, compiling, CUDA graphs.
        low_s: if every stage is quick.
        high_s: if every stage is slow.
    """

    node_s: float
    driver_s: float
    image_s: float
    weights_s: float
    engine_s: float
    low_s: float
    high_s: float

    @property
    def total_s(self) -> float:
        """Seconds from the request for a replica to its first answer, on a new node."""
        return self.node_s + self.driver_s + self.image_s + self.weights_s + self.engine_s

    @property
    def warm_node_s(self) -> float:
        """The same on a node that is there and has the image."""
        return self.weights_s + self.engine_s


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads((CATALOG_FOLDER / "cold_start.toml").read_text(encoding="utf-8"))


def storages() -> tuple[str, ...]:
    """Places that weights can be read from."""
    return tuple(_table()["weights"])


def read_gib_s(storage: str) -> float:
    """How fast a node reads weights from there, GiB per second.

    Raises:
        KeyError: unknown storage.
    """
    return float(_table()["weights"][storage]["gib_s"])


def cold_start(
    cloud: str, weights_gib: float, storage: str = DEFAULT_STORAGE, *, lazy_image: bool = False
) -> ColdStart:
    """Work out a cold start.

    Args:
        cloud: `aws`, `azure`, `gcp` or `local`; others count as `aws`.
        weights_gib: weights of the replica.
        storage: one of `storages()`.
        lazy_image: parallel pull (SOCI) or image streaming.

    Raises:
        ValueError: unknown storage.
    """
    table = _table()
    if storage not in table["weights"]:
        raise ValueError(f"unknown storage {storage!r}; known: {', '.join(storages())}")
    node, driver = (table[part].get(cloud, table[part]["aws"]) for part in ("node", "driver"))
    image = table["image"]
    pull = 0.0 if cloud == "local" else image["gib"] / image["lazy_gib_s" if lazy_image else "plain_gib_s"]
    read = weights_gib / table["weights"][storage]["gib_s"]
    engine = table["engine"]
    return ColdStart(
        node_s=node["typical"],
        driver_s=driver["typical"],
        image_s=round(pull, 1),
        weights_s=round(read, 1),
        engine_s=engine["typical"],
        low_s=round(node["low"] + driver["low"] + pull / 2 + read + engine["low"], 1),
        high_s=round(node["high"] + driver["high"] + pull * 2 + read * 2 + engine["high"], 1),
    )
