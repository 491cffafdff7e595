"""What is known of the resource types beyond the SDK's types, from the tables in `resources/`.

Columns of a type:
    name      input that carries its name at the cloud; made up if the program gives none; a change replaces it
    id, arn   their form; `{input}`, `{hex}`, `{uuid}`, `{arn}` and the account's values are filled in
    replaces  inputs whose change needs a new resource; the provider plans a replacement
    refuses   inputs whose change the provider takes for an update and the cloud then refuses
    requires  inputs that name a resource that has to exist (input path = type of the other)
    holds     inputs that name a resource which cannot be deleted as long as this one exists
    source    where that is written
Paths carry no list indices, but `[]` in `requires` and `holds` for every element of a list.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from local.provider_double import sdk_types

TABLES = Path(__file__).with_name("resources")
EVERY_OBJECT = ("metadata.name", "metadata.namespace")
"""Of any Kubernetes object (pulumi/pulumi-kubernetes provider/pkg/provider/diff.go)."""


@dataclass(frozen=True)
class Facts:
    """What is known of one type; the columns of the module's table."""

    name: str | None = None
    id: str | None = None
    arn: str | None = None
    replaces: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    requires: Mapping[str, str] = field(default_factory=dict)
    holds: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


@cache
def table(package: str) -> dict[str, dict[str, Any]]:
    """The table of a provider, by type token."""
    path = TABLES / f"{package}.toml"
    return tomllib.loads(path.read_text()) if path.exists() else {}


@cache
def facts(token: str) -> Facts:
    """What is known of a type; of one that is not in the tables only its name, if it takes one."""
    package = token.split(":", maxsplit=1)[0]
    entry = table(package).get(token, {})
    replaces = frozenset(entry.get("replaces", ()))
    if package == "kubernetes" and "helm.sh" not in token:
        replaces |= frozenset(EVERY_OBJECT)
    return Facts(
        name=entry.get("name") or _usual_name(package, token),
        id=entry.get("id"),
        arn=entry.get("arn"),
        replaces=replaces,
        refuses=frozenset(entry.get("refuses", ())),
        requires=entry.get("requires", {}),
        holds=entry.get("holds", {}),
        source=entry.get("source", ""),
    )


def _usual_name(package: str, token: str) -> str | None:
    """Bridged providers make up `name` where a type takes one."""
    if package not in {"aws", "gcp"} or token.startswith("pulumi:"):
        return None
    try:
        arguments = sdk_types.shape(sdk_types.arguments_class(token)).types
    except sdk_types.UnknownTokenError:
        return None
    return "name" if arguments.get("name") is str else None


def matches(path: str, fields: frozenset[str]) -> bool:
    """Whether a path lies in one of the fields, or is a whole block with such a field in it."""
    plain = re.sub(r"\[\d+\]", "", path)
    return any(plain == item or plain.startswith(f"{item}.") or item.startswith(f"{plain}.") for item in fields)


def values_at(inputs: Any, path: str) -> Iterator[Any]:
    """All values at a path with `[]` for every element: `agentPoolProfiles[].vnetSubnetID`."""
    head, _, rest = path.partition(".")
    value = inputs.get(head.removesuffix("[]")) if isinstance(inputs, Mapping) else None
    for item in value if head.endswith("[]") and isinstance(value, list) else [value]:
        if item is None:
            continue
        if rest:
            yield from values_at(item, rest)
        else:
            yield item
