"""The flags of an engine or router, per version: data that `planner.read_flags` wrote, read and typed.

One more engine is one more `catalog/NAME-VERSION.json`; nothing here names an engine.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent / "catalog"
RULES = Path(__file__).parent / "rules"

Kind = Literal["switch", "value", "optional", "list"]

SHORT = 2
"""Characters of a flag such as `-q`."""


class UnknownEngineError(LookupError):
    """There is no catalogue of this engine or version; the message names those that there are."""


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag of a command line.

    Attributes:
        name: the long form, with dashes: `--max-model-len`.
        kind: `switch` takes no value, `value` one, `optional` one or none, `list` several.
        type: `int`, `float`, `str`, `json`, `json_or_str`, `human_int` (4k, 4K), `human_int_or_auto`, `unknown`.
        aliases: other names, short ones among them.
        negative: the form that switches it off, `--no-...`; None if there is none.
        choices: the only values; empty if any will do.
        folded: choices are compared in lower case with underscores.
        names: the usual values of an open set, e.g. parsers that a plug-in may add to.
        field_names: the same for fields of a JSON value.
        default: None if there is none, or it is derived.
        minimum: least value; maximum, exclusive_minimum and exclusive_maximum likewise.
        maximum: most.
        exclusive_minimum: more than this.
        exclusive_maximum: less than this.
        schema: name of the schema of a JSON value.
        nullable: an empty value, or `None`, stands for nothing.
        deprecated: still taken, not for long.
        since: first version read that has it; None if the first one read has it.
    """

    name: str
    kind: Kind
    type: str
    aliases: tuple[str, ...] = ()
    negative: str | None = None
    choices: tuple[str | int, ...] = ()
    folded: bool = False
    names: tuple[str, ...] = ()
    field_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default: str | int | float | bool | None = None
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    exclusive_maximum: float | None = None
    schema: str | None = None
    nullable: bool = False
    deprecated: bool = False
    since: str | None = None


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All flags of one version.

    Attributes:
        engine: `vllm`, `sglang`, `vllm-router`, `production-stack-router`.
        version: of the program.
        read_from: where the flags come from.
        flags: by long name.
        by_name: by every name there is: long, short, negative, alias.
        schemas: JSON schemas by class name; `$ref` names another.
        quantization: methods, each with `min_capability` (compute capability times ten) and perhaps `deprecated`.
        gone: flags that a version read before had, and the first version read without.
        history: the versions that `since` and `gone` come from.
    """

    engine: str
    version: str
    read_from: str
    flags: Mapping[str, Flag]
    by_name: Mapping[str, Flag]
    schemas: Mapping[str, Any]
    quantization: Mapping[str, Mapping[str, Any]]
    gone: Mapping[str, str]
    history: tuple[str, ...]

    def find(self, name: str) -> Flag | None:
        """The flag of a name, with dashes or underscores, whole; None if there is none."""
        return self.by_name.get(canonical(name))


def canonical(name: str) -> str:
    """A flag's name as parsers compare it: `--max_model_len` is `--max-model-len`."""
    return name.replace("_", "-") if name.startswith("--") else name


def versions(engine: str | None = None) -> dict[str, tuple[str, ...]]:
    """The versions that there are catalogues of, oldest first, by engine (only `engine` if given)."""
    found: dict[str, list[str]] = {}
    for path in FOLDER.glob("*.json"):
        if not path.name.endswith(".history.json"):
            name, _, version = path.stem.rpartition("-")
            found.setdefault(name, []).append(version)
    return {name: tuple(sorted(items, key=_order)) for name, items in sorted(found.items()) if engine in {None, name}}


@cache
def catalogue(engine: str, version: str) -> Catalogue:
    """The flags of one version.

    Args:
        engine: e.g. `vllm`.
        version: as released, with or without the `v` of an image tag.

    Raises:
        UnknownEngineError: no such catalogue.
    """
    release = version.removeprefix("v")
    known = versions()
    if engine not in known:
        raise UnknownEngineError(f"no catalogue of {engine}: there is {', '.join(known)}")
    if release not in known[engine]:
        raise UnknownEngineError(f"no catalogue of {engine} {release}: there is {', '.join(known[engine])}")
    raw = json.loads((FOLDER / f"{engine}-{release}.json").read_text(encoding="utf-8"))
    read, having = _history(engine)
    flags = {name: _flag(name, row, _since(name, read, having)) for name, row in raw["flags"].items()}
    by_name = {name: flag for flag in flags.values() for name in _names(flag)}
    by_name |= {short: flags[name] for short, name in _usual(engine).items() if name in flags}
    return Catalogue(
        engine=engine,
        version=release,
        read_from=raw["read_from"],
        flags=flags,
        by_name=by_name,
        schemas=raw["schemas"],
        quantization=raw.get("quantization", {}),
        gone=dict(_gone(release, read, having, by_name)),
        history=read,
    )


def _usual(engine: str) -> dict[str, str]:
    """Abbreviations that the program's own documentation writes, and what they stand for."""
    path = RULES / f"{engine}.toml"
    rows = tomllib.loads(path.read_text(encoding="utf-8")).get("usual", []) if path.exists() else []
    return {row["short"]: row["flag"] for row in rows}


def _names(flag: Flag) -> Iterable[str]:
    yield flag.name
    yield from flag.aliases
    if flag.negative:
        yield flag.negative


def _flag(name: str, row: Mapping[str, Any], since: str | None) -> Flag:
    return Flag(
        name=name,
        kind=row["kind"],
        type=row["type"],
        aliases=tuple(row.get("aliases", ())),
        negative=row.get("negative"),
        choices=tuple(row.get("choices", ())),
        folded=row.get("folded", False),
        names=tuple(row.get("names", ())),
        field_names={key: tuple(value) for key, value in row.get("field_names", {}).items()},
        default=row.get("default"),
        minimum=row.get("minimum"),
        maximum=row.get("maximum"),
        exclusive_minimum=row.get("exclusiveMinimum"),
        exclusive_maximum=row.get("exclusiveMaximum"),
        schema=row.get("schema"),
        nullable=row.get("nullable", False),
        deprecated=row.get("deprecated", False),
        since=since,
    )


@cache
def _history(engine: str) -> tuple[tuple[str, ...], Mapping[str, frozenset[str]]]:
    path = FOLDER / f"{engine}.history.json"
    if not path.exists():
        return (), {}
    raw = json.loads(path.read_text(encoding="utf-8"))
    read: tuple[str, ...] = tuple(raw["versions"])
    return read, {name: frozenset(read[place] for place in places) for name, places in raw["flags"].items()}


def _since(name: str, read: tuple[str, ...], having: Mapping[str, frozenset[str]]) -> str | None:
    first = next((version for version in read if version in having.get(name, ())), None)
    return None if read and first == read[0] else first


def _gone(
    release: str, read: tuple[str, ...], having: Mapping[str, frozenset[str]], there: Mapping[str, Flag]
) -> Iterable[tuple[str, str]]:
    before = [version for version in read if _order(version) < _order(release)]
    for name, have in having.items():
        last = next((version for version in reversed(before) if version in have), None)
        if name in there or last is None:
            continue
        yield name, next(version for version in read if _order(version) > _order(last))


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
