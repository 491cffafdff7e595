"""What the installed Pulumi SDKs say about a resource or function: its arguments, their types, its outputs.

The SDK's classes are generated from the provider's schema and carry names and types of all properties, nested
ones too; nothing is written down here a second time. Reads `pulumi._types`, which the generated classes
themselves are built on (pinned with the SDK).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
from pulumi import _types
from pulumi.runtime import rpc

PACKAGES = {
    "aws": "pulumi_aws",
    "azure-native": "pulumi_azure_native",
    "gcp": "pulumi_gcp",
    "kubernetes": "pulumi_kubernetes",
}
"""Python package of each provider that can be stood in for."""


class UnknownTokenError(Exception):
    """The SDK has no resource or function of this token."""


@dataclass(frozen=True)
class Shape:
    """Properties of one class.

    Attributes:
        types: from the name on the wire to the Python type.
        required: names that must be there.
    """

    types: Mapping[str, Any]
    required: frozenset[str]


@dataclass(frozen=True)
class Function:
    """A function of a provider (an invoke).

    Attributes:
        arguments: its parameters.
        result: class of what it returns.
    """

    arguments: Shape
    result: type


def package_version(package: str) -> str:
    """Version of the SDK, which is that of the plugin it asks for."""
    return importlib.metadata.version(PACKAGES[package])


@cache
def resource_class(token: str) -> type[pulumi.Resource]:
    """Class of a type token such as `aws:eks/nodeGroup:NodeGroup`.

    Raises:
        UnknownTokenError: the installed SDK has no such class.
    """
    package, module, _ = token.split(":")
    importlib.import_module(PACKAGES[package])
    for registered in rpc._RESOURCE_MODULES.get(f"{package}:{module}", []):
        information = registered.mod_info  # type: ignore[attr-defined]
        if name := information["classes"].get(token):
            cls: type[pulumi.Resource] = getattr(importlib.import_module(information["fqn"]), name)
            return cls
    raise UnknownTokenError(f"{PACKAGES[package]} {package_version(package)} has no resource {token}")


@cache
def known_tokens(package: str) -> tuple[str, ...]:
    """Every resource type token of a provider."""
    importlib.import_module(PACKAGES[package])
    modules = (
        module for key, found in rpc._RESOURCE_MODULES.items() if key.startswith(f"{package}:") for module in found
    )
    return tuple(token for module in modules for token in module.mod_info["classes"])  # type: ignore[attr-defined]


@cache
def arguments_class(token: str) -> type:
    """The `...Args` class of a resource.

    Raises:
        UnknownTokenError: the installed SDK has no such class.
    """
    cls = resource_class(token)
    module = inspect.getmodule(cls)
    # InitArgs where an argument type of the same name was there first (code generator of the SDKs).
    for suffix in ("InitArgs", "Args"):
        found = getattr(module, cls.__name__ + suffix, None)
        if isinstance(found, type) and found.__module__ == cls.__module__:
            return found
    raise UnknownTokenError(f"no argument class for {token}")


@cache
def provider_arguments(package: str) -> Shape:
    """Configuration of an explicit provider."""
    module = importlib.import_module(f"{PACKAGES[package]}.provider")
    return shape(module.ProviderArgs)


@cache
def shape(cls: type) -> Shape:
    """Properties of an input or output class of an SDK."""
    hints = _types._types_from_py_properties(cls)
    required = _types._required_property_names(cls)
    return Shape(hints, frozenset(required))


@cache
def output_types(token: str) -> Mapping[str, Any]:
    """Outputs of a resource: from the name on the wire to the type."""
    return _types.resource_types(resource_class(token))


@cache
def function(token: str) -> Function:
    """A function such as `aws:eks/getCluster:getCluster`.

    Raises:
        UnknownTokenError: the installed SDK has no such function.
    """
    package, module, name = token.split(":")
    root = importlib.import_module(PACKAGES[package])
    folder = Path(str(root.__file__)).parent
    area = module.split("/")[0]
    if area != "index":
        folder = folder / _area_folder(package, area)
    source = _source_of(folder, token, name)
    if source is None:
        raise UnknownTokenError(f"{PACKAGES[package]} {package_version(package)} has no function {token}")
    relative = source.relative_to(Path(str(root.__file__)).parent).with_suffix("")
    python = importlib.import_module(".".join([PACKAGES[package], *relative.parts]))
    plain = getattr(python, relative.name)
    hints = typing.get_type_hints(plain)
    result = typing.cast("type", hints.pop("return"))
    names = _wire_names(plain)
    required = _required_parameters(python, relative.name)
    arguments = {wire: unwrap(hints[parameter]) for parameter, wire in names.items()}
    shape_ = Shape(arguments, frozenset(names[parameter] for parameter in required if parameter in names))
    return Function(shape_, result.__mro__[1] if result.__name__.startswith("Awaitable") else result)


def _area_folder(package: str, area: str) -> str:
    """Python folder of a module of the schema: `awsx` may be `aws_x`."""
    for key, found in rpc._RESOURCE_MODULES.items():
        if key == f"{package}:{area}" or key.startswith(f"{package}:{area}/"):
            information = found[0].mod_info  # type: ignore[attr-defined]
            return "/".join(information["fqn"].split(".")[1:])
    return area


def _source_of(folder: Path, token: str, name: str) -> Path | None:
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
    likely = [folder / f"{snake}.py", *(path for path in folder.glob("*.py") if path.stem.startswith(snake[:4]))]
    quoted = f"'{token}'"
    return next((path for path in likely if path.is_file() and quoted in path.read_text()), None)


def _wire_names(plain: Callable[..., Any]) -> dict[str, str]:
    """From parameter to name on the wire, as the function itself maps them."""
    pairs = re.findall(r"__args__\['(\w+)'\] = (\w+)", inspect.getsource(plain))
    return {parameter: wire for wire, parameter in pairs}


def _required_parameters(module: types.ModuleType, name: str) -> set[str]:
    """Parameters that must be given; only the `_output` form of a function tells them apart."""
    lifted = getattr(module, f"{name}_output", None)
    if lifted is None:
        return set()
    text = inspect.getsource(lifted).split(") ->")[0]
    declared = re.findall(r"(\w+): pulumi\.Input\[(Optional\[Optional)?", text)
    return {parameter for parameter, optional in declared if not optional}


def unwrap(hint: Any) -> Any:
    """A type without Optional, Input, Output and Awaitable around it."""
    members = union_members(hint)
    if not members:
        return Any
    return members[0] if len(members) == 1 else typing.Union[tuple(members)]  # noqa: UP007  (built at run time)


def union_members(hint: Any) -> list[Any]:
    """What a value of this type may be, without what only programs see (None, Output, Awaitable)."""
    if typing.get_origin(hint) not in {typing.Union, types.UnionType}:
        return [hint]
    members: list[Any] = []
    for member in typing.get_args(hint):
        origin = typing.get_origin(member)
        if member is type(None) or origin in {pulumi.Output, Awaitable}:
            continue
        members += [found for found in union_members(member) if found not in members]
    return members
