"""The flags of SGLang and of the two routers, read from their own parsers."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import sys
import types
from pathlib import Path
from typing import Any

from planner.read_flags.actions import Row, read_parser


def sglang_parser() -> argparse.ArgumentParser:
    """The parser of `python -m sglang.launch_server`."""
    parser = argparse.ArgumentParser(prog="sglang")
    importlib.import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
    return parser


def read_sglang() -> dict[str, Any]:
    """The catalogue of the installed `sglang`."""
    rows, _ = read_parser(sglang_parser())
    return _catalogue(rows, importlib.metadata.version("sglang"), "the argument parser of the PyPI package sglang")


def vllm_router_parser() -> argparse.ArgumentParser:
    """The Python command line of `vllm-router` (PyPI), which starts the Rust router."""
    parser = argparse.ArgumentParser(prog="vllm-router")
    importlib.import_module("vllm_router.router_args").RouterArgs.add_cli_args(parser, use_router_prefix=False)
    return parser


def read_vllm_router() -> dict[str, Any]:
    """The catalogue of the installed `vllm-router`."""
    rows, _ = read_parser(vllm_router_parser())
    version = importlib.metadata.version("vllm-router")
    return _catalogue(rows, version, "the argument parser of the PyPI package vllm-router")


def production_stack_parser(folder: Path) -> argparse.ArgumentParser:
    """The parser of the vLLM Production Stack's router, from a copy of its sources.

    The router has no release on PyPI, and its package needs much that its parser does not: the modules that the
    parser imports only to check values at run time are stood in for by empty ones.

    Args:
        folder: of the sources, with `src/vllm_router/parsers/parser.py`.

    Raises:
        FileNotFoundError: it is not there.
    """
    source = (folder / "src/vllm_router/parsers/parser.py").read_text(encoding="utf-8")
    for name in ("vllm_router", "vllm_router.utils", "vllm_router.log", "vllm_router.parsers"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["vllm_router"].utils = sys.modules["vllm_router.utils"]  # type: ignore[attr-defined]
    sys.modules["vllm_router.log"].init_logger = lambda _name: None  # type: ignore[attr-defined]
    for name, attribute in (
        ("vllm_router.parsers.yaml_utils", "read_and_process_yaml_config_file"),
        ("vllm_router.version", "__version__"),
    ):
        module = types.ModuleType(name)
        setattr(module, attribute, "unknown")
        sys.modules[name] = module
    _semantic_cache(folder)
    taken: list[argparse.ArgumentParser] = []

    class Found(Exception):  # noqa: N818
        """The parser is complete."""

    def stop(parser: argparse.ArgumentParser, *_: object, **__: object) -> argparse.Namespace:
        taken.append(parser)
        raise Found

    namespace: dict[str, Any] = {"__name__": "parser"}
    original = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = stop  # type: ignore[assignment, method-assign]
    try:
        exec(compile(source, "parser.py", "exec"), namespace)  # noqa: S102
        namespace["parse_args"]()
    except Found:
        pass
    finally:
        argparse.ArgumentParser.parse_args = original  # type: ignore[method-assign]
    return taken[0]


def _semantic_cache(folder: Path) -> None:
    """The flags of the semantic cache live in a module of their own; only the function that adds them is run."""
    path = folder / "src/vllm_router/experimental/semantic_cache_integration.py"
    source = path.read_text(encoding="utf-8")
    start = source.index("def add_semantic_cache_args")
    end = source.find("\ndef ", start)
    module = types.ModuleType("vllm_router.experimental.semantic_cache_integration")
    function = source[start : end if end > 0 else None].partition("\nasync def ")[0]
    exec(compile(f"import argparse\nimport os\n{function}", path.name, "exec"), module.__dict__)  # noqa: S102
    for name in ("vllm_router.experimental", module.__name__):
        sys.modules[name] = module


def read_production_stack_router(folder: Path, version: str) -> dict[str, Any]:
    """The catalogue of the Production Stack's router; its version is the chart's."""
    rows, _ = read_parser(production_stack_parser(folder))
    return _catalogue(rows, version, "src/vllm_router/parsers/parser.py of vllm-project/production-stack")


def _catalogue(rows: dict[str, Row], version: str, read_from: str) -> dict[str, Any]:
    return {"version": version, "read_from": read_from, "flags": rows, "schemas": {}}
