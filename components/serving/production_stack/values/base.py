"""What all values are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints
from pydantic.alias_generators import to_camel

Int = Annotated[int, Strict()]
Port = Annotated[int, Strict(), Field(ge=1, le=65_535)]
Count = Annotated[int, Strict(), Field(ge=0)]
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]


def _pinned(tag: str) -> str:
    if tag == "latest":
        raise ValueError("must be pinned, not latest; name a version")
    return tag


PinnedTag = Annotated[str, StringConstraints(min_length=1), AfterValidator(_pinned)]
"""An image's tag: not `latest`, which is another program every day."""

Object = Mapping[str, Any]
"""A Kubernetes object that the chart copies as it is."""

Objects = Sequence[Object]


class Values(BaseModel):
    """Base of all values: unknown keys are errors, nothing is coerced, names are the chart's."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
    )

    def render(self) -> dict[str, Any]:
        """As Helm takes them: only what was set, so that the chart's defaults stay its own."""
        return self.model_dump(by_alias=True, exclude_unset=True, mode="json")


class SecretRef(Values):
    """A key of a Secret in the release's namespace: the chart also takes the value itself, we do not."""

    secret_name: str
    secret_key: str


class Image(Values):
    """An image, pinned."""

    repository: str
    tag: PinnedTag


class Probe(Values):
    """A probe. The chart reads 0 as "not set": initialDelaySeconds 0 becomes 15, so it has to be 1 or more."""

    initial_delay_seconds: Annotated[int, Strict(), Field(ge=1)]
    period_seconds: Annotated[int, Strict(), Field(ge=1)]
    failure_threshold: Annotated[int, Strict(), Field(ge=1)]
    timeout_seconds: Annotated[int, Strict(), Field(ge=1)] | None = None
    success_threshold: Annotated[int, Strict(), Field(ge=1)] | None = None
    http_get: Object | None = None
    exec_: Annotated[Object | None, Field(alias="exec")] = None
    tcp_socket: Object | None = None
    grpc: Object | None = None


class DisruptionBudget(Values):
    """A PodDisruptionBudget of the chart."""

    enabled: bool
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    min_available: int | str | None = None
    max_unavailable: int | str | None = None


class ServiceMonitor(Values):
    """A ServiceMonitor of the chart."""

    enabled: bool
    additional_labels: Mapping[str, str] | None = None
    interval: str | None = None
    scrape_timeout: str | None = None
    honor_labels: bool | None = None
    relabelings: Objects | None = None
    metric_relabelings: Objects | None = None
