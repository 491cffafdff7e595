"""An argparse parser as rows of the catalogue."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import json
from collections.abc import Callable
from enum import Enum
from typing import Any

Row = dict[str, Any]

NAMED_TYPES = {
    "int": "int",
    "float": "float",
    "str": "str",
    "loads": "json",
    "human_readable_int": "human_int",
    "human_readable_int_or_auto": "human_int_or_auto",
    "union_dict_and_str": "json_or_str",
    "nullable_str": "str",
    "json_list_type": "json",
    "check_port": "int",
}
"""Conversion functions by name; vLLM's are in `vllm/utils/argparse_utils.py` and `vllm/engine/arg_utils.py`."""

LONGEST_DEFAULT = 200


def read_parser(parser: argparse.ArgumentParser) -> tuple[dict[str, Row], dict[str, type]]:
    """All options of a parser.

    Returns:
        rows by their first long name, and the dataclass of every flag that takes one as JSON.
    """
    groups = {
        id(action): group.title or ""
        for group in parser._action_groups
        for action in group._group_actions
        if group.title not in {"positional arguments", "options", "optional arguments"}
    }
    deprecated = {id(action) for action in getattr(parser, "_deprecated", ())}
    rows: dict[str, Row] = {}
    dataclasses: dict[str, type] = {}
    for action in parser._actions:
        names = [name for name in action.option_strings if name.startswith("--")]
        if not names or isinstance(action, argparse._HelpAction):
            continue
        name = names[0]
        kind, target = type_of(action)
        row = _row(action, kind)
        if title := groups.get(id(action)):
            row["group"] = title
        if id(action) in deprecated or getattr(action, "deprecated", False) or "eprecated" in type(action).__name__:
            row["deprecated"] = True
        rows[name] = row
        if target is not None:
            dataclasses[name] = target
    return rows, dataclasses


def _row(action: argparse.Action, kind: str) -> Row:
    others = [name for name in action.option_strings[1:] if name.startswith("-") and not name.startswith("--no-")]
    aliases = [name for name in others if name != action.option_strings[0]]
    row: Row = {"kind": _kind(action), "type": kind}
    if aliases:
        row["aliases"] = aliases
    if any(name.startswith("--no-") for name in action.option_strings[1:]):
        row["negative"] = next(name for name in action.option_strings if name.startswith("--no-"))
    if getattr(action.type, "__name__", "") == "_optional_type":
        row["nullable"] = True
    if action.nargs not in (None, 0):
        row["nargs"] = action.nargs
    if action.choices:
        row["choices"] = [choice for choice in action.choices if choice is not None]
        if folds(action):
            row["folded"] = True
    elif isinstance(action.metavar, (list, tuple)):
        # vLLM names the usual values of an open set this way.
        row["names"] = [name for name in action.metavar if isinstance(name, str)]
    if row["kind"] != "switch" and isinstance(default := _plain(action.default), (str, int, float, bool)):
        row["default"] = default
    elif row["kind"] == "switch" and isinstance(action.default, bool):
        row["default"] = action.default
    return row


def _kind(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "switch"
    if isinstance(action.nargs, int) or action.nargs in {"+", "*"}:
        return "list"
    return "optional" if action.nargs == "?" else "value"


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        value = value.value if isinstance(value.value, (str, int, float)) else value.name
    if isinstance(value, str) and len(value) > LONGEST_DEFAULT:
        return None
    return None if value == argparse.SUPPRESS else value


def type_of(action: argparse.Action) -> tuple[str, type | None]:
    """The kind of value that an option takes, and its dataclass if it takes one as JSON."""
    function: Any = action.type
    for _ in range(5):
        if function is None:
            return "str", None
        defaults = getattr(function, "__defaults__", None) or ()
        if getattr(function, "__name__", "") == "parse_dataclass" and defaults:
            return "json", defaults[0]
        if (named := NAMED_TYPES.get(getattr(function, "__name__", ""))) is not None:
            return named, None
        inner = _inner(function)
        if inner is None:
            break
        function = inner
    return (_probed(action.type) if callable(action.type) else "unknown"), None


def _inner(function: Callable[..., Any]) -> object:
    """What a wrapper such as vLLM's `optional_type` calls."""
    if not inspect.isfunction(function):
        return None
    return inspect.getclosurevars(function).nonlocals.get("return_type")


def _probed(function: Callable[[str], object]) -> str:
    with contextlib.suppress(Exception):
        function("x y")
        return "str"
    with contextlib.suppress(Exception):
        if function(json.dumps({"a": 1})) == {"a": 1}:
            return "json"
    return "unknown"


def folds(action: argparse.Action) -> bool:
    """True if choices are compared in lower case with underscores."""
    with contextlib.suppress(Exception):
        return bool(action.type is not None and action.type("A-b") == "a_b")  # type: ignore[operator]
    return False
