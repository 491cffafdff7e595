"""Where an engine sends traces of its requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from stacks.config.base import Number, Strictly
from stacks.config.vocabulary import TraceProtocol

CollectorUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[a-z0-9][a-z0-9.-]*:[1-9][0-9]{0,4}(/[A-Za-z0-9/_.-]*)?$", max_length=300),
]
"""With its port, and without a user and password: what stands here is kept in the state."""


class Traces(Strictly):
    """OpenTelemetry traces of requests."""

    endpoint: CollectorUrl = Field(
        description="Of an OTLP receiver, with its port: http://collector.monitoring:4317, or with the protocol http "
        "the whole address, http://collector.monitoring:4318/v1/traces."
    )
    protocol: TraceProtocol = Field(default=TraceProtocol.GRPC, description="grpc, or http with protobuf.")
    sample_ratio: Number = Field(
        default=1.0, ge=0, le=1, description="Part of the requests that are traced, unless the caller has decided."
    )
