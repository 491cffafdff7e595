"""The catalogue: GPUs, instance types and models as typed, dated rows.

The rows are data (`planner/catalog/*.toml`); every row names its source and the day on which it was read.
Prices are list prices for ordering and for alerts, never a bill.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

CATALOG_FOLDER = Path(__file__).parent / "catalog"


class CatalogError(Exception):
    """A catalogue file is broken: it names the file, the row and what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class MigProfile:
    """One way to cut a slice out of a GPU with NVIDIA Multi-Instance GPU.

    Attributes:
        name: NVIDIA's name, e.g. `1g.10gb`.
        per_gpu: how many such slices one GPU gives.
        memory_gib: memory of one slice as `nvidia-smi mig -lgip` prints it; None where no listing is public.
    """

    name: str
    per_gpu: int
    memory_gib: float | None = None


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU model.

    Attributes:
        key: short name used throughout (`l4`, `a100-80`).
        name: the maker's name.
        memory_gib: memory that CUDA offers to a process, GiB (less than nvidia-smi shows).
        bandwidth_gb_s: memory bandwidth, 10^9 bytes per second.
        compute_capability: CUDA compute capability; below 8.0 there is no bfloat16.
        nvlink: whether the GPUs of a node are joined by NVLink.
        bf16_tflops: dense bfloat16 TFLOPS, None if the GPU has none. fp16 and fp8 likewise.
        fp16_tflops: dense float16 TFLOPS.
        fp8_tflops: dense float8 TFLOPS.
        fp4_tflops: dense 4-bit float TFLOPS.
        mig_profiles: by name; empty if the GPU has no MIG.
        board_power_w: the most that the board takes, watt; None where no source has it.
        source: where the row comes from.
        as_of: day of reading.
    """

    key: str
    name: str
    memory_gib: float
    bandwidth_gb_s: float
    compute_capability: float
    nvlink: bool
    source: str
    as_of: datetime.date
    bf16_tflops: float | None = None
    fp16_tflops: float | None = None
    fp8_tflops: float | None = None
    fp4_tflops: float | None = None
    board_power_w: float | None = None
    mig_profiles: Mapping[str, MigProfile] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """An instance type with whole GPUs.

    Attributes:
        key: the cloud's name of it (`g6.12xlarge`).
        cloud: `aws`, `azure` or `gcp`.
        gpu: key of the GPU row.
        gpus: GPUs per instance.
        vcpu: virtual CPUs, before what the kubelet keeps for itself.
        memory_gib: main memory, GiB, before what the kubelet keeps for itself.
        region: where `price_per_hour` holds.
        price_per_hour: on-demand list price, US dollars per hour; None if the source has none.
        spot: False where the type is not to be had as spot.
        source: where the row comes from.
        as_of: day of the price.
    """

    key: str
    cloud: str
    gpu: str
    gpus: int
    vcpu: int
    memory_gib: float
    region: str
    source: str
    as_of: datetime.date
    price_per_hour: float | None = None
    spot: bool = True


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model's architecture, from the `config.json` of its Hugging Face repository.

    Attributes:
        key: Hugging Face id.
        parameters: weights of the whole checkpoint.
        layers: decoder layers.
        heads: attention (query) heads.
        kv_heads: key and value heads.
        head_dim: width of one head.
        hidden: width of the residual stream.
        intermediate: width of the feed-forward layer (of one expert in a mixture of experts).
        vocab: rows of the embedding.
        dtype: of activations and, unless told otherwise, of the KV cache.
        max_position_embeddings: longest context without rope scaling, tokens.
        source: where the row comes from.
        as_of: day of reading.
        active_parameters: weights that one token passes through; None means all.
        experts: routed experts, 0 for a dense model.
        active_experts: experts per token.
        tied_embeddings: the output head is the embedding.
        attention_bias: q, k and v have a bias (Qwen2).
        qk_norm: q and k are normalised per head (Qwen3).
        norms_per_layer: normalisation layers per decoder layer.
        sliding_window: some layers see at most this many tokens.
        sliding_layers: how many; None with a window means every other layer.
        quantization: how linear layers are stored if not in `dtype` (`fp8`, `mxfp4`, `int4-g32`, ...).
        quantized_experts_only: attention and shared layers stay in `dtype` (gpt-oss, Kimi K2.5).
        kv_lora_rank: width of the latent KV vector of multi-latent attention, 0 for ordinary attention.
        qk_rope_head_dim: width of the rotary key that is cached beside it.
        shared_experts: experts that every token passes through, beside the routed ones.
        dense_layers: layers with one feed-forward block instead of experts, at the start.
        cache_layers: layers with a KV cache; None means all (the others have linear attention).
        state_bytes: what linear attention keeps for one sequence, over all layers and GPUs.
        sparse_tokens: most tokens that sparse attention reads for one query, 0 for all (DeepSeek sparse attention).
        indexer_bytes: what the indexer of sparse attention keeps for one token in each layer.
        stored_bytes: size of the checkpoint's weights where its files were read; 0 for worked out from the above.
    """

    key: str
    parameters: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    intermediate: int
    vocab: int
    dtype: str
    max_position_embeddings: int
    source: str
    as_of: datetime.date
    active_parameters: int | None = None
    experts: int = 0
    active_experts: int = 0
    tied_embeddings: bool = False
    attention_bias: bool = False
    qk_norm: bool = False
    norms_per_layer: int = 2
    sliding_window: int | None = None
    quantization: str | None = None
    quantized_experts_only: bool = False
    kv_lora_rank: int = 0
    qk_rope_head_dim: int = 0
    shared_experts: int = 0
    dense_layers: int = 0
    sliding_layers: int | None = None
    cache_layers: int | None = None
    state_bytes: int = 0
    sparse_tokens: int = 0
    indexer_bytes: int = 0
    stored_bytes: int = 0

    @property
    def expert_parameters(self) -> int:
        """Weights of all routed experts (three matrices each), 0 for a dense model."""
        return 3 * self.hidden * self.intermediate * self.experts * (self.layers - self.dense_layers)

    @property
    def layers_with_cache(self) -> int:
        """Layers that keep keys and values of every token."""
        return self.layers if self.cache_layers is None else self.cache_layers

    @property
    def layers_with_window(self) -> int:
        """Layers that see at most `sliding_window` tokens."""
        if not self.sliding_window:
            return 0
        return self.layers // 2 if self.sliding_layers is None else self.sliding_layers

    @property
    def multi_latent_attention(self) -> bool:
        """Whether the KV cache holds one latent vector per token instead of heads (DeepSeek, Kimi)."""
        return self.kv_lora_rank > 0


RowT = TypeVar("RowT", MigProfile, Gpu, Instance, Model)


def _read(name: str) -> dict[str, Any]:
    path = CATALOG_FOLDER / name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{path}: {error}") from error


def _row(row_type: type[RowT], file: str, key: str, values: Mapping[str, Any]) -> RowT:
    known = {item.name for item in fields(row_type)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise CatalogError(f"{file}: row {key!r} has unknown keys {unknown}; known: {sorted(known)}")
    try:
        return row_type(**values)
    except TypeError as error:
        raise CatalogError(f"{file}: row {key!r}: {error}") from error


@cache
def gpus() -> Mapping[str, Gpu]:
    """All GPUs by key.

    Raises:
        CatalogError: the file cannot be read, or a row has a missing or unknown key.
    """
    rows = {}
    for key, values in _read("gpus.toml")["gpus"].items():
        profiles = {
            name: _row(MigProfile, "gpus.toml", f"{key} {name}", {"name": name, **profile})
            for name, profile in values.get("mig_profiles", {}).items()
        }
        rows[key] = _row(Gpu, "gpus.toml", key, {**values, "key": key, "mig_profiles": profiles})
    return rows


@cache
def instances() -> Mapping[str, Instance]:
    """All instance types by name, over all clouds.

    Raises:
        CatalogError: the file cannot be read, a row is incomplete or names an unknown GPU.
    """
    rows: dict[str, Instance] = {}
    for cloud, group in _read("instances.toml").items():
        common = {name: group[name] for name in ("region", "source", "as_of")}
        for key, values in group["instances"].items():
            row = _row(Instance, "instances.toml", key, {**common, **values, "key": key, "cloud": cloud})
            if row.gpu not in gpus():
                raise CatalogError(f"instances.toml: row {key!r} names the unknown GPU {row.gpu!r}")
            rows[key] = row
    return rows


_own_models: dict[str, Model] = {}


@cache
def models() -> Mapping[str, Model]:
    """All models by Hugging Face id: the file's, and those of `add_model`.

    Raises:
        CatalogError: the file cannot be read, or a row has a missing or unknown key.
    """
    rows = _read("models.toml")["models"]
    listed = {key: _row(Model, "models.toml", key, {**values, "key": key}) for key, values in rows.items()}
    return {**listed, **_own_models}


def add_model(row: Model) -> None:
    """Make a model known to this process, in place of the file's row of that name if it has one.

    Args:
        row: from `planner.checkpoint.read_model`.
    """
    if _own_models.get(row.key) != row:
        _own_models[row.key] = row
        models.cache_clear()


def is_own_model(key: str) -> bool:
    """Whether the row is one of `add_model`: other processes do not know it."""
    return key in _own_models
