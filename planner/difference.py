"""What differs between two plans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "-"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, object, object]]:
    """Path, old and new value of everything that differs; models and pools are matched by name."""
    return list(_walk("", dict(old), dict(new)))


def _walk(path: str, old: object, new: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in (*old, *(key for key in new if key not in old)):
            yield from _walk(f"{path}.{key}" if path else str(key), old.get(key, ABSENT), new.get(key, ABSENT))
    elif _named(old) and _named(new):
        yield from _walk(path, {item["name"]: item for item in old}, {item["name"]: item for item in new})  # type: ignore[attr-defined]
    elif old != new:
        yield path, _short(old), _short(new)


def _named(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)


def _short(value: object) -> object:
    if isinstance(value, Mapping):
        return value.get("instance_type") or value.get("model") or "there"
    return value
