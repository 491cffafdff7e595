"""What a cloud allows: quotas that a preflight found, and how many nodes they leave."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from planner.catalog import Instance

UNITS = ("vcpu", "instances", "gpus")


class QuotaError(ValueError):
    """A quota file cannot be read, or has no such form; one line that names file and field."""


@dataclass(frozen=True, kw_only=True)
class Quota:
    """One limit.

    Attributes:
        instance_type: that it is of; empty for all with the GPU.
        gpu: key of the GPU row that it is of; empty for the instance type alone.
        limit: what may run in all, in `unit`.
        used: what runs already.
        unit: `vcpu`, `instances` or `gpus`.
    """

    instance_type: str
    gpu: str
    limit: float
    used: float
    unit: str

    def covers(self, instance: Instance) -> bool:
        """Whether this limit is of such instances."""
        if self.instance_type:
            return self.instance_type == instance.key
        return self.gpu.lower() == instance.gpu

    def nodes_left(self, instance: Instance) -> int:
        """Further nodes of this type that it allows."""
        each = {"vcpu": instance.vcpu, "instances": 1, "gpus": instance.gpus}[self.unit]
        return max(0, int((self.limit - self.used) // each))


def read_quotas(path: Path) -> tuple[Quota, ...]:
    """The quotas of a preflight file: JSON with `cloud`, `region` and `quotas`, a list.

    Raises:
        QuotaError: it cannot be read, or an entry lacks a field or has a wrong one.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuotaError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise QuotaError(f"{path}: is not JSON: {error}") from None
    entries = document.get("quotas") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise QuotaError(f'{path}: has no list "quotas"; a preflight writes one')
    return tuple(_quota(f"{path}: quotas[{index}]", entry) for index, entry in enumerate(entries))


def _quota(where: str, entry: object) -> Quota:
    if not isinstance(entry, dict):
        raise QuotaError(f"{where} is not an object")
    unit, names = entry.get("unit"), (entry.get("instance_type") or "", entry.get("gpu") or "")
    if unit not in UNITS:
        raise QuotaError(f"{where}.unit is {unit!r}; choose from {', '.join(UNITS)}")
    if not any(names) or not all(isinstance(name, str) for name in names):
        raise QuotaError(f"{where} names neither an instance_type nor a gpu")
    figures = []
    for field in ("limit", "used"):
        value = entry.get(field)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
            raise QuotaError(f"{where}.{field} is {value!r}; it must be a number of 0 or more")
        figures.append(float(value))
    return Quota(instance_type=names[0], gpu=names[1], limit=figures[0], used=figures[1], unit=unit)


def nodes_allowed(instance: Instance, quotas: Iterable[Quota]) -> int | None:
    """Further nodes of a type that all quotas on it leave; None where none is known."""
    left = [quota.nodes_left(instance) for quota in quotas if quota.covers(instance)]
    return min(left) if left else None
