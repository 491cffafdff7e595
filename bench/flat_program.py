"""Write a flat Pulumi program that registers the same resources as a deployed stack.

The yardstick for our components: what the same resources cost when they are written down one after another with the
SDKs' own classes, without components, configuration or plan. Names, inputs, dependencies, providers and options that
reach the engine are those of the stack. Where an input is another resource's id, name or the like it is taken from
there; what is computed from such values (policies, the kubeconfig) stands there as a plain value.
"""

from __future__ import annotations

import importlib
import json
import pprint
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulumi import _types
from pulumi.runtime import rpc

from local.provider_double import sdk_types

PROVIDER_PREFIX = "pulumi:providers:"
COMPONENT_PREFIXES = ("inference-platform:", "pulumi:pulumi:")
FILLED_IN = ("__defaults", "__internal", "version")
SHORT = 5
"""Length of strings that are not looked for among outputs."""

TAKEN = {"resource_name": "resource_name_"}
"""Arguments that the SDKs name otherwise, since every resource has one of this name: its logical name."""

MODULES = {"aws": "aws", "azure-native": "azure", "gcp": "gcp", "kubernetes": "kubernetes"}
"""What the program calls each SDK."""

HEADER = '''"""Generated: the resources of a deployed stack, written down flat."""

import json

import pulumi
{imports}

made = {{}}


def options(provider, after, ignore, protect, timeouts):
    return pulumi.ResourceOptions(
        provider=made[provider], depends_on=[made[name] for name in after], ignore_changes=ignore, protect=protect,
        custom_timeouts=pulumi.CustomTimeouts(**timeouts) if timeouts else None,
    )

'''


def write(deployment: dict[str, Any], folder: Path) -> int:
    """Write ``Pulumi.yaml`` and ``__main__.py`` into ``folder``.

    Args:
        deployment: what ``pulumi stack export --show-secrets`` printed.
        folder: of the new program; must exist.

    Returns:
        Number of resources that the program registers, providers included.
    """
    resources = deployment["deployment"]["resources"]
    kept = [item for item in resources if not item["type"].startswith(COMPONENT_PREFIXES)]
    keys = {item["urn"]: f"r{index}" for index, item in enumerate(kept)}
    by_urn = {item["urn"]: item for item in kept}
    packages = sorted({package_of(item["type"]) for item in kept})
    imports = "\n".join(f"import {sdk_types.PACKAGES[package]} as {MODULES[package]}" for package in packages)
    if "kubernetes" in packages:
        imports += "\nfrom pulumi_kubernetes.apiextensions import CustomResource"
    lines = [HEADER.format(imports=imports)]
    lines += [
        provider(item, keys) if is_provider(item) else statement({**item, "inputs": taken(item, keys, by_urn)}, keys)
        for item in kept
    ]
    (folder / "Pulumi.yaml").write_text("name: inference-platform\nruntime: python\n")
    (folder / "__main__.py").write_text("\n".join(lines))
    return len(kept)


def is_provider(resource: dict[str, Any]) -> bool:
    """Whether it is an explicit provider."""
    return bool(resource["type"].startswith(PROVIDER_PREFIX))


def package_of(token: str) -> str:
    """The SDK of a type: `aws` of `aws:eks/cluster:Cluster` and of `pulumi:providers:aws`."""
    return token.removeprefix(PROVIDER_PREFIX).split(":")[0]


def name_of(resource: dict[str, Any]) -> str:
    """The logical name: the last part of the URN."""
    name: str = resource["urn"].rsplit("::", 1)[1]
    return name


def provider(resource: dict[str, Any], keys: dict[str, str]) -> str:
    """The constructor call of a provider."""
    package = package_of(resource["type"])
    module = sdk_types.PACKAGES[package]
    cls = importlib.import_module(f"{module}.provider").ProviderArgs
    types = sdk_types.provider_arguments(package).types
    inputs = given(resource)
    # What is not a string travels as JSON in a string.
    plain = {
        key: value if types[key] is str or not isinstance(value, str) else json.loads(value)
        for key, value in inputs.items()
    }
    after = [keys[urn] for urn in resource.get("dependencies") or [] if urn in keys]
    options = f"    opts=pulumi.ResourceOptions(depends_on=[{', '.join(f'made[{key!r}]' for key in after)}]),\n"
    return _call(
        keys[resource["urn"]], f"{MODULES[package]}.Provider", name_of(resource), python_names(cls, plain), options
    )


def statement(resource: dict[str, Any], keys: dict[str, str]) -> str:
    """The constructor call of any other resource."""
    after = [keys[urn] for urn in resource.get("dependencies") or [] if urn in keys]
    timeouts = {key: f"{value}s" for key, value in (resource.get("customTimeouts") or {}).items() if value}
    of = (
        keys[resource["provider"].rpartition("::")[0]],
        after,
        resource.get("ignoreChanges") or [],
        bool(resource.get("protect")),
        timeouts,
    )
    constructor, arguments = call(resource["type"], given(resource))
    options = f"    opts=options({', '.join(map(repr, of))}),\n"
    return _call(keys[resource["urn"]], constructor, name_of(resource), arguments, options)


def _provides(urn: str) -> bool:
    return f"::{PROVIDER_PREFIX}" in urn or f"${PROVIDER_PREFIX}" in urn


def _call(key: str, constructor: str, name: str, arguments: Mapping[str, Any], options: str) -> str:
    body = "".join(f"    {word}={pprint.pformat(value, width=110)},\n" for word, value in arguments.items())
    return f"made[{key!r}] = {constructor}(\n    {name!r},\n{body}{options})"


def given(resource: dict[str, Any]) -> dict[str, Any]:
    """The inputs without what the provider filled in."""
    return {key: _plain(value) for key, value in resource["inputs"].items() if key not in FILLED_IN}


class Reference:
    """An output of another resource."""

    def __init__(self, key: str, attribute: str) -> None:
        self._text = f"made[{key!r}].{attribute}"

    def __repr__(self) -> str:
        return self._text


def taken(resource: dict[str, Any], keys: Mapping[str, str], by_urn: Mapping[str, dict[str, Any]]) -> dict[str, object]:
    """The inputs, with references where a value is an output of a resource that it depends on."""
    depends: Mapping[str, list[str]] = resource.get("propertyDependencies") or {}
    found = {}
    for name, value in resource["inputs"].items():
        outputs: dict[str, Reference] = {}
        for urn in depends.get(name) or ():
            if urn in by_urn and not _provides(urn):
                outputs |= references(by_urn[urn], keys[urn])
        found[name] = _referring(value, outputs)
    return found


def references(resource: dict[str, Any], key: str) -> dict[str, Reference]:
    """A resource's outputs by their values; of one value under several names, the id."""
    try:
        cls = sdk_types.resource_class(resource["type"])
    except sdk_types.UnknownTokenError:
        return {}
    python = {wire: name for name, wire, _ in _types._py_properties(cls)}  # type: ignore[arg-type,unused-ignore]
    outputs = (resource.get("outputs") or {}).items()
    named = {value: Reference(key, python[wire]) for wire, value in outputs if wire in python and _telling(value)}
    return {**named, resource["id"]: Reference(key, "id")}


def _telling(value: object) -> bool:
    """Whether a value is unlikely to be the same by chance."""
    return isinstance(value, str) and len(value) > SHORT


def _referring(value: object, outputs: Mapping[str, Reference]) -> object:
    if isinstance(value, list):
        return [_referring(item, outputs) for item in value]
    if isinstance(value, dict):
        return {key: _referring(item, outputs) for key, item in value.items()}
    return outputs.get(value, value) if isinstance(value, str) else value


class Secret:
    """A value that the program marks as a secret."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"pulumi.Output.secret({self.value!r})"


def _plain(value: object) -> object:
    """A value of the state as the program gives it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
        return Secret(json.loads(value["plaintext"]))
    return {key: _plain(item) for key, item in value.items() if key != "__defaults"}


def call(token: str, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The SDK's class of a type and its arguments; CustomResource where Kubernetes' has none."""
    try:
        cls = sdk_types.resource_class(token)
    except sdk_types.UnknownTokenError:
        others = {key: value for key, value in inputs.items() if key not in ("apiVersion", "kind")}
        return "CustomResource", {"api_version": inputs["apiVersion"], "kind": inputs["kind"], **others}
    package, *folders = cls.__module__.split(".")[:-1]
    module = next(MODULES[key] for key, name in sdk_types.PACKAGES.items() if name == package)
    if module == "kubernetes":
        inputs = {key: value for key, value in inputs.items() if key not in ("apiVersion", "kind")}
    return ".".join((module, *folders, cls.__name__)), python_names(sdk_types.arguments_class(token), inputs)


def python_names(cls: type, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments under the names that Python has for them."""
    names = {wire: python for python, wire, _ in _types._py_properties(cls)}  # type: ignore[arg-type,unused-ignore]
    return {TAKEN.get(names[key], names[key]): value for key, value in inputs.items()}


def read_export(text: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Parse what ``pulumi stack export`` printed.

    Args:
        text: the export.
        names: of objects, each with the name that the flat program's object gets.
    """
    for ours, flat in names.items():
        text = text.replace(ours, flat)
    document: dict[str, Any] = json.loads(text)
    return document
