"""Helm charts as releases: pinned, with values that are types, so that a key which no chart knows cannot be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
from pulumi_kubernetes.core.v1 import Namespace
from pulumi_kubernetes.helm.v3 import Release, RepositoryOptsArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs
from pydantic import AliasGenerator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from components.base import Component
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL, Taint
from components.versions import Chart

KEPT_REVISIONS: Final = 5
"""Helm keeps each revision as a Secret of up to 1 MiB; its default is to keep all."""


class Values(BaseModel):
    """Part of a chart's values: snake_case here, the chart's camelCase when rendered.

    A field that is None is left out: the chart's own default holds.

    Raises:
        pydantic.ValidationError: a key that the type does not have, or a value of another type.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        protected_namespaces=(),
        # Types that an environment does not use need no validators: half of the time of this package's import.
        defer_build=True,
        alias_generator=AliasGenerator(serialization_alias=to_camel),
    )

    def render(self) -> dict[str, Any]:
        """As the chart takes them."""
        return self.model_dump(by_alias=True, exclude_none=True)


class ContainerResources(Values):
    """Requests and limits of a container; Kubernetes quantities."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]


class Toleration(Values):
    """One toleration of a chart's pods."""

    key: str
    operator: str
    effect: str
    value: str | None = None

    @classmethod
    def of(cls, taint: Taint) -> Toleration:
        """The one that matches a taint."""
        return cls(key=taint.key, operator="Equal", value=taint.value, effect=taint.effect)


SYSTEM_NODES: Final[Mapping[str, str]] = {NODE_POOL: SYSTEM_POOL}
"""Node selector of operators: the untainted nodes."""


def create_namespace(
    parent: Component,
    logical_name: str,
    name: str,
    *after: pulumi.Resource,
    pod_security: str,
    labels: Mapping[str, str],
) -> Namespace:
    """The namespace of a chart.

    Ours, since Helm never deletes one that it created.

    Args:
        parent: the component.
        logical_name: of the resource.
        name: of the namespace.
        after: what it is created after.
        pod_security: Pod Security level that is enforced: restricted, baseline or privileged.
        labels: besides the level.
    """
    return Namespace(
        logical_name,
        metadata=ObjectMetaArgs(name=name, labels={**labels, "pod-security.kubernetes.io/enforce": pod_security}),
        opts=parent.child(*after),
    )


def install(
    parent: Component,
    logical_name: str,
    chart: Chart,
    values: Values,
    *,
    namespace: Namespace,
    timeout_seconds: int,
    after: Sequence[pulumi.Resource] = (),
) -> Release:
    """Install a chart and wait until what it made is ready.

    Args:
        parent: the component.
        logical_name: of the resource; the release has the chart's name, whatever the stack is called, so that the
            names of its Services are known.
        chart: which, and at which version.
        values: all that differs from the chart's defaults.
        namespace: where; gone after the release.
        timeout_seconds: longest wait for each of Helm's operations.
        after: what the release is installed after and removed before.

    Returns:
        The release. A failed one is cleaned up, not rolled back: a rollback would also take the evidence away.
    """
    return Release(
        logical_name,
        name=chart.name,
        chart=chart.name,
        version=chart.version,
        repository_opts=RepositoryOptsArgs(repo=chart.repository),
        namespace=namespace.metadata.name,
        values=values.render(),
        timeout=timeout_seconds,
        cleanup_on_fail=True,
        atomic=False,
        max_history=KEPT_REVISIONS,
        opts=parent.child(namespace, *after),
    )
