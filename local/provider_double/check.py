"""Inputs held against the SDK's own types: unknown names, wrong types and missing properties, each with its path.

What this cannot see: whether the cloud accepts the value (ranges, formats, combinations, names in use).
"""

from __future__ import annotations

import difflib
import enum
import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import _types
from pulumi.runtime import rpc

from local.provider_double import sdk_types
from local.provider_double.sdk_types import Shape, UnknownTokenError
from local.provider_double.wire import SPECIAL, UNKNOWN, join

ENGINE_KEYS = frozenset({"version", "pluginDownloadURL", "__internal", "__defaults"})
"""Keys that the engine and bridged providers put beside the properties."""

LISTED = 12
"""Properties at most that are listed where none is near to an unknown one."""

ASSETS = {pulumi.Asset: rpc._special_asset_sig, pulumi.Archive: rpc._special_archive_sig}

SCALARS: dict[Any, tuple[type, ...]] = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}
NAMES = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Failure:
    """One thing wrong with an input.

    Attributes:
        path: of the property, as the engine writes it: `taints[0].effect`.
        reason: what is wrong, and the nearest valid name or the valid choices.
        severity: `error`, or `warning` where the SDK takes any string but lists the ones that it knows.
    """

    path: str
    reason: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


def check_inputs(token: str, inputs: Mapping[str, Any]) -> list[Failure]:
    """Hold a resource's inputs against its argument class.

    Args:
        token: type token, e.g. `aws:eks/nodeGroup:NodeGroup`.
        inputs: names as on the wire (camelCase); `UNKNOWN` passes for any type.

    Returns:
        Everything that is wrong; empty if nothing.
    """
    try:
        cls = sdk_types.arguments_class(token)
    except UnknownTokenError as error:
        if token.startswith("kubernetes:"):
            return _check_custom_resource(inputs)
        near = difflib.get_close_matches(token, sdk_types.known_tokens(token.split(":", maxsplit=1)[0]), 1)
        return [Failure("", f"{error}{_did_you_mean(near)}")]
    return _check_object(inputs, sdk_types.shape(cls), "")


def check_config(package: str, config: Mapping[str, Any]) -> list[Failure]:
    """Hold the configuration of a provider against its argument class.

    What is not a string travels as JSON in a string, as the SDKs send it.
    """
    shape = sdk_types.provider_arguments(package)
    decoded: dict[str, Any] = {}
    for key, value in config.items():
        if key in ENGINE_KEYS:
            continue
        decoded[key] = _decoded(value) if shape.types.get(key) is not str else value
    return _check_object(decoded, shape, "")


def check_function(token: str, arguments: Mapping[str, Any]) -> list[Failure]:
    """Hold the arguments of a function (an invoke) against its signature."""
    try:
        return _check_object(arguments, sdk_types.function(token).arguments, "")
    except UnknownTokenError as error:
        return [Failure("", str(error))]


def errors(failures: list[Failure]) -> list[Failure]:
    """The failures that refuse the input."""
    return [failure for failure in failures if failure.severity == "error"]


def _decoded(value: Any) -> Any:
    if not isinstance(value, str) or value == UNKNOWN:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _check_custom_resource(inputs: Mapping[str, Any]) -> list[Failure]:
    """A Kubernetes object of a kind that no SDK knows: only what all objects have in common."""
    failures = [Failure(key, "required property is missing") for key in ("apiVersion", "kind") if key not in inputs]
    metadata = inputs.get("metadata", {})
    shape = sdk_types.shape(sdk_types.arguments_class("kubernetes:core/v1:ConfigMap"))
    return failures + _check(metadata, shape.types["metadata"], "metadata")


def _check_object(value: Mapping[str, Any], shape: Shape, path: str) -> list[Failure]:
    failures = []
    for key, item in value.items():
        if key in shape.types:
            failures += _check(item, shape.types[key], join(path, key))
        elif key not in ENGINE_KEYS:
            near = difflib.get_close_matches(key, shape.types, 1)
            known = "" if near or len(shape.types) > LISTED else f"; it has {', '.join(sorted(shape.types))}"
            failures.append(Failure(join(path, key), f"no such property{_did_you_mean(near)}{known}"))
    missing = [name for name in shape.required if value.get(name) is None]
    return failures + [Failure(join(path, name), "required property is missing") for name in sorted(missing)]


def _did_you_mean(near: list[str]) -> str:
    return f"; did you mean {near[0]}?" if near else ""


def _check(value: Any, hint: Any, path: str) -> list[Failure]:
    """Hold one value against one type; of a union, the member that it is nearest to."""
    # A TypedDict and an output class stand beside the argument class that has the same properties.
    members = [member for member in sdk_types.union_members(hint) if not _is_twin(member)]
    if value is None or value == UNKNOWN or Any in members or not members:
        return []
    enums = [member for member in members if _is_enum(member)]
    if enums and str in members and isinstance(value, str):
        known = any(value == item.value for member in enums for item in member)
        reason = f"{value!r} is not among the SDK's {_choices(enums)}"
        # Open enumerations: the cloud may know more values than the SDK, so that is a warning.
        return [] if known else [Failure(path, reason, "warning")]
    results = [_check_member(value, member, path) for member in members]
    return min(results, key=lambda found: (len(errors(found)), len(found)))


def _is_twin(member: Any) -> bool:
    return typing.is_typeddict(member) or (isinstance(member, type) and _types.is_output_type(member))


def _check_member(value: Any, member: Any, path: str) -> list[Failure]:
    for is_kind, check in KINDS:
        if is_kind(member):
            return check(value, member, path)
    # Anything else the SDKs have is a plain object; nothing is said of its inside.
    return []


def _check_nested(value: Any, member: Any, path: str) -> list[Failure]:
    if not isinstance(value, Mapping):
        return [Failure(path, f"expected an object ({member.__name__}), got {_shown(value)}")]
    return _check_object(value, sdk_types.shape(member), path)


def _check_list(value: Any, member: Any, path: str) -> list[Failure]:
    if not isinstance(value, list):
        return [Failure(path, f"expected a list, got {_shown(value)}")]
    (item_hint,) = typing.get_args(member)
    return [failure for index, item in enumerate(value) for failure in _check(item, item_hint, join(path, index))]


def _check_map(value: Any, member: Any, path: str) -> list[Failure]:
    if not isinstance(value, Mapping):
        return [Failure(path, f"expected a map, got {_shown(value)}")]
    item_hint = typing.get_args(member)[1]
    return [failure for key, item in value.items() for failure in _check(item, item_hint, join(path, key))]


def _check_asset(value: Any, member: Any, path: str) -> list[Failure]:
    if isinstance(value, Mapping) and value.get(SPECIAL) == ASSETS[member]:
        return []
    return [Failure(path, f"expected an {member.__name__.lower()}, got {_shown(value)}")]


def _check_scalar(value: Any, member: Any, path: str) -> list[Failure]:
    # bool is an int in Python but not on the wire.
    matches = isinstance(value, SCALARS[member]) and (member is bool or not isinstance(value, bool))
    return [] if matches else [Failure(path, f"expected {NAMES[member]}, got {_shown(value)}")]


def _check_enum(value: Any, member: Any, path: str) -> list[Failure]:
    valid = [item.value for item in member]
    if value in valid:
        return []
    near = difflib.get_close_matches(str(value), [str(item) for item in valid], 1)
    return [Failure(path, f"{_shown(value)} is not one of {_choices([member])}{_did_you_mean(near)}")]


def _is_enum(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, enum.Enum)


def _choices(members: list[Any]) -> str:
    return ", ".join(str(item.value) for member in members for item in member)


def _is_nested(member: Any) -> bool:
    return isinstance(member, type) and _types.is_input_type(member)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a map"
    return "a list" if isinstance(value, list) else repr(value)


KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any, Any, str], list[Failure]]], ...] = (
    (lambda member: typing.get_origin(member) in {list, Sequence}, _check_list),
    (lambda member: typing.get_origin(member) in {dict, Mapping}, _check_map),
    (lambda member: member in ASSETS, _check_asset),
    (_is_enum, _check_enum),
    (lambda member: member in SCALARS, _check_scalar),
    (_is_nested, _check_nested),
)
"""How a value is held against each kind of type."""
