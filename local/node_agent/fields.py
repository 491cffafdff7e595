"""fieldRef and resourceFieldRef: what a pod tells its own containers about itself.

Source of the rules: k8s.io/kubernetes pkg/fieldpath/fieldpath.go and pkg/api/v1/resource/helpers.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import cast

from lightkube.models.core_v1 import Container, PodSpec, ResourceFieldSelector
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod
from lightkube.utils.quantity import parse_quantity

SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
SIMULATION_PREFIX = "simulation.inference.platform/"
RESOURCES = ("cpu", "memory", "ephemeral-storage")


class ContainerConfigError(Exception):
    """A container cannot be started as it is described; the message is for its status."""


def meta(pod: Pod) -> ObjectMeta:
    """The pod's metadata, which the API server always sets."""
    return cast(ObjectMeta, pod.metadata)


def spec(pod: Pod) -> PodSpec:
    """The pod's spec, which the API server always sets."""
    return cast(PodSpec, pod.spec)


@dataclass(frozen=True)
class PodFields:
    """The pod and what the agent adds to it.

    Attributes:
        pod: as the API server has it.
        pod_ip: the pod's address.
        host_ip: its node's address.
        allocatable: of its node; stands in for limits that are not set.
    """

    pod: Pod
    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str]

    def field(self, path: str) -> str:
        """The value of a fieldRef.

        Raises:
            ContainerConfigError: the path is not one that Kubernetes has.
        """
        metadata = meta(self.pod)
        subscript = SUBSCRIPT.fullmatch(path)
        if subscript:
            labels = subscript.group(1) == "labels"
            values: dict[str, str] | None = metadata.labels if labels else metadata.annotations
            return (values or {}).get(subscript.group(2), "")
        values_of_paths: dict[str, str | None] = {
            "metadata.name": metadata.name,
            "metadata.namespace": metadata.namespace,
            "metadata.uid": metadata.uid,
            "metadata.labels": _lines(metadata.labels),
            "metadata.annotations": _lines(metadata.annotations),
            "spec.nodeName": spec(self.pod).nodeName,
            "spec.serviceAccountName": spec(self.pod).serviceAccountName,
            "status.hostIP": self.host_ip,
            "status.hostIPs": self.host_ip,
            "status.podIP": self.pod_ip,
            "status.podIPs": self.pod_ip,
        }
        if path not in values_of_paths:
            raise ContainerConfigError(f"unsupported fieldPath: {path}")
        return values_of_paths[path] or ""

    def resource(self, selector: ResourceFieldSelector, container: Container) -> str:
        """The value of a resourceFieldRef: rounded up to whole units of the divisor.

        Args:
            selector: names the resource, such as ``limits.cpu``, and perhaps another container.
            container: the one that asks.

        Raises:
            ContainerConfigError: unknown container or resource.
        """
        wanted = self._container(selector.containerName) if selector.containerName else container
        kind, _, name = selector.resource.partition(".")
        if kind not in ("limits", "requests") or not name.startswith((*RESOURCES, "hugepages-")):
            raise ContainerConfigError(f"unsupported container resource: {selector.resource}")
        resources = wanted.resources
        limits = (resources.limits if resources else None) or {}
        amounts = limits if kind == "limits" else (resources.requests if resources else None) or {}
        default = self.allocatable.get(name, "0") if kind == "limits" else "0"
        return _in_units(str(amounts.get(name, default)), selector.divisor)

    def simulation_environment(self) -> dict[str, str]:
        """Annotations ``simulation.inference.platform/some-name`` as SIMULATION_SOME_NAME."""
        return {
            "SIMULATION_" + re.sub(r"\W", "_", name.removeprefix(SIMULATION_PREFIX)).upper(): value
            for name, value in (meta(self.pod).annotations or {}).items()
            if name.startswith(SIMULATION_PREFIX)
        }

    def _container(self, name: str) -> Container:
        for container in (*(spec(self.pod).initContainers or []), *spec(self.pod).containers):
            if container.name == name:
                return container
        raise ContainerConfigError(f"container {name} not found")


def _lines(values: Mapping[str, str] | None) -> str:
    """Labels or annotations as a file of the downward API has them: sorted, quoted."""
    pairs = sorted((values or {}).items())
    return "\n".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs)


def _in_units(amount: str, divisor: str | None) -> str:
    quantity = cast(Decimal, parse_quantity(amount))
    unit = parse_quantity(divisor) if divisor else None
    return str((quantity / (unit or Decimal(1))).to_integral_value(ROUND_CEILING))
