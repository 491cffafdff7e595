"""What a policy is, before any engine: a name, typed settings, and a function that finds what breaks it."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from policy.unknown import UnknownValueError
from policy.view import Resource


class Severity(Enum):
    """How bad a violation is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Finding:
    """One violation.

    Attributes:
        message: what is wrong, with the value; a clause that starts with where it stands.
        urn: of the resource, where a rule judges a whole stack.
    """

    message: str
    urn: str = ""


@dataclass(frozen=True)
class NoSettings:
    """For rules without settings."""


SettingsT = TypeVar("SettingsT")
Findings = Iterator[Finding]


@dataclass(frozen=True, kw_only=True)
class Rule(Generic[SettingsT]):
    """A policy.

    Attributes:
        name: what levels and settings refer to.
        description: what must hold, and why, in a sentence or two.
        fix: what to do about a violation.
        severity: how bad one is.
        settings: dataclass of what can be set; every field has a default and a description in its metadata.
        resource: judges one resource; or
        stack: judges all of them together.
    """

    name: str
    description: str
    fix: str
    severity: Severity
    settings: type[SettingsT]
    resource: Callable[[Resource, SettingsT], Findings] | None = None
    stack: Callable[[Sequence[Resource], SettingsT], Findings] | None = None

    def message(self, finding: Finding) -> str:
        """What a user reads under the policy's name."""
        return f"{finding.message}. Fix: {self.fix}"


def setting(default: Any, description: str, choices: Sequence[str] = ()) -> Any:
    """A field of a settings class; only `choices` will do where there are any."""
    return field(default=default, metadata={"description": description, "choices": choices})


class SettingsError(Exception):
    """The settings of a rule cannot be used; the message names the rule, the key and what would do."""


JSON_TYPES: Mapping[Any, Mapping[str, Any]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    tuple[str, ...]: {"type": "array", "items": {"type": "string"}},
}


def schema(settings: type[Any]) -> dict[str, dict[str, Any]]:
    """JSON Schema of each field of a settings class."""
    types = typing.get_type_hints(settings)
    found = {}
    for item in dataclasses.fields(settings):
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        found[item.name] = {**JSON_TYPES[types[item.name]], "description": item.metadata["description"]} | (
            {"default": default} if default is not None else {}
        )
    return found


def read_settings(rule: Rule[SettingsT], given: Mapping[str, Any]) -> SettingsT:
    """The settings of a rule, checked.

    Raises:
        SettingsError: a key that it does not have, a value of the wrong type, or one that is not among its choices.
    """
    settings: type[Any] = rule.settings
    types = typing.get_type_hints(settings)
    choices = {item.name: item.metadata["choices"] for item in dataclasses.fields(settings)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in types:
            known = ", ".join(types) or "none: it has no settings"
            raise SettingsError(f"policy {rule.name}: unknown setting {key!r}; settings: {known}")
        values[key] = _typed(rule.name, key, value, types[key])
        if choices[key] and values[key] not in choices[key]:
            # Taken for one that asks for nothing, a misspelt word would switch the policy off.
            raise SettingsError(
                f"policy {rule.name}: setting {key} is {value!r}; it must be one of {', '.join(choices[key])}"
            )
    return rule.settings(**values)


def _typed(rule: str, key: str, value: Any, wanted: Any) -> Any:
    # Numbers come as floating point from the engine's protocol.
    if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if wanted is int and isinstance(value, (int, float)) and not isinstance(value, bool) and value == int(value):
        return int(value)
    if wanted in (bool, str) and type(value) is wanted:
        return value
    if wanted == tuple[str, ...] and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        return tuple(value)
    expected = JSON_TYPES[wanted]["type"] + (" of strings" if wanted == tuple[str, ...] else "")
    raise SettingsError(f"policy {rule}: setting {key} is {value!r}; it must be a value of type {expected}")


class Doubts:
    """Collects what could not be judged, so that one unknown value does not hide all that comes after it.

    with doubts: judge(resource)     # an unknown value ends the judgement of this resource only
    """

    def __init__(self) -> None:
        self.errors: list[UnknownValueError] = []

    def __enter__(self) -> Doubts:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, UnknownValueError):
            self.errors.append(error)
            return True
        return False

    def settle(self) -> None:
        """Raise the first doubt, if there was one: the engine shows it as an advisory note."""
        if self.errors:
            paths = ", ".join(sorted({error.path for error in self.errors}))
            raise UnknownValueError(paths)
