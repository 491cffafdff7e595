"""OpenTelemetry traces of vLLM: what the engine is told.

The variables are OpenTelemetry's own (its specification of environment variables); the flag and the protocol are read
by vLLM 0.32.0 vllm/tracing/otel.py. vLLM's router has no tracing (no such flag in 0.1.17).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROTOCOLS: Final = {"grpc": "grpc", "http": "http/protobuf"}


@dataclass(frozen=True, kw_only=True)
class TracesArgs:
    """Where traces go.

    Attributes:
        endpoint: URL of an OTLP receiver; with the protocol http the whole address of its traces.
        protocol: `grpc` or `http`.
        sample_ratio: part of the requests that are traced, 0 to 1, unless the caller has decided.

    Raises:
        ValueError: another protocol, or a ratio out of range.
    """

    endpoint: str
    protocol: str = "grpc"
    sample_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol {self.protocol!r} must be one of {', '.join(PROTOCOLS)}")
        if not 0 <= self.sample_ratio <= 1:
            raise ValueError(f"sample_ratio {self.sample_ratio} must be from 0 to 1")

    def arguments(self) -> tuple[str, ...]:
        """Flags of `vllm serve`."""
        return (f"--otlp-traces-endpoint={self.endpoint}",)

    def variables(self, model: str) -> dict[str, str]:
        """Environment of the engine, which is called by its model's name in traces."""
        return {
            "OTEL_SERVICE_NAME": model,
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": PROTOCOLS[self.protocol],
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": f"{self.sample_ratio:g}",
        }
