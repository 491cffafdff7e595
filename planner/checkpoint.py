"""A model of the user's own: its row of the catalogue, read from the `config.json` of a Hugging Face checkpoint.

The architecture comes from `config.json`. Sizes come from the checkpoint's files where they are there: the headers of
`*.safetensors` give the number and the bytes of the weights, `model.safetensors.index.json` the bytes; without them
`planner/parameters.py` works the number out. Nothing is downloaded, and no tensor is read.
"""

from __future__ import annotations

import datetime
import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planner.catalog import Model
from planner.parameters import Architecture, count
from planner.sizing import DTYPE_BYTES, QUANTIZED_BYTES

MOST_HEADER_BYTES = 100_000_000
"""The limit of the safetensors format itself."""

MINUTE_GROUP = 32
"""Weights per scale below which int4 counts as `int4-g32`."""

KNOWN_TYPES = frozenset(
    {
        *("llama", "mistral", "ministral", "mixtral", "gemma", "gemma2", "gemma3", "gemma3_text", "phi3", "gpt_oss"),
        *("qwen2", "qwen3", "qwen3_moe", "qwen3_vl_text", "qwen3_vl_moe_text", "qwen3_next", "qwen3_5", "qwen3_5_text"),
        *("qwen3_5_moe", "qwen3_5_moe_text", "minimax_m2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm_moe_dsa"),
    }
)
"""`model_type`s that the rules here are made for; others (state-space layers, experts in some layers only, attention of
several widths) would be sized wrongly without a word."""

ALWAYS_BIASED = frozenset({"qwen2", "qwen2_moe"})
NORMALIZED_HEADS = ("qwen3", "gemma3")
FOUR_NORMS = ("gemma2", "gemma3")
WEIGHT_PACKING = {"U8": 2, "I32": 8}
"""4-bit weights per element of the integer tensors that hold them."""


class CheckpointError(ValueError):
    """The files say too little or make no sense; one line that names the file and the field."""


def read_model(path: Path, key: str | None = None) -> Model:
    """The row for a checkpoint.

    Args:
        path: a `config.json`, or the folder that holds it (and perhaps its safetensors files).
        key: what to call the model; default: the name in the config, else the folder's.

    Raises:
        CheckpointError: no such file, not JSON, a missing field, or a quantization that we do not know.
    """
    file = path / "config.json" if path.is_dir() else path
    outer = _json(file)
    config = _language_model(outer)
    quantization, experts_only = _quantization(file, outer, config)
    try:
        architecture = _architecture(config)
        row = _row(file, config, architecture)
    except KeyError as missing:
        raise CheckpointError(
            f"{file}: has no {missing.args[0]!r}; is it the config.json of a language model?"
        ) from None
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{file}: {error}") from None
    parameters, active = count(architecture)
    counted, stored = _weights(file.parent, quantization)
    share = active / parameters
    return Model(
        **row,
        key=key or str(outer.get("_name_or_path") or "") or file.resolve().parent.name,
        parameters=counted or parameters,
        active_parameters=round((counted or parameters) * share) if architecture.experts else None,
        quantization=quantization,
        quantized_experts_only=experts_only and architecture.experts > 0,
        stored_bytes=stored,
        source=str(file),
        as_of=datetime.date.fromtimestamp(file.stat().st_mtime),
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise CheckpointError(f"{file}: is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: is not a JSON object")
    return found


def _language_model(outer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part about text; multimodal models nest it."""
    for name in ("text_config", "llm_config", "language_config"):
        if isinstance(outer.get(name), dict):
            return {**{key: outer[key] for key in ("tie_word_embeddings", "dtype") if key in outer}, **outer[name]}
    return outer


def _first(config: Mapping[str, Any], *names: str, default: Any = None) -> Any:  # noqa: ANN401 - any JSON value
    for name in names:
        if config.get(name) is not None:
            return config[name]
    if default is None:
        raise KeyError(names[0])
    return default


def _whole(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    value = _first(config, *names, default=default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{names[0]} is {value!r}; it must be a whole number of 0 or more")
    return value


def _positive(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    value = _whole(config, *names, default=default)
    if value < 1:
        raise ValueError(f"{names[0]} is {value!r}; it must be 1 or more")
    return value


def _architecture(config: Mapping[str, Any]) -> Architecture:
    kind = str(config.get("model_type", ""))
    if kind not in KNOWN_TYPES:
        raise ValueError(f"model_type {kind!r} has no sizing rule here; known: {', '.join(sorted(KNOWN_TYPES))}")
    hidden, heads = _positive(config, "hidden_size"), _positive(config, "num_attention_heads")
    layers = _positive(config, "num_hidden_layers")
    experts = _whole(config, "n_routed_experts", "num_local_experts", "num_experts", default=0)
    shared = _whole(config, "n_shared_experts", default=0)
    forward = _positive(config, "intermediate_size", "moe_intermediate_size")
    width = _positive(config, "moe_intermediate_size", default=forward) if experts else forward
    chosen = _whole(config, "num_experts_per_tok", "experts_per_token", default=0) if experts else 0
    dense = _dense_layers(config, layers) if experts else 0
    if chosen > experts or dense > layers:
        raise ValueError(f"{chosen} of {experts} experts for a token, {dense} of {layers} layers without: impossible")
    if experts and not shared:
        shared = math.ceil(_whole(config, "shared_expert_intermediate_size", default=0) / width)
    return Architecture(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=_positive(config, "num_key_value_heads", default=heads),
        head_dim=_positive(config, "head_dim", default=max(1, hidden // heads)),
        intermediate=width,
        vocab=_positive(config, "vocab_size"),
        tied_embeddings=bool(config.get("tie_word_embeddings", kind.startswith("gemma"))),
        attention_bias=bool(config.get("attention_bias", kind in ALWAYS_BIASED)),
        qk_norm=kind.startswith(NORMALIZED_HEADS),
        norms_per_layer=4 if kind.startswith(FOUR_NORMS) else 2,
        experts=experts,
        active_experts=chosen,
        shared_experts=shared if experts else 0,
        dense_layers=dense,
        dense_intermediate=forward,
        q_lora_rank=_whole(config, "q_lora_rank", default=0),
        kv_lora_rank=_whole(config, "kv_lora_rank", default=0),
        qk_nope_head_dim=_whole(config, "qk_nope_head_dim", default=0),
        qk_rope_head_dim=_whole(config, "qk_rope_head_dim", default=0),
        v_head_dim=_whole(config, "v_head_dim", default=0),
        index_heads=_whole(config, "index_n_heads", default=0),
        index_head_dim=_whole(config, "index_head_dim", default=0),
        output_gate=bool(config.get("attn_output_gate", kind.startswith("qwen3_next"))),
        linear_layers=_linear_layers(config, layers),
        linear_key_heads=_whole(config, "linear_num_key_heads", default=0),
        linear_value_heads=_whole(config, "linear_num_value_heads", default=0),
        linear_key_dim=_whole(config, "linear_key_head_dim", default=0),
        linear_value_dim=_whole(config, "linear_value_head_dim", default=0),
        linear_kernel=_whole(config, "linear_conv_kernel_dim", default=0),
    )


def _dense_layers(config: Mapping[str, Any], layers: int) -> int:
    listed = config.get("mlp_only_layers")
    first = _whole(config, "first_k_dense_replace", default=0)
    step = _positive(config, "decoder_sparse_step", default=1)
    sparse = layers - max(first, len(listed) if isinstance(listed, list) else 0)
    return layers - (sparse // step if step > 1 else sparse)


def _linear_layers(config: Mapping[str, Any], layers: int) -> int:
    kinds = config.get("layer_types")
    if isinstance(kinds, list) and "linear_attention" in kinds:
        return kinds[:layers].count("linear_attention")
    interval = _whole(config, "full_attention_interval", default=0)
    return layers - layers // interval if interval > 1 else 0


def _window(config: Mapping[str, Any], layers: int) -> tuple[int | None, int | None]:
    window = config.get("sliding_window")
    if not isinstance(window, int) or window < 1 or config.get("use_sliding_window") is False:
        return None, None
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        return window, kinds[:layers].count("sliding_attention")
    pattern = config.get("sliding_window_pattern")
    if isinstance(pattern, int) and pattern > 1:
        return window, layers - layers // pattern
    # Gemma 2 alternates; Mistral has the window in every layer.
    return window, None if str(config.get("model_type", "")).startswith("gemma2") else layers


def _row(file: Path, config: Mapping[str, Any], found: Architecture) -> dict[str, Any]:
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16").removeprefix("torch.")
    if dtype not in DTYPE_BYTES:
        raise CheckpointError(f"{file}: dtype {dtype!r} is not known; known: {', '.join(sorted(DTYPE_BYTES))}")
    window, sliding = _window(config, found.layers)
    names = ("layers", "heads", "kv_heads", "head_dim", "hidden", "intermediate", "vocab", "experts", "active_experts")
    more = ("shared_experts", "dense_layers", "kv_lora_rank", "qk_rope_head_dim", "tied_embeddings", "attention_bias")
    row: dict[str, Any] = {name: getattr(found, name) for name in (*names, *more, "qk_norm", "norms_per_layer")}
    return row | {
        "dtype": dtype,
        "head_dim": found.v_head_dim or found.head_dim,
        "max_position_embeddings": _positive(config, "max_position_embeddings", "max_sequence_length", default=2048),
        "sliding_window": window,
        "sliding_layers": sliding,
        "cache_layers": found.layers - found.linear_layers if found.linear_layers else None,
        "state_bytes": found.state_bytes,
        "sparse_tokens": _whole(config, "index_topk", default=0),
        # One 8-bit key and a 32-bit scale per 128 of its elements.
        "indexer_bytes": math.ceil(found.index_head_dim * (1 + 4 / 128)),
    }


def _quantization(file: Path, outer: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str | None, bool]:
    given = config.get("quantization_config") or outer.get("quantization_config")
    beside = file.with_name("hf_quant_config.json")
    if not given and beside.is_file():
        given = _json(beside).get("quantization")
    if not isinstance(given, dict):
        return None, False
    name = _stored(given)
    if name not in QUANTIZED_BYTES:
        method = given.get("quant_method") or given.get("quant_algo")
        known = ", ".join(sorted(QUANTIZED_BYTES))
        raise CheckpointError(f"{file}: quantization_config {method!r} is not known; known kinds: {known}")
    kept = [
        str(item)
        for field in ("modules_to_not_convert", "ignore", "exclude_modules")
        for item in given.get(field) or ()
    ]
    # gpt-oss and Kimi K2.5 name all of self_attn with a pattern; a list of layers would not.
    return name, any("self_attn" in item and ("*" in item or item.startswith("re:")) for item in kept)


def _stored(given: Mapping[str, Any]) -> str:
    method = str(given.get("quant_method") or given.get("quant_algo") or "").lower()
    groups = given.get("config_groups")
    if isinstance(groups, dict) and groups:
        kinds = [
            _by_bits(weights.get("num_bits"), str(weights.get("type", "int")), weights.get("group_size"))
            for group in groups.values()
            if isinstance(group, dict) and isinstance(weights := group.get("weights"), dict)
        ]
        # Of several, the widest: rather too much memory than too little.
        return max(kinds, key=lambda kind: QUANTIZED_BYTES.get(kind, math.inf), default=method)
    if method in {"awq", "gptq"}:
        return _by_bits(given.get("bits", given.get("w_bit", 4)), "int", given.get("group_size"))
    algorithm = str(given.get("quant_algo", method)).lower()
    for name in ("nvfp4", "mxfp4", "fp8"):
        if name in algorithm:
            return name
    return {"fbgemm_fp8": "fp8", "bitsandbytes": "int4" if given.get("load_in_4bit") else "int8"}.get(method, method)


def _by_bits(bits: object, kind: str, group: object) -> str:
    if kind == "float":
        return {8: "fp8", 4: "nvfp4"}.get(bits if isinstance(bits, int) else 0, f"float{bits}")
    small = isinstance(group, int) and 0 < group <= MINUTE_GROUP
    return "int4-g32" if bits == 4 and small else f"int{bits}"  # noqa: PLR2004 - bits


def _weights(folder: Path, quantization: str | None) -> tuple[int, int]:
    """Number and bytes of the weights by the files beside the config; 0 for what they do not say."""
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    listed: set[str] = set()
    total = 0
    if index.is_file():
        document = _json(index)
        listed = {str(name) for name in (document.get("weight_map") or {}).values()}
        size = (document.get("metadata") or {}).get("total_size", 0)
        total = int(size) if isinstance(size, (int, float)) and size > 0 else 0
    if not files or listed - {file.name for file in files}:
        return 0, total
    parameters = stored = 0
    for file in files:
        if listed and file.name not in listed:
            continue
        for name, tensor in _header(file).items():
            number, size = _tensor(file, name, tensor, quantization)
            parameters, stored = parameters + number, stored + size
    return parameters, stored


def _header(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0  # noqa: PLR2004 - bytes of a u64
            if not 0 < length <= MOST_HEADER_BYTES:
                raise CheckpointError(f"{file}: is not a safetensors file")
            header = json.loads(opened.read(length))
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise CheckpointError(f"{file}: its header cannot be read: {error}") from None
    return {name: tensor for name, tensor in header.items() if name != "__metadata__"}


def _tensor(file: Path, name: str, tensor: Mapping[str, Any], quantization: str | None) -> tuple[int, int]:
    """Weights in a tensor (0 for scales of a quantization) and its bytes."""
    try:
        start, end = tensor["data_offsets"]
        elements = math.prod(tensor["shape"])
        packed = WEIGHT_PACKING.get(str(tensor["dtype"]), 1)
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(f"{file}: tensor {name!r} has no shape or place") from None
    if quantization is None:
        return elements, end - start
    scale = name.endswith(("scale", "scale_inv", "scales", "zeros", "zero_point", "g_idx", "_shape", "_scale_2"))
    return 0 if scale else elements * packed, end - start
