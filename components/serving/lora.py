"""LoRA adapters of a model deployment: what the engine is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LoraAdapter:
    """A fine-tune that is served beside its base model, from the same weights.

    Attributes:
        name: clients send it as ``model``.
        source: Hugging Face id; vLLM downloads it into the same cache as the base model.
    """

    name: str
    source: str


@dataclass(frozen=True, kw_only=True)
class LoraArgs:
    """All adapters of an engine.

    Attributes:
        adapters: at least one.
        slots: adapters that one batch may use; the memory for so many is taken when the engine starts.
        rank: largest rank of an adapter, one of vLLM's choices.

    Raises:
        ValueError: no adapter, or no slot.
    """

    adapters: tuple[LoraAdapter, ...]
    slots: int
    rank: int

    def __post_init__(self) -> None:
        if not self.adapters or self.slots < 1:
            raise ValueError(f"{len(self.adapters)} adapters in {self.slots} slots: both must be at least 1")

    @property
    def sizes(self) -> dict[str, int]:
        """VLLM's flags with a number. Adapters without a slot wait in main memory and are not read again."""
        return {
            "max-loras": self.slots,
            "max-lora-rank": self.rank,
            **({"max-cpu-loras": len(self.adapters)} if len(self.adapters) > self.slots else {}),
        }

    @property
    def modules(self) -> list[str]:
        """``--lora-modules`` and its values, which end at the next flag."""
        return ["--lora-modules", *(f"{item.name}={item.source}" for item in self.adapters)]

    def arguments(self) -> list[str]:
        """Words of the command line."""
        return ["--enable-lora", *(f"--{name}={value}" for name, value in self.sizes.items()), *self.modules]
