"""Reading the inputs of a resource: nested mappings and lists in the API's camelCase, some values not known yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policy.unknown import Unknown, UnknownValueError


def known(value: Any) -> Any:
    """The value itself.

    Raises:
        UnknownValueError: it is not known yet.
    """
    if isinstance(value, Unknown):
        raise UnknownValueError(value.path)
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(known(value), Mapping) else {}


def items(value: Any) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(known(value), (list, tuple)) else ()


def text(value: Any) -> str:
    """The value if it is a text, else an empty one."""
    return value if isinstance(known(value), str) else ""


def number(value: Any, default: float = 0) -> float:
    """The value as a number; the default if it is none."""
    try:
        return float(known(value))
    except (TypeError, ValueError):
        return default


def at(value: Any, *path: str) -> Any:
    """What stands at a path of keys; None if nothing does."""
    for key in path:
        value = mapping(value).get(key)
    return value


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping in a value, with its path; unknown values are passed by."""
    if isinstance(value, Mapping):
        yield path, value
        for key, child in value.items():
            yield from walk(child, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from walk(child, f"{path}[{index}]")


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource as the engine knows it.

    Attributes:
        type: its token, e.g. `kubernetes:apps/v1:Deployment`.
        name: logical name.
        inputs: as given by the program; in a rule about the whole stack, its outputs.
        urn: "" where there is none.
        provider_inputs: of its provider; where a cloud's region is.
    """

    type: str
    name: str
    inputs: Mapping[str, Any]
    urn: str = ""
    provider_inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Last part of the type: `Deployment`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def unversioned_type(self) -> str:
        """The type without an API version, which the Azure provider's may carry."""
        module, _, kind = self.type.rpartition(":")
        return f"{module.partition('/v20')[0]}:{kind}"

    @property
    def in_kubernetes(self) -> bool:
        """Whether it is an object of the Kubernetes API."""
        return self.type.startswith("kubernetes:")

    def at(self, *path: str) -> Any:
        """What stands at a path of its inputs."""
        return at(self.inputs, *path)

    @property
    def labels(self) -> Mapping[str, Any]:
        """Kubernetes labels."""
        return mapping(self.at("metadata", "labels"))

    @property
    def annotations(self) -> Mapping[str, Any]:
        """Kubernetes annotations."""
        return mapping(self.at("metadata", "annotations"))

    @property
    def namespace(self) -> str:
        """Kubernetes namespace."""
        return text(self.at("metadata", "namespace")) or "default"

    @property
    def object_name(self) -> str:
        """Name in the Kubernetes API; the logical name if it has none of its own."""
        return text(self.at("metadata", "name")) or self.name
