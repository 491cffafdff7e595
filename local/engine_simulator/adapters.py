"""LoRA adapters of a simulated engine: their names and their memory; an adapter's answers cost what the base's cost.

vLLM v0.32 loads those of ``--lora-modules`` when it starts and, where VLLM_ALLOW_RUNTIME_LORA_UPDATING is set, others
by POST /v1/load_lora_adapter. Not simulated: the few percent that an adapter slows a step down, the time of loading
one, and batches of more adapters than there are slots.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from local.engine_simulator.facts import ModelFacts
from local.engine_simulator.protocol import ApiError
from planner.lora import LoraSlots

RUNTIME_UPDATES = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"


def slot_bytes(model: ModelFacts, slots: int, rank: int, tensor_parallel: int) -> float:
    """Memory that all slots take on each GPU; the planner's formula."""
    return LoraSlots(slots, rank).bytes_of(
        layers=model.layers,
        hidden=model.hidden,
        intermediate=model.intermediate,
        heads=model.heads,
        kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        dtype_bytes=model.dtype_bytes,
        tensor_parallel=tensor_parallel,
    )


def updates_allowed(environ: Mapping[str, str]) -> bool:
    """Whether adapters may come and go while the engine runs."""
    return environ.get(RUNTIME_UPDATES, "").strip().lower() in {"1", "true"}


class Adapters:
    """The adapters that are loaded.

    Args:
        given: those of the command line, by name.
        base: names of the model itself, which no adapter can take.
    """

    def __init__(self, given: Mapping[str, str], base: Sequence[str]) -> None:
        self._sources, self._base = dict(given), tuple(base)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that is served: the model's, then the adapters'."""
        return (*self._base, *self._sources)

    def cards(self, created: int) -> list[dict[str, Any]]:
        """Their entries of /v1/models."""
        return [
            {
                "id": name,
                "object": "model",
                "created": created,
                "owned_by": "vllm",
                "root": source,
                "parent": self._base[0],
                "max_model_len": None,
                "permission": [],
            }
            for name, source in self._sources.items()
        ]

    def load(self, body: bytes) -> str:
        """POST /v1/load_lora_adapter.

        Raises:
            ApiError: no name or path, or a name that is taken.
        """
        name, source = _fields(body, "lora_name", "lora_path")
        if name in self.names:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"The lora adapter '{name}' has already been loaded.")
        self._sources[name] = source
        return f"Success: LoRA adapter '{name}' added successfully."

    def unload(self, body: bytes) -> str:
        """POST /v1/unload_lora_adapter.

        Raises:
            ApiError: no name, or no such adapter.
        """
        (name,) = _fields(body, "lora_name")
        if name not in self._sources:
            raise ApiError(HTTPStatus.NOT_FOUND, f"The lora adapter '{name}' cannot be found.")
        del self._sources[name]
        return f"Success: LoRA adapter '{name}' removed successfully."


def _fields(body: bytes, *names: str) -> list[str]:
    try:
        data = json.loads(body)
        values = [data[name] for name in names]
    except (ValueError, KeyError, TypeError):
        values = []
    if not values or not all(isinstance(value, str) and value for value in values):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"Both '{names[0]}' and '{names[-1]}' must be provided.")
    return values
