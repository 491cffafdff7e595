"""Which properties differ, and whether the difference means a new resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.provider_double.facts import facts, matches
from local.provider_double.wire import join

AUTONAMED = "__defaults"
"""Lists the inputs that the provider filled in, as bridged providers keep it in the state."""

AUTONAMED_OBJECT = "pulumi.com/autonamed"
"""Annotation of a Kubernetes object whose name the provider made up."""


@dataclass(frozen=True)
class Difference:
    """One property that differs.

    Attributes:
        path: `nodeConfig.machineType`, `taints[1]`.
        kind: `ADD`, `DELETE` or `UPDATE`.
        replaces: the resource cannot be changed in place.
    """

    path: str
    kind: str
    replaces: bool


def differences(token: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Compare two sets of inputs of a resource."""
    known = facts(token)
    fields = known.replaces | ({known.name} if known.name else set())
    found = [(path, kind) for path, kind in _compare(old, new, "") if not path.startswith("__")]
    return [Difference(path, kind, matches(path, fields)) for path, kind in found]


def same_given_name(token: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a replacement would have the name of the old one, which then has to go first."""
    if token.startswith("kubernetes:") and "metadata" in new:
        before, after = old.get("metadata") or {}, new.get("metadata") or {}
        autonamed = AUTONAMED_OBJECT in (after.get("annotations") or {})
        return not autonamed and all(before.get(key) == after.get(key) for key in ("name", "namespace"))
    name = facts(token).name
    if name is None or name in (new.get(AUTONAMED) or ()):
        return False
    return new.get(name) is not None and old.get(name) == new.get(name)


def refused(token: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Paths whose change the cloud does not take in an update."""
    fields = facts(token).refuses
    return [difference.path for difference in differences(token, old, new) if matches(difference.path, fields)]


def _compare(old: Any, new: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _compare(old.get(key), new.get(key), join(path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else None
            after = new[index] if index < len(new) else None
            yield from _compare(before, after, join(path, index))
    elif old != new:
        yield path, "ADD" if old is None else "DELETE" if new is None else "UPDATE"
