"""What flags demand of one another: `rules/ENGINE.toml`, rows with their source, and how they are applied."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner.flags.catalogue import RULES, Catalogue
from planner.flags.errors import FlagError
from planner.flags.values import number_of, parse_json
from planner.flags.words import Given


@dataclass(frozen=True)
class Setting:
    """What a flag, or a field of its JSON value, is set to.

    Attributes:
        given: the flag that says so.
        values: as text; `true` or `false` for a switch.
    """

    given: Given
    values: tuple[str, ...]

    def is_one_of(self, wanted: Iterable[str] | None) -> bool:
        """True if any value is wanted, or one of the wanted ones is there, in any case."""
        if wanted is None:
            return True
        lower = {text.lower() for text in wanted}
        return any(value.lower() in lower for value in self.values)

    def shown(self) -> str:
        """As a person writes it."""
        return " ".join(self.values)


@cache
def table(engine: str) -> Mapping[str, list[dict[str, Any]]]:
    """The rules of an engine by kind; empty if it has none."""
    path = RULES / f"{engine}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def successor(engine: str, flag: str) -> tuple[str, str]:
    """What took the place of a removed flag (may be empty), and what to do; both empty if nothing is known."""
    row = next((row for row in table(engine).get("removed", ()) if row["flag"] == flag), None)
    return ("", "") if row is None else (row["now"], row["say"])


def settings(givens: Iterable[Given]) -> dict[str, Setting]:
    """Everything that is set, by flag and by field (`--attention-config.backend`)."""
    found: dict[str, Setting] = {}
    for given in givens:
        name = given.flag.name
        if given.path:
            found[".".join((name, *given.path))] = Setting(given, given.values)
        elif given.flag.kind == "switch" or not given.values:
            found[name] = Setting(given, ("true" if given.on else "false",))
        else:
            found[name] = Setting(given, given.values)
            found.update(_fields(given))
    return found


def _fields(given: Given) -> dict[str, Setting]:
    if not given.flag.type.startswith("json"):
        return {}
    try:
        value = parse_json(given.values[0])
    except ValueError:
        return {}
    if not isinstance(value, dict):
        return {}
    return {
        f"{given.flag.name}.{name.replace('-', '_')}": Setting(given, (_text(item),))
        for name, item in value.items()
        if item is not None
    }


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_rules(catalogue: Catalogue, found: Mapping[str, Setting]) -> Iterator[FlagError]:
    """What flags that are each fine do to one another.

    Args:
        catalogue: its engine's rules are applied, as far as its version has the flags.
        found: what is set.
    """
    rules = table(catalogue.engine)
    for row in rules.get("requires", ()):
        yield from _requires(catalogue, row, found)
    for row in rules.get("excludes", ()):
        yield from _excludes(row, found)
    for row in rules.get("ordered", ()):
        yield from _ordered(row, found)


def _requires(catalogue: Catalogue, row: Mapping[str, Any], found: Mapping[str, Setting]) -> Iterator[FlagError]:
    setting, needs = found.get(row["flag"]), row["needs"]
    if setting is None or not setting.is_one_of(row.get("is")) or setting.values == ("0",):
        return
    if needs.partition(".")[0] not in catalogue.flags:
        return
    other, wanted = found.get(needs), row.get("needs_value")
    if other is not None and other.is_one_of(wanted):
        return
    words = _words(needs, wanted)
    got = f", which is {other.shown()}" if other is not None else ""
    yield FlagError(
        setting.given.written,
        setting.shown(),
        f"{row['flag'].rpartition('.')[2]} needs {words}{got}: {row['reason']}",
        tuple(wanted or ()) if wanted != ["true"] else (),
        f"Add {words}, or leave {setting.given.written} out.",
    )


def _words(flag: str, wanted: list[str] | None) -> str:
    """A setting as a person writes it: `--enable-lora`, `--runner pooling`, `kv_role in --kv-transfer-config`."""
    name, _, path = flag.partition(".")
    if path:
        return f"{path} in {name}"
    return name if not wanted or wanted == ["true"] else f"{name} {wanted[0]}"


def _excludes(row: Mapping[str, Any], found: Mapping[str, Setting]) -> Iterator[FlagError]:
    one, other = found.get(row["flag"]), found.get(row["other"])
    if one is None or other is None or not one.is_one_of(row.get("is")) or not other.is_one_of(row.get("other_is")):
        return
    this, that = _words(row["other"], None), _words(row["flag"], None)
    message = f"{this} and {that} exclude one another: {row['reason']}"
    fix = f"Leave {other.given.written} or {one.given.written} out."
    yield FlagError(other.given.written, other.shown(), message, fix=fix)


def _ordered(row: Mapping[str, Any], found: Mapping[str, Setting]) -> Iterator[FlagError]:
    small, large = found.get(row["small"]), found.get(row["large"])
    if small is None or large is None:
        return
    condition = found.get(row.get("only_with", ""))
    if "only_with" in row and (condition is None or not condition.is_one_of([row["only_is"]])):
        return
    least, most = _number(small), _number(large)
    if least is None or most is None or least <= most:
        return
    yield FlagError(
        large.given.written,
        large.shown(),
        f"is less than {row['small']}, {least:g}: {row['reason']}",
        fix=f"Raise it to {least:g} or more, or lower {row['small']} to {most:g}.",
    )


def _number(setting: Setting) -> float | None:
    try:
        return number_of(setting.given.flag, setting.values[0])
    except ValueError:
        return None
