"""Property maps between the engine's protobuf form and plain Python, and paths into them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import struct_pb2
from pulumi.runtime import rpc

UNKNOWN = rpc.UNKNOWN
"""What the engine sends in a preview for a value that only the deployment will know."""

SPECIAL = rpc._special_sig_key
"""Key that marks a map as an asset, an archive or a secret (SDK, runtime/rpc.py)."""

SECRET = rpc._special_secret_sig

Properties = dict[str, Any]


def from_struct(struct: struct_pb2.Struct) -> Properties:
    """Plain values of a property map; whole numbers become int, secrets lose their wrapping."""
    return {key: _from_value(value) for key, value in struct.fields.items()}


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = from_struct(value.struct_value)
        return fields["value"] if fields.get(SPECIAL) == SECRET else fields
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return {"string_value": value.string_value, "bool_value": value.bool_value}.get(str(kind))


def to_struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """The engine's form of a property map; None values are left out, as providers do."""
    struct = struct_pb2.Struct()
    struct.update(_without_none(properties))
    return struct


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def contains_unknown(value: Any) -> bool:
    """Whether any part of a value is not known yet."""
    if isinstance(value, Mapping):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def leaves(value: Any) -> Iterator[Any]:
    """Every scalar in a value."""
    if isinstance(value, Mapping):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def join(path: str, step: str | int) -> str:
    """One step further down a property path, in the engine's notation: `a.b[0]["c.d"]`."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    if not re.fullmatch(r"[\w$-]+", step):
        quoted = step.replace('"', '\\"')
        return f'{path}["{quoted}"]'
    return f"{path}.{step}" if path else step


def steps(path: str) -> list[str | int]:
    """The steps of a property path: `a.b[0]` is `["a", "b", 0]`."""
    found = re.findall(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)', path)
    return [int(index) if index else (quoted.replace('\\"', '"') or name) for quoted, index, name in found]


def set_at(properties: Properties, path: str, value: Any) -> None:
    """Put a value at a path, making the maps on the way.

    Raises:
        IndexError: the path leads through a list element that is not there.
    """
    *way, last = steps(path)
    place: Any = properties
    for step in way:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    place[last] = value
