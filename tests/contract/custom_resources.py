"""Checks a custom resource by the schema of its CRD, as an API server does; a field that it would prune is a violation.

What is not evaluated: rules in CEL (x-kubernetes-validations).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parent / "crds"


@dataclass(frozen=True)
class Schema:
    """The schema of one version of a custom resource."""

    openapi: Mapping[str, Any]

    def violations(self, resource: Mapping[str, Any]) -> Iterator[str]:
        """What the API server would refuse or prune."""
        checked = {key: value for key, value in resource.items() if key not in {"apiVersion", "kind", "metadata"}}
        yield from _check(self.openapi, checked, "")


def crd_schema(file: str, version: str, folder: str = "azure") -> Schema:
    """Schema of a version of the CRD in a file of `crds/<folder>`.

    Raises:
        KeyError: the CRD has no such version.
    """
    document = yaml.safe_load((CRDS / folder / file).read_text(encoding="utf-8"))
    schemas = {item["name"]: item["schema"]["openAPIV3Schema"] for item in document["spec"]["versions"]}
    return Schema(schemas[version])


def spec_schema(name: str) -> Schema:
    """Schema of a custom resource of which `crds/<name>.json` has the spec alone."""
    spec = json.loads((CRDS / f"{name}.json").read_text(encoding="utf-8"))["schema"]
    return Schema({"type": "object", "properties": {"spec": spec}, "required": ["spec"]})


def _check(schema: Mapping[str, Any], value: object, path: str) -> Iterator[str]:
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            yield f"{path}: {value!r} is no number or text"
        elif "pattern" in schema and not re.search(schema["pattern"], str(value)):
            yield f"{path}: {value!r} does not match {schema['pattern']}"
        return
    kind = schema.get("type")
    if not _is_a(kind, value):
        yield f"{path}: {value!r} is no {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    yield from _check_bounds(schema, value, path)
    if isinstance(value, Mapping):
        yield from _check_object(schema, value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check(schema.get("items", {}), item, f"{path}[{index}]")


def _check_object(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[str]:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties")
    yield from (f"{path}.{name}: missing" for name in schema.get("required", ()) if name not in value)
    for name, item in value.items():
        if name in properties:
            yield from _check(properties[name], item, f"{path}.{name}")
        elif isinstance(more, Mapping):
            yield from _check(more, item, f"{path}.{name}")
        elif not more and not schema.get("x-kubernetes-preserve-unknown-fields") and properties:
            yield f"{path}.{name}: no such field"


def _check_bounds(schema: Mapping[str, Any], value: object, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{path}: {value!r} does not match {schema['pattern']}"
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            yield f"{path}: {value!r} is too short or too long"
    elif isinstance(value, Mapping) and not (
        schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value))
    ):
        yield f"{path}: {len(value)} fields are too few or too many"
    elif isinstance(value, list) and not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{path}: {len(value)} items are too few or too many"
    elif isinstance(value, (int, float)) and not (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
    ):
        yield f"{path}: {value!r} is out of bounds"


TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    # Pulumi's mocks hand every number over as a float.
    "integer": (int, float),
    "number": (int, float),
}


def _is_a(kind: str | None, value: object) -> bool:
    if kind is None:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind]) and (kind != "integer" or float(value).is_integer())  # type: ignore[arg-type]
