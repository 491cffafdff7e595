"""Reads Azure's own API models: what a request body may hold, by the classes of azure-mgmt-containerservice.

The package sends whatever it is given; this reads its annotations. Read-only properties, unknown names, words outside
of an enumeration, wrong types and missing properties are violations.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from azure.mgmt.containerservice import models
from azure.mgmt.containerservice._utils.model_base import Model

AGENT_POOL_PATH = frozenset({"resourceGroupName", "resourceName", "agentPoolName"})
CLUSTER_PATH = frozenset({"resourceGroupName", "resourceName"})
CLUSTER_TOP = frozenset({"location", "tags", "sku", "identity", "kind", "extendedLocation"})


def agent_pool_body(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The request body that azure-native makes of an AgentPool's inputs: names in the path, the rest in properties."""
    return {"properties": {key: value for key, value in inputs.items() if key not in AGENT_POOL_PATH}}


def cluster_body(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The request body that azure-native makes of a ManagedCluster's inputs."""
    body: dict[str, Any] = {key: value for key, value in inputs.items() if key in CLUSTER_TOP}
    identity = dict(body["identity"])
    # The SDK takes a list of ids where Azure wants a map.
    identity["userAssignedIdentities"] = {key: {} for key in identity.get("userAssignedIdentities", ())}
    rest = {key: value for key, value in inputs.items() if key not in CLUSTER_TOP | CLUSTER_PATH}
    if "autoScalerProfile" in rest:
        # The one object that Azure writes with dashes; the SDK writes it as all others.
        rest["autoScalerProfile"] = {_dashed(key): value for key, value in rest["autoScalerProfile"].items()}
    return {**body, "identity": identity, "properties": rest}


def _dashed(name: str) -> str:
    return re.sub("[A-Z]", lambda capital: f"-{capital[0].lower()}", name)


def violations(model: type[Model], body: object, path: str = "") -> Iterator[str]:
    """What Azure's API model does not allow.

    Args:
        model: class of the model.
        body: what would be sent, as JSON.
        path: where it stands.
    """
    if not isinstance(body, Mapping):
        yield f"{path}: {body!r} is no object"
        return
    fields = {field._rest_name: (name, field) for name, field in _rest_fields(model).items()}
    hints = _hints(model)
    for key, value in body.items():
        if key not in fields:
            yield f"{path}.{key}: no such property"
            continue
        name, field = fields[key]
        if field._visibility == ["read"]:
            yield f"{path}.{key}: only read"
            continue
        yield from _check(hints[name], value, f"{path}.{key}")
    for key, (name, field) in fields.items():
        if key not in body and field._visibility != ["read"] and not _optional(hints[name]):
            yield f"{path}.{key}: missing"


def _rest_fields(model: type[Model]) -> dict[str, Any]:
    model()  # The names of the wire are worked out with the first object.
    found: dict[str, Any] = {}
    for parent in reversed(model.__mro__):
        found |= {name: field for name, field in vars(parent).items() if hasattr(field, "_visibility")}
    return found


def _hints(model: type[Model]) -> dict[str, Any]:
    from azure.mgmt.containerservice.models import _models

    names: dict[str, Any] = {**vars(typing), **vars(_models), "_models": models}
    found: dict[str, Any] = {}
    for parent in reversed(model.__mro__):
        for name, annotation in vars(parent).get("__annotations__", {}).items():
            if not name.startswith("_"):
                found[name] = eval(annotation, names) if isinstance(annotation, str) else annotation  # noqa: S307
    return found


def _optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _check(hint: Any, value: object, path: str) -> Iterator[str]:
    kinds = [_resolved(kind) for kind in _alternatives(hint) if kind is not type(None)]
    enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
    if enums:
        allowed = {item.value for enum in enums for item in enum}
        if value not in allowed:
            yield f"{path}: {value!r} is none of {sorted(allowed)}"
        return
    (kind,) = kinds
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Model):
        yield from violations(kind, value, path)
    elif origin in {list, dict}:
        yield from _check_items(origin, arguments[-1], value, path)
    elif not _is_a(kind, value):
        yield f"{path}: {value!r} is no {kind.__name__}"


def _check_items(kind: type, item_hint: Any, value: object, path: str) -> Iterator[str]:
    if kind is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check(item_hint, item, f"{path}[{index}]")
    elif kind is dict and isinstance(value, Mapping):
        for key, item in value.items():
            yield from _check(item_hint, item, f"{path}.{key}")
    else:
        yield f"{path}: {value!r} is no {'list' if kind is list else 'object'}"


def _alternatives(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    return typing.get_args(hint) if union else (hint,)


def _resolved(kind: Any) -> Any:
    if isinstance(kind, typing.ForwardRef):
        kind = kind.__forward_arg__
    return getattr(models, kind.removeprefix("_models.")) if isinstance(kind, str) else kind


def _is_a(kind: type, value: object) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is int:
        # Pulumi's mocks hand every number over as a float.
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if kind is float:
        return isinstance(value, (int, float))
    return isinstance(value, kind)
