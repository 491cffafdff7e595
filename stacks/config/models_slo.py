"""What a model promises: rules count against it, alerts say when the promise burns."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from components.observability.objects import Slo
from stacks.config.base import Int, Number, Strictly
from stacks.config.vocabulary import SloPreset

PRESETS = {
    SloPreset.CHAT: Slo(),
    # An answer with retrieved documents: prompts of thousands of tokens, and nobody watches the first word come.
    SloPreset.RAG: Slo(ttft_p95_seconds=5.0),
}
"""The table of the practitioners' guides: chat answers begin within half a second, RAG within five."""


def _ttft(data: dict[str, Any]) -> float:
    return PRESETS[data["preset"]].ttft_p95_seconds


class ServiceLevel(Strictly):
    """Promises of a model deployment; what is not given is the preset's."""

    preset: SloPreset = Field(
        default=SloPreset.CHAT,
        description="chat: 95 % of first tokens within 0.5 s. rag: within 5 s.",
    )
    ttft_p95_seconds: Number = Field(
        default_factory=_ttft,
        gt=0,
        description="95 % of first tokens come sooner, seconds. A bound of a bucket of "
        "vllm:time_to_first_token_seconds: requests can be counted at bounds only.",
        json_schema_extra={"default_text": "the preset's: 0.5 or 5.0"},
    )
    tpot_p95_seconds: Number = Field(
        default=Slo().tpot_p95_seconds,
        gt=0,
        description="95 % of requests need less per further token, seconds. A bound of a bucket of "
        "vllm:request_time_per_output_token_seconds.",
    )
    error_ratio: Number = Field(
        default=Slo().error_ratio, gt=0, lt=1, description="Share of requests that may end with a 5xx, in 30 days."
    )
    queue_per_engine: Int = Field(
        default=int(Slo().queue_per_engine), ge=1, le=100_000, description="Most waiting requests per engine."
    )
    kv_cache_usage: Number = Field(
        default=Slo().kv_cache_usage, gt=0, lt=1, description="Most of an engine's KV cache that may be in use."
    )
    gpu_low: Number = Field(
        default=Slo().gpu_low, gt=0, lt=1, description="GPU utilisation below which it has too many GPUs."
    )
    gpu_high: Number = Field(
        default=Slo().gpu_high, gt=0, lt=1, description="GPU utilisation above which it has too few."
    )

    def as_slo(self) -> Slo:
        """As rules want it."""
        return Slo(
            ttft_p95_seconds=float(self.ttft_p95_seconds),
            tpot_p95_seconds=float(self.tpot_p95_seconds),
            error_ratio=self.error_ratio,
            queue_per_engine=float(self.queue_per_engine),
            kv_cache_usage=self.kv_cache_usage,
            gpu_low=self.gpu_low,
            gpu_high=self.gpu_high,
        )
