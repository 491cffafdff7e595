"""Write a flat Pulumi program that registers the same resources as a deployed stack.

The yardstick for our components: what the same objects cost when they are written down one
after another with pulumi_kubernetes' own classes, without components, configuration or plan.
Names, inputs, dependencies and options that reach the engine are those of the stack.
"""

from __future__ import annotations

import json
import pprint
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROVIDER = "pulumi:providers:kubernetes"
COMPONENT_PREFIXES = ("inference-platform:", "pulumi:pulumi:")
HEADER = '''"""Generated: the resources of a deployed stack, written down flat."""

import json
import os
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.apiextensions import CustomResource

provider = kubernetes.Provider({provider!r}, **{provider_inputs})
made = {{}}


def options(after, ignore):
    return pulumi.ResourceOptions(provider=provider, depends_on=[made[name] for name in after], ignore_changes=ignore)

'''


def write(deployment: dict[str, Any], folder: Path) -> int:
    """Write ``Pulumi.yaml`` and ``__main__.py`` into ``folder``.

    Args:
        deployment: what ``pulumi stack export`` printed.
        folder: of the new program; must exist.

    Returns:
        Number of resources that the program registers, the provider included.
    """
    resources = deployment["deployment"]["resources"]
    kept = [item for item in resources if not item["type"].startswith((*COMPONENT_PREFIXES, PROVIDER))]
    (provider,) = (item for item in resources if item["type"] == PROVIDER)
    inputs = {key: value for key, value in provider["inputs"].items() if key not in ("version", "__internal")}
    keys = {item["urn"]: f"r{index}" for index, item in enumerate(kept)}
    lines = [HEADER.format(provider=name_of(provider), provider_inputs=pprint.pformat(snake_keys(inputs)))]
    lines += [statement(item, keys) for item in kept]
    (folder / "Pulumi.yaml").write_text("name: inference-platform\nruntime: python\n")
    (folder / "__main__.py").write_text("\n".join(lines))
    return len(kept) + 1


def snake_keys(inputs: dict[str, Any]) -> dict[str, Any]:
    """The provider's arguments as Python spells them."""
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): value for key, value in inputs.items()}


def name_of(resource: dict[str, Any]) -> str:
    """The logical name: the last part of the URN."""
    name: str = resource["urn"].rsplit("::", 1)[1]
    return name


def statement(resource: dict[str, Any], keys: dict[str, str]) -> str:
    """One constructor call."""
    inputs = {key: value for key, value in resource["inputs"].items() if key != "__defaults"}
    after = [keys[urn] for urn in resource.get("dependencies") or [] if urn in keys]
    common = f"options({after!r}, {resource.get('ignoreChanges') or []!r})"
    constructor, arguments = call(resource, inputs)
    body = "".join(f"    {key}={pprint.pformat(value, width=110)},\n" for key, value in arguments.items())
    return f"made[{keys[resource['urn']]!r}] = {constructor}(\n    {name_of(resource)!r},\n{body}    opts={common},\n)"


def call(resource: dict[str, Any], inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class of pulumi_kubernetes and its arguments; CustomResource where it has none."""
    group, kind = resource["type"].removeprefix("kubernetes:").rsplit(":", 1)
    module, version = group.split("/")
    module = module.removesuffix(".k8s.io").removesuffix(".authorization")
    arguments = {key: value for key, value in inputs.items() if key not in ("apiVersion", "kind")}
    if "." in module:
        known = {"api_version": inputs["apiVersion"], "kind": inputs["kind"]}
        return "CustomResource", known | arguments
    return f"kubernetes.{module}.{version}.{kind}", {snake(key): value for key, value in arguments.items()}


def snake(key: str) -> str:
    """An argument's name as Python spells it."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in key)


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
