"""Plausible values for what a cloud computes, by the type and name that the SDK gives a property.

Used where `clouds/` says nothing more exact. All values are made up; they only have the right form.
"""

from __future__ import annotations

import collections.abc
import enum
import hashlib
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pulumi import _types

from local.provider_double import sdk_types
from local.provider_double.wire import contains_unknown

DEPTH = 4
"""Nested objects that are made up, levels."""

PLAIN = {bool: False, int: 0, float: 0}
CREATED_AT = "2026-01-01T00:00:00Z"


def hex_digits(*parts: str, length: int = 17) -> str:
    """The same digits for the same parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def number(*parts: str, digits: int = 12) -> str:
    """The same decimal digits for the same parts."""
    return str(int(hex_digits(*parts, length=15), 16)).rjust(digits, "1")[:digits]


def uuid(*parts: str) -> str:
    """The same UUID for the same parts."""
    text = hex_digits(*parts, length=32)
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def echoed(declared: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs in the form that the outputs have: Azure takes a list of ids where it answers with a map of them.

    Args:
        declared: output types by name on the wire.
        given: the inputs; not all need be known.
    """
    shaped = {name: _echoed(value, declared.get(name)) for name, value in given.items()}
    return {name: value for name, value in shaped.items() if value is not None or given[name] is None}


def _echoed(value: Any, hint: Any) -> Any:
    """One input as an output; None where that is not known yet."""
    output = _object_class(hint, _types.is_output_type)
    if output is not None and isinstance(value, Mapping):
        return echoed(sdk_types.shape(output).types, value)
    if isinstance(value, list) and _is_map(hint):
        return None if contains_unknown(value) else {item: {} for item in value}
    return value


def _is_map(hint: Any) -> bool:
    members = sdk_types.union_members(hint) if hint is not None else []
    return any(typing.get_origin(member) in {dict, collections.abc.Mapping} for member in members)


def computed(declared: Mapping[str, Any], arguments: Mapping[str, Any], given: Mapping[str, Any], seed: str) -> Any:
    """Values of the properties that are outputs only, also inside of what was given.

    Args:
        declared: output types by name on the wire.
        arguments: argument types by name on the wire.
        given: the inputs.
        seed: same seed, same values.
    """
    values: dict[str, Any] = {}
    for name, hint in declared.items():
        if name in given:
            values[name] = _completed(given[name], hint, arguments.get(name), f"{seed}/{name}")
        elif name not in arguments:
            values[name] = invent(hint, name, seed)
    return values


def _completed(value: Any, hint: Any, argument: Any, seed: str) -> Any:
    """What was given, with the fields that only the output class has."""
    output = _object_class(hint, _types.is_output_type)
    if output is not None and isinstance(value, Mapping):
        cls = _object_class(argument, _types.is_input_type)
        if cls is None:
            return value
        inner = computed(sdk_types.shape(output).types, sdk_types.shape(cls).types, value, seed)
        return {**value, **inner}
    item = _item_type(hint)
    if item is not None and isinstance(value, list):
        return [_completed(part, item, _item_type(argument), f"{seed}/{index}") for index, part in enumerate(value)]
    return value


def _object_class(hint: Any, wanted: Callable[[type], bool]) -> type | None:
    members = sdk_types.union_members(hint) if hint is not None else []
    return next((member for member in members if isinstance(member, type) and wanted(member)), None)


def _item_type(hint: Any) -> Any:
    for member in sdk_types.union_members(hint) if hint is not None else []:
        if typing.get_origin(member) in {list, collections.abc.Sequence}:
            return typing.get_args(member)[0]
    return None


def invent(hint: Any, name: str, seed: str, depth: int = 0) -> Any:
    """A value of a type; None for what has none that says anything."""
    member = sdk_types.union_members(hint)[0]
    origin = typing.get_origin(member)
    if origin is not None:
        return {} if issubclass(origin, collections.abc.Mapping) else []
    if member in PLAIN:
        return PLAIN[member]
    if member is str:
        return text(name, seed)
    if isinstance(member, type) and issubclass(member, enum.Enum):
        return next(iter(member)).value
    return _object(member, f"{seed}/{name}", depth) if depth < DEPTH else None


def _object(member: Any, seed: str, depth: int) -> Any:
    """A nested object with its required fields."""
    if not (isinstance(member, type) and (_types.is_output_type(member) or _types.is_input_type(member))):
        return None
    shape = sdk_types.shape(member)
    inner = {key: invent(kind, key, seed, depth + 1) for key, kind in shape.types.items() if key in shape.required}
    return {key: value for key, value in inner.items() if value is not None}


def text(name: str, seed: str) -> str:
    """A string by what a property of this name usually holds."""
    lower = name.lower()
    exact = {
        "provisioningstate": "Succeeded",
        "status": "ACTIVE",
        "state": "available",
        "etag": f'W/"{hex_digits(seed, name, length=12)}"',
        "createdat": CREATED_AT,
        "createdate": CREATED_AT,
        "createtime": CREATED_AT,
        "creationtimestamp": CREATED_AT,
        "region": "",
        "issuerurl": f"https://oidc.double.invalid/{hex_digits(seed, length=12)}/",
    }
    if lower in exact:
        return exact[lower]
    if lower in {"tenantid", "principalid", "clientid", "objectid", "uid", "uniqueid", "resourceguid"}:
        return uuid(seed, name)
    if "fqdn" in lower or "hostname" in lower:
        return f"{hex_digits(seed, name, length=10)}.double.invalid"
    if "url" in lower or "endpoint" in lower or lower in {"uri", "selflink"}:
        return f"https://{hex_digits(seed, name, length=10)}.double.invalid"
    if lower.endswith("time") or lower.endswith("timestamp"):
        return CREATED_AT
    return f"{name}-{hex_digits(seed, name, length=8)}"
