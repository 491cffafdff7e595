"""JSON values against the configuration class that they become: unknown fields, wrong types, wrong choices, bounds.

As lenient as pydantic is where it reads JSON: numbers and booleans may be text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from planner.flags.errors import did_you_mean, ordered

BOOLEANS: Final = frozenset({"true", "false", "1", "0", "yes", "no", "on", "off", "t", "f", "y", "n"})

TYPE_NAMES: Final = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "a text",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong inside a JSON value; `path` is the way to it, the rest as in FlagError."""

    path: tuple[str, ...]
    value: object
    message: str
    choices: tuple[str, ...] = ()
    fix: str = ""


Schema = Mapping[str, Any]


def validate(
    value: object, schema: Schema, schemas: Mapping[str, Schema], path: tuple[str, ...] = ()
) -> Iterator[Wrong]:
    """What is wrong with a value.

    Args:
        value: parsed JSON.
        schema: what it should be; an empty one takes anything.
        schemas: what `$ref` names.
        path: where the value stands.
    """
    schema = _resolved(schema, schemas)
    if "anyOf" in schema:
        yield from _any_of(value, schema["anyOf"], schemas, path)
        return
    if "enum" in schema or "const" in schema:
        yield from _enum(value, schema, path)
        return
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        yield Wrong(path, value, f"must be {TYPE_NAMES.get(kind, kind)}")
    elif isinstance(value, dict):
        yield from _object(value, schema, schemas, path)
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from validate(item, schema["items"], schemas, (*path, f"[{index}]"))
    elif kind in {"integer", "number"}:
        yield from bounds(float(str(value)), value, schema, path)


def field_schema(schema: Schema, schemas: Mapping[str, Schema], path: Sequence[str]) -> Schema | Wrong:
    """The schema of a field inside another; an empty one if anything may stand there."""
    for depth, name in enumerate(path):
        schema = _resolved(schema, schemas)
        options = [_resolved(option, schemas) for option in schema.get("anyOf", [schema])]
        schema = next((option for option in options if option.get("type") == "object"), {})
        properties = schema.get("properties", {})
        if name in properties:
            schema = properties[name]
        elif schema.get("additionalProperties") is False:
            where = tuple(path[:depth])
            return _unknown_field(name, None, properties, (*where, name))
        else:
            inner = schema.get("additionalProperties")
            schema = inner if isinstance(inner, dict) else {}
    return schema


def _resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    while "$ref" in schema:
        schema = schemas.get(schema["$ref"], {})
    return schema


def _unknown_field(name: str, value: object, properties: Mapping[str, Any], path: tuple[str, ...]) -> Wrong:
    return Wrong(path, value, "there is no such field", ordered(name, properties), did_you_mean(name, properties))


def _object(
    value: dict[str, Any], schema: Schema, schemas: Mapping[str, Schema], path: tuple[str, ...]
) -> Iterator[Wrong]:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            yield from validate(item, properties[name], schemas, (*path, name))
        elif others is False:
            yield _unknown_field(name, item, properties, (*path, name))
        elif isinstance(others, dict):
            yield from validate(item, others, schemas, (*path, name))
    for name in schema.get("required", ()):
        if name not in value:
            yield Wrong((*path, name), None, "is missing", fix="Add it.")


def _any_of(
    value: object, options: Sequence[Schema], schemas: Mapping[str, Schema], path: tuple[str, ...]
) -> Iterator[Wrong]:
    options = [_resolved(option, schemas) for option in options]
    found = [list(validate(value, option, schemas, path)) for option in options]
    if not all(found):
        return
    # The option that the value was meant for: of its kind, or the one with choices.
    for option, wrong in zip(options, found, strict=True):
        if isinstance(value, (dict, list)) and _is(value, option.get("type", "")):
            yield from wrong
            return
    choices = [choice for option in options for choice in option.get("enum", ())]
    if choices and isinstance(value, str):
        yield Wrong(path, value, "is none of the choices", ordered(value, choices), did_you_mean(value, choices))
        return
    with_type = next((wrong for option, wrong in zip(options, found, strict=True) if option.get("type") != "null"), [])
    yield from with_type


def _enum(value: object, schema: Schema, path: tuple[str, ...]) -> Iterator[Wrong]:
    choices = list(schema.get("enum", [schema.get("const")]))
    folded = schema.get("folded", False)
    if isinstance(value, bool) or not any(_same(value, choice, folded) for choice in choices):
        yield Wrong(path, value, "is none of the choices", ordered(value, choices), did_you_mean(value, choices))


def _same(value: object, choice: object, folded: bool) -> bool:
    return value == choice or (folded and str(value).lower() == str(choice).lower())


def _is(value: object, kind: str) -> bool:
    test = _TESTS.get(kind)
    return test is None or test(value)


def _number(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, (int, float)):
        return True
    return isinstance(value, str) and re.fullmatch(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", value.strip()) is not None


_TESTS: Final[Mapping[str, Callable[[object], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool) or value in (0, 1) or str(value).lower() in BOOLEANS,
    "integer": lambda value: _number(value) and float(str(value)).is_integer(),
    "number": _number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def bounds(number: float, value: object, schema: Schema, path: tuple[str, ...] = ()) -> Iterator[Wrong]:
    """What is wrong with a number that has to be within bounds."""
    for key, (outside, words) in _BOUNDS.items():
        bound = schema.get(key)
        if bound is not None and outside(number, bound):
            text = f"{bound:g} {words}" if words.startswith("or") else f"{words} {bound:g}"
            fix = {"minimum": f"The least is {bound:g}.", "maximum": f"The most is {bound:g}."}.get(key, "")
            yield Wrong(path, value, f"must be {text}", fix=fix)


_BOUNDS: Final[Mapping[str, tuple[Callable[[float, float], bool], str]]] = {
    "minimum": (operator.lt, "or more"),
    "maximum": (operator.gt, "or less"),
    "exclusiveMinimum": (operator.le, "more than"),
    "exclusiveMaximum": (operator.ge, "less than"),
}
