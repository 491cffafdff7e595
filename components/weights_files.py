"""Which files of a Hugging Face repository are a model's weights, and what engines are told that have them at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MODEL_FILES: Final = ("*.safetensors", "*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "*.py")
"""Weights in one format, configuration, tokenizer, chat template and a model's own code.

Repositories keep the same weights in several formats side by side (`*.bin`, `*.pth`, `*.gguf`, `*.onnx`): vLLM, SGLang
and TGI read safetensors where there are any.
"""

OTHER_FORMATS: Final = ("original/*",)
"""The maker's own format, in safetensors too: vLLM leaves it out likewise (its `--ignore-patterns`)."""

ADAPTER_FILES: Final = (*MODEL_FILES, "adapter_model.bin", "adapter_model.pt")
"""vLLM takes an adapter in any of the three."""

OFFLINE_VARIABLES: Final = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""Hugging Face's client then asks nobody and finds in its cache what is there; the second is for older libraries."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """One repository and what of it is put into the store.

    Attributes:
        id: Hugging Face id.
        revision: commit, tag or branch; "": the default branch as it is when it is downloaded.
        allow_patterns: files that are wanted, with * and ?, by their path in the repository.
        ignore_patterns: of those, files that are not.
    """

    id: str
    revision: str = ""
    allow_patterns: tuple[str, ...] = MODEL_FILES
    ignore_patterns: tuple[str, ...] = OTHER_FORMATS

    def order(self) -> dict[str, str | list[str]]:
        """As `store_model.py` takes it."""
        return {
            "id": self.id,
            "revision": self.revision or "main",
            "allow": list(self.allow_patterns),
            "ignore": list(self.ignore_patterns),
        }
