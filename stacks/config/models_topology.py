"""Which kinds of workers serve a model, and the adapters that are served beside it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from stacks.config.base import HuggingFaceId, Int, Name, Strictly
from stacks.config.vocabulary import TopologyKind

DEFAULT_LORA_RANK = 16
"""vLLM's default of --max-lora-rank."""


class Aggregated(Strictly):
    """Every replica does prefill and decode."""

    kind: Literal[TopologyKind.AGGREGATED] = Field(description="Every replica does prefill and decode.")


class WorkerScaling(Strictly):
    """How many workers of a kind; all else is as in `scaling`."""

    min_replicas: Int = Field(
        default=1,
        ge=0,
        le=1000,
        description="Fewest workers; at least 1: the router of disaggregated workers does not hold requests.",
    )
    max_replicas: Int = Field(default=5, ge=1, le=1000, description="Most workers.")
    queue_depth: Int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Waiting requests per worker above which one is added.",
        json_schema_extra={"default_text": "scaling.queue_depth"},
    )


class Disaggregated(Strictly):
    """Prefill workers compute prompts, decode workers fetch their keys and values (NIXL) and generate answers."""

    kind: Literal[TopologyKind.DISAGGREGATED] = Field(
        description="Two kinds of workers, each with the engine and on the pool of the model deployment."
    )
    prefill: WorkerScaling = Field(
        default_factory=WorkerScaling,
        description="Prefill workers.",
        json_schema_extra={"default_text": "{}"},
    )
    decode: WorkerScaling = Field(
        default_factory=WorkerScaling,
        description="Decode workers.",
        json_schema_extra={"default_text": "{}"},
    )


Topology = Annotated[Aggregated | Disaggregated, Field(discriminator="kind")]


class LoraSource(Strictly):
    """Where an adapter comes from."""

    hugging_face: HuggingFaceId = Field(description="organisation/adapter on Hugging Face.")
    config_file: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The adapter's adapter_config.json, or its folder, beside the stack's file: its base model and "
        "rank are then checked.",
        json_schema_extra={"default_text": "nothing of the adapter is checked but what is written here"},
    )


class LoraAdapter(Strictly):
    """A fine-tune (LoRA) that is served from the weights of its base model."""

    name: Name = Field(description="DNS label of at most 40 characters; clients send it as `model`.")
    source: LoraSource = Field(description="Where it comes from.")
    rank: Int = Field(
        default=DEFAULT_LORA_RANK,
        ge=1,
        le=512,
        description="Its rank (`r` in adapter_config.json). The largest of all adapters decides on the memory of each.",
    )
    base_model: HuggingFaceId | None = Field(
        default=None,
        description="What it was trained for; must be the model deployment's own.",
        json_schema_extra={"default_text": "not checked"},
    )
