"""Checks an object against the OpenAPI schema of a custom resource definition.

The part of OpenAPI that Kubernetes allows there; CEL rules are not evaluated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

CRDS = Path(__file__).parent / "crds"
TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def load(name: str) -> dict[str, Any]:
    """The schema of a resource's spec."""
    schema: dict[str, Any] = json.loads((CRDS / f"{name}.json").read_text())["schema"]
    return schema


def violations(value: Any, schema: Mapping[str, Any], path: str = "spec") -> Iterator[str]:
    """What is wrong with the value, each with its path."""
    expected = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            yield f"{path}: neither a number nor a text: {value!r}"
            return
    elif expected and (not isinstance(value, TYPES[expected]) or (isinstance(value, bool) and expected != "boolean")):
        yield f"{path}: not of type {expected}: {value!r}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        yield f"{path}: {value!r} does not match {schema['pattern']}"
    yield from _bounds(value, schema, path)
    if isinstance(value, Mapping):
        yield from _object(value, schema, path)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from violations(item, schema.get("items", {}), f"{path}[{index}]")


def _object(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: required"
    for name, item in value.items():
        if name in properties:
            yield from violations(item, properties[name], f"{path}.{name}")
        elif more is False:
            yield f"{path}.{name}: unknown"
        elif isinstance(more, Mapping):
            yield from violations(item, more, f"{path}.{name}")


def _bounds(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    kinds: tuple[tuple[type, str], ...] = ((str, "Length"), (list, "Items"), (dict, "Properties"))
    size = next((name for kind, name in kinds if isinstance(value, kind)), "")
    amount, low, high = (
        (len(value), schema.get(f"min{size}"), schema.get(f"max{size}"))
        if size
        else (value, schema.get("minimum"), schema.get("maximum"))
    )
    if low is not None and amount < low:
        yield f"{path}: {amount} is less than {low}"
    if high is not None and amount > high:
        yield f"{path}: {amount} is more than {high}"
