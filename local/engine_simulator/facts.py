"""GPU and model facts of a simulated engine, read from the planner's catalogue of dated rows."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

CATALOG = Path(__file__).resolve().parents[2] / "planner" / "catalog"

DTYPE_BYTES = {"bfloat16": 2.0, "float16": 2.0, "half": 2.0, "float32": 4.0, "float": 4.0, "fp8": 1.0}


class FactsError(Exception):
    """A GPU or model that the catalogue does not know, or a row that lacks a figure; one line of text."""


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """One GPU: memory that a process can see (GiB), bandwidth (GB/s), dense tensor throughput (TFLOPS)."""

    name: str
    memory_gib: float
    bandwidth_gb_s: float
    bf16_tflops: float
    fp8_tflops: float | None = None
    nvlink: bool = False

    def shared(self, share: float, memory_gib: float) -> GpuFacts:
        """What one of several pods has of it: a share of its speed, and the memory of its slice (0: sees all of it).

        That is the planner's view (`planner/model_plan.py`): the others are always busy, and switching costs nothing.
        """
        return replace(
            self,
            memory_gib=memory_gib or self.memory_gib,
            bandwidth_gb_s=self.bandwidth_gb_s * share,
            bf16_tflops=self.bf16_tflops * share,
            fp8_tflops=None if self.fp8_tflops is None else self.fp8_tflops * share,
        )


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One decoder model with full attention.

    ``active_parameters`` is given for mixtures of experts, ``quantization`` where the checkpoint itself is
    quantized; ``embedding_parameters`` (input embeddings and output head) keep ``dtype_bytes`` when the rest
    is quantized. ``vocab``, ``hidden`` and ``intermediate`` size the activations; ``kv_latent`` is the width of the
    cached vector of multi-latent attention, 0 for ordinary attention.
    """

    hf_id: str
    parameters: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    dtype_bytes: float
    max_position_embeddings: int
    active_parameters: int | None = None
    quantization: str | None = None
    embedding_parameters: int = 0
    vocab: int = 0
    hidden: int = 0
    intermediate: int = 0
    kv_latent: int = 0

    @property
    def lookup_bytes(self) -> float:
        """Bytes of the input embedding, of which a step reads a few rows only; 0 where it is also the output head."""
        single = self.vocab * self.hidden
        return single * self.dtype_bytes if self.embedding_parameters > single else 0.0

    @property
    def compute_parameters(self) -> int:
        """Parameters that one token passes through (all of them unless the model is a mixture of experts)."""
        return self.active_parameters or self.parameters


def load_gpu(name: str, catalog: Path = CATALOG) -> GpuFacts:
    """Facts of a GPU by its catalogue name (``l4``, ``h100``, ...).

    Raises:
        FactsError: the catalogue has no such row, or the row lacks a figure.
    """
    rows = _table(catalog / "gpus.toml", "gpus")
    row = _row(rows, name, "GPU")
    try:
        return GpuFacts(
            name=name,
            memory_gib=float(row["memory_gib"]),
            bandwidth_gb_s=float(row["bandwidth_gb_s"]),
            # GPUs before Ampere have no bfloat16; their half-precision figure is the one that counts.
            bf16_tflops=float(row["bf16_tflops"] if "bf16_tflops" in row else row["fp16_tflops"]),
            fp8_tflops=float(row["fp8_tflops"]) if row.get("fp8_tflops") else None,
            nvlink=bool(row.get("nvlink", False)),
        )
    except KeyError as missing:
        raise FactsError(f"GPU {name!r} in {catalog / 'gpus.toml'} lacks {missing}") from None


def load_model(hf_id: str, catalog: Path = CATALOG) -> ModelFacts:
    """Facts of a model by its Hugging Face id.

    Raises:
        FactsError: the catalogue has no such row, or the row lacks a figure.
    """
    row = _row(_table(catalog / "models.toml", "models"), hf_id, "model")
    try:
        return ModelFacts(
            hf_id=hf_id,
            parameters=int(row["parameters"]),
            layers=int(row["layers"]),
            heads=int(row["heads"]),
            kv_heads=int(row["kv_heads"]),
            head_dim=int(row["head_dim"]),
            dtype_bytes=DTYPE_BYTES[row["dtype"]],
            max_position_embeddings=int(row["max_position_embeddings"]),
            active_parameters=int(row["active_parameters"]) if row.get("active_parameters") else None,
            quantization=row.get("quantization"),
            embedding_parameters=_embedding_parameters(row),
            vocab=int(row["vocab"]),
            hidden=int(row["hidden"]),
            intermediate=int(row["intermediate"]),
            kv_latent=int(row.get("kv_lora_rank", 0)) + int(row.get("qk_rope_head_dim", 0)),
        )
    except KeyError as missing:
        raise FactsError(
            f"model {hf_id!r} in {catalog / 'models.toml'} lacks {missing} or has an unknown dtype"
        ) from None


def _embedding_parameters(row: dict[str, Any]) -> int:
    matrices = 1 if row.get("tied_embeddings") else 2
    return matrices * int(row.get("vocab", 0)) * int(row.get("hidden", 0))


def _table(path: Path, key: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise FactsError(f"cannot read the catalogue {path}: {error}") from None
    rows = document.get(key, document)
    return {name: row for name, row in rows.items() if isinstance(row, dict)}


def _row(rows: dict[str, Any], name: str, kind: str) -> dict[str, Any]:
    row = rows.get(name)
    if row is None:
        known = ", ".join(sorted(rows)) or "none"
        raise FactsError(f"unknown {kind} {name!r}: the simulator knows {known}; add a row to planner/catalog")
    return dict(row)
