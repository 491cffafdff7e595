"""vLLM's `serve` flags, read from the installed package without a GPU.

The platform is set to CPU before the parser is imported, and is then told to call its device `cuda`, which is what the
one list of choices that depends on it asks for (`--mm-processor-device`).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
from typing import Any

from planner.read_flags.actions import Row, read_parser
from planner.read_flags.schema import json_schemas

PARSERS = (
    "vllm.entrypoints.common.cli_args",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.openai.cli_args",
)
"""Where `make_arg_parser` is and was (0.33, 0.31 to 0.32, before)."""

CONFIGS = {
    "--speculative-config": "SpeculativeConfig",
    "--pooler-config": "PoolerConfig",
    "--diffusion-config": "DiffusionConfig",
}
"""Flags that take a dictionary as JSON, from which the engine then makes a configuration class."""

NAMES = {
    "--reasoning-parser": ("vllm.reasoning", "ReasoningParserManager"),
    "--tool-call-parser": ("vllm.tool_parsers", "ToolParserManager"),
}


def argument_parser() -> argparse.ArgumentParser:
    """The parser of `vllm serve`.

    Raises:
        ModuleNotFoundError: none of the known places has it.
    """
    platforms: Any = importlib.import_module("vllm.platforms")
    platform = importlib.import_module("vllm.platforms.cpu").CpuPlatform()
    platforms._current_platform = platform
    for place in PARSERS:
        with contextlib.suppress(ModuleNotFoundError):
            make = importlib.import_module(place).make_arg_parser
            break
    else:
        raise ModuleNotFoundError(f"no make_arg_parser in {', '.join(PARSERS)}: look where this version has it")
    platform.device_type = "cuda"
    try:
        flexible = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser
    except ModuleNotFoundError:
        flexible = importlib.import_module("vllm.utils").FlexibleArgumentParser
    made: argparse.ArgumentParser = make(flexible(prog="vllm serve"))
    return made


def read() -> dict[str, Any]:
    """The catalogue of the installed version."""
    parser = argument_parser()
    rows, dataclasses = read_parser(parser)
    configs = importlib.import_module("vllm.config")
    for flag, name in CONFIGS.items():
        if flag in rows and hasattr(configs, name):
            dataclasses.setdefault(flag, getattr(configs, name))
            rows[flag]["type"] = "json"
    groups = {row["group"] for row in rows.values() if hasattr(configs, row.get("group", ""))}
    schemas, by_class = json_schemas({*dataclasses.values(), *(getattr(configs, group) for group in groups)})
    for flag, target in dataclasses.items():
        if target in by_class:
            rows[flag]["schema"] = by_class[target]
    _add_ranges(rows, schemas)
    _add_names(rows)
    used = {row["schema"] for row in rows.values() if "schema" in row}
    return {
        "version": importlib.metadata.version("vllm"),
        "read_from": "the argument parser of the PyPI package vllm, platform set to CPU",
        "flags": rows,
        "schemas": _reachable(schemas, used),
        "quantization": _quantization(),
    }


def _add_ranges(rows: dict[str, Row], schemas: dict[str, Any]) -> None:
    """Bounds that a flag's configuration class has for the field of the same name."""
    for flag, row in rows.items():
        properties = schemas.get(row.get("group", ""), {}).get("properties", {})
        field = properties.get(flag.removeprefix("--").replace("-", "_"), {})
        for option in [field, *field.get("anyOf", [])]:
            for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
                if bound in option and row["type"] in {"int", "float", "human_int", "human_int_or_auto"}:
                    row[bound] = option[bound]


def _add_names(rows: dict[str, Row]) -> None:
    for flag, (module, manager) in NAMES.items():
        with contextlib.suppress(Exception):
            rows[flag]["names"] = sorted(getattr(importlib.import_module(module), manager).list_registered())
    with contextlib.suppress(Exception):
        loaders = importlib.import_module("vllm.model_executor.model_loader")._LOAD_FORMAT_TO_MODEL_LOADER
        rows["--load-format"]["names"] = sorted(loaders)
    with contextlib.suppress(Exception):
        backends = importlib.import_module("vllm.v1.attention.backends.registry").AttentionBackendEnum
        rows["--attention-backend"]["names"] = sorted([*backends.__members__, "auto"])
    with contextlib.suppress(Exception):
        quantization = importlib.import_module("vllm.model_executor.layers.quantization")
        rows["--quantization"]["names"] = sorted(quantization.QUANTIZATION_METHODS)
    with contextlib.suppress(Exception):
        factory = importlib.import_module("vllm.distributed.kv_transfer.kv_connector.factory").KVConnectorFactory
        rows["--kv-transfer-config"]["field_names"] = {"kv_connector": sorted(factory._registry)}


def _quantization() -> dict[str, Any]:
    """What the package says of every method: `min_capability` times ten, and whether it is deprecated."""
    found: dict[str, Any] = {}
    with contextlib.suppress(ImportError, AttributeError):
        module = importlib.import_module("vllm.model_executor.layers.quantization")
        deprecated = set(getattr(module, "DEPRECATED_QUANTIZATION_METHODS", ()))
        for method in sorted(module.QUANTIZATION_METHODS):
            with contextlib.suppress(Exception):
                config = module.get_quantization_config(method)
                found[method] = {"min_capability": config.get_min_capability()}
                if method in deprecated:
                    found[method]["deprecated"] = True
    return found


def _reachable(schemas: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Only the schemas that flags use, themselves or inside one another."""
    todo, kept = sorted(names), dict[str, Any]()
    while todo:
        name = todo.pop()
        if name in kept or name not in schemas:
            continue
        kept[name] = schemas[name]
        todo += _references(schemas[name])
    return dict(sorted(kept.items()))


def _references(schema: object) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for item in schema.values() for name in _references(item)]
