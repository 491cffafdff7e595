"""Which properties differ, and whether the difference means a new resource."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from local.provider_double.wire import join

TABLE = Path(__file__).with_name("replacement.toml")


@dataclass(frozen=True)
class Difference:
    """One property that differs.

    Attributes:
        path: `nodeConfig.machineType`, `taints[1]`.
        kind: `ADD`, `DELETE` or `UPDATE`.
        replaces: the resource cannot be changed in place.
    """

    path: str
    kind: str
    replaces: bool


@dataclass(frozen=True)
class Rule:
    """What is known of one type's updates.

    Attributes:
        replaces: property paths, without list indices, whose change needs a new resource.
        name: properties that carry its name at the cloud; invented if not given, unchangeable.
    """

    replaces: frozenset[str]
    name: str | None


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(TABLE.read_text())


@cache
def rule(token: str) -> Rule:
    """What the table says of a type; an unlisted one is replaced by nothing but its name."""
    entry = _table().get(token, {})
    return Rule(frozenset(entry.get("replaces", ())), entry.get("name"))


def differences(token: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Compare two sets of inputs of a resource."""
    found = [(path, kind) for path, kind in _compare(old, new, "") if not path.startswith("__")]
    return [Difference(path, kind, replaces(token, path)) for path, kind in found]


def replaces(token: str, path: str) -> bool:
    """Whether a change at this path needs a new resource."""
    known = rule(token)
    plain = re.sub(r"\[\d+\]", "", path)
    fields = known.replaces | ({known.name} if known.name else set())
    # A whole block that appears or goes takes the unchangeable fields in it along.
    return any(plain == field or plain.startswith(f"{field}.") or field.startswith(f"{plain}.") for field in fields)


def _compare(old: Any, new: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _compare(old.get(key), new.get(key), join(path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else None
            after = new[index] if index < len(new) else None
            yield from _compare(before, after, join(path, index))
    elif old != new:
        yield path, "ADD" if old is None else "DELETE" if new is None else "UPDATE"
