"""One given value against what its flag takes: type, bounds, choices, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from planner.flags.catalogue import Catalogue, Flag
from planner.flags.errors import FlagError, did_you_mean, ordered
from planner.flags.schema import Schema, Wrong, bounds, field_schema, validate
from planner.flags.words import Given

UNITS: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
"""Suffixes of vLLM's whole numbers: decimal in lower case, binary in upper case (`vllm/utils/argparse_utils.py`)."""

HUMAN: Final = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])")

NUMBERS: Final = frozenset({"int", "float", "human_int", "human_int_or_auto"})

PLUGINS: Final = {
    "--reasoning-parser": "--reasoning-parser-plugin",
    "--tool-call-parser": "--tool-parser-plugin",
}
"""Flags whose names a plug-in may add to, and the flag that loads it."""

FREE_FIELDS: Final = {"kv_connector": "kv_connector_module_path"}
"""Fields of a JSON value whose names a module may add to, and the field that names the module."""


def check_value(catalogue: Catalogue, given: Given, present: frozenset[str]) -> Iterator[FlagError]:
    """What is wrong with the values of one flag.

    Args:
        catalogue: that the flag is of.
        given: the flag and its values.
        present: long names of all flags that are given.
    """
    flag = given.flag
    if given.path:
        yield from _check_field(catalogue, given)
        return
    for text in given.values:
        if flag.nullable and text in {"", "None"}:
            continue
        if flag.type in NUMBERS:
            yield from _check_number(given, text)
        elif flag.type == "json" or (flag.type == "json_or_str" and re.fullmatch(r"(?s)\s*\{.*\}\s*", text)):
            yield from _check_json(catalogue, given, text)
        elif flag.name == "--lora-modules":
            yield from _check_adapter(given, text)
        elif flag.choices:
            yield from _check_choice(given, text)
        elif flag.names and PLUGINS.get(flag.name) not in present:
            yield from _check_name(given, text)


def whole_number(text: str) -> int:
    """A whole number as vLLM reads it, with or without a unit.

    Raises:
        ValueError: it is none.
    """
    match = HUMAN.fullmatch(text.strip())
    if match is None:
        return int(text)
    digits, unit = match.groups()
    return int(float(digits) * UNITS[unit]) if unit.islower() else int(digits) * UNITS[unit]


def number_of(flag: Flag, text: str) -> float:
    """A flag's value as a number; -1 for `auto`.

    Raises:
        ValueError: it is none.
    """
    if flag.type == "human_int_or_auto" and text.strip().lower() == "auto":
        return -1
    if flag.type.startswith("human_int"):
        return whole_number(text)
    return int(text) if flag.type == "int" else float(text)


def _check_number(given: Given, text: str) -> Iterator[FlagError]:
    flag = given.flag
    try:
        number = number_of(flag, text)
    except ValueError:
        kind = {"float": "a number", "int": "a whole number"}.get(flag.type, "a whole number such as 4096, 4k or 4K")
        kind += " or auto" if flag.type == "human_int_or_auto" else ""
        default = f"The default is {flag.default}." if flag.default is not None else ""
        yield FlagError(given.written, text, f"must be {kind}", fix=default)
        return
    if flag.choices and number not in flag.choices:
        yield _no_choice(
            given, text, tuple(str(item) for item in sorted(flag.choices, key=lambda c: abs(number - int(c))))
        )
    limits = {
        "minimum": flag.minimum,
        "maximum": flag.maximum,
        "exclusiveMinimum": flag.exclusive_minimum,
        "exclusiveMaximum": flag.exclusive_maximum,
    }
    for wrong in bounds(number, text, limits):
        default = f"The default is {flag.default}." if flag.default is not None else ""
        yield FlagError(given.written, text, wrong.message, fix=" ".join(part for part in (wrong.fix, default) if part))


def _check_adapter(given: Given, text: str) -> Iterator[FlagError]:
    """`name=path`, or a JSON mapping: vLLM 0.32.0 entrypoints/launchers/cli_args.py LoRAParserAction."""
    if "=" in text and "," not in text:
        return
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        fix = 'Write name=path, or {"name": ..., "path": ...}.'
        yield FlagError(given.written, text, "must be an adapter's name and where it is", fix=fix)


def _check_choice(given: Given, text: str) -> Iterator[FlagError]:
    flag = given.flag
    compared = text.lower().replace("-", "_") if flag.folded else text
    if compared not in {str(choice) for choice in flag.choices}:
        yield _no_choice(given, text, ordered(text, flag.choices))


def _no_choice(given: Given, text: str, choices: tuple[str, ...]) -> FlagError:
    return FlagError(given.written, text, "is none of the choices", choices, did_you_mean(text, choices))


def _check_name(given: Given, text: str) -> Iterator[FlagError]:
    """Names of an open set; an import path or a file may stand for one that is not in it."""
    if text.lower() in {name.lower() for name in given.flag.names} or re.search(r"[./:]", text) or not text:
        return
    plugin = PLUGINS.get(given.flag.name)
    hint = f"A name of your own needs {plugin}." if plugin else ""
    choices = ordered(text, given.flag.names)
    fix = " ".join(part for part in (did_you_mean(text, choices), hint) if part)
    yield FlagError(given.written, text, "is a name that this version does not know", choices, fix)


def parse_json(text: str) -> object:
    """JSON as vLLM reads it: bare numbers may have a unit (`{"cpu_bytes_to_use": 80g}`).

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text)
    except ValueError:
        parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
        for index in range(0, len(parts), 2):
            parts[index] = re.sub(rf"\b{HUMAN.pattern}\b", lambda found: str(whole_number(found[0])), parts[index])
        return json.loads("".join(parts))


def _check_json(catalogue: Catalogue, given: Given, text: str) -> Iterator[FlagError]:
    try:
        value = parse_json(text)
    except ValueError as error:
        yield FlagError(given.written, text, f"must be JSON: {error}", fix=_json_hint(text))
        return
    if given.flag.schema is not None:
        yield from _wrongs(catalogue, given, value, catalogue.schemas[given.flag.schema], ())
    elif given.flag.type == "json" and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        yield FlagError(given.written, text, "must be a JSON mapping or list")


def _json_hint(text: str) -> str:
    if "'" in text and '"' not in text:
        return "JSON takes double quotes."
    if re.search(r"\b(True|False|None)\b", text):
        return "JSON writes true, false and null."
    return "Write it in quotes of YAML, e.g. '{\"key\": 1}'." if not text.lstrip().startswith(("{", "[")) else ""


def _check_field(catalogue: Catalogue, given: Given) -> Iterator[FlagError]:
    flag, text = given.flag, given.value or ""
    if not flag.type.startswith("json"):
        yield FlagError(given.written, text, f"{flag.name} takes no JSON, and so has no fields")
        return
    path = tuple(part.removesuffix("+") for part in given.path)
    try:
        value = json.loads(text)
    except ValueError:
        value = whole_number(text) if HUMAN.fullmatch(text) else text
    if given.path[-1].endswith("+"):
        value = text.split(",")
    if flag.schema is None:
        return
    schema = field_schema(catalogue.schemas[flag.schema], catalogue.schemas, path)
    if isinstance(schema, Wrong):
        yield FlagError(given.written, text, schema.message, schema.choices, schema.fix)
        return
    yield from _wrongs(catalogue, given, value, schema, path)


def _wrongs(
    catalogue: Catalogue, given: Given, value: object, schema: Schema, path: tuple[str, ...]
) -> Iterator[FlagError]:
    for wrong in validate(value, schema, catalogue.schemas, path):
        where = "" if given.path and wrong.path == path else ".".join(wrong.path[len(path) if given.path else 0 :])
        message = f"{where}: {wrong.message}" if where else wrong.message
        shown = wrong.value if wrong.value is not None else given.value
        yield FlagError(given.written, shown, message, wrong.choices, wrong.fix)
    if isinstance(value, dict):
        for name, names in given.flag.field_names.items():
            found = value.get(name)
            if isinstance(found, str) and found not in names and not value.get(FREE_FIELDS.get(name, "")):
                choices = ordered(found, names)
                message = f"{name} is a name that this version does not know"
                yield FlagError(given.written, found, message, choices, did_you_mean(found, choices))
