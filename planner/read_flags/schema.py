"""Configuration dataclasses as JSON schemas, without words: only what a check needs."""
# ruff: noqa: ANN401  (pydantic is imported only when it runs, so its types are not known here)

from __future__ import annotations

import importlib
from typing import Any

KEPT = frozenset(
    {"type", "enum", "const", "anyOf", "items", "prefixItems", "additionalProperties", "properties", "required"}
) | frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "$ref", "folded"})

OPEN = frozenset({"ModelConfig", "ParallelConfig", "VllmConfig", "LoadConfig"})
"""Classes that the engine fills in itself where they are part of another: anything passes."""


def json_schemas(classes: set[type]) -> tuple[dict[str, Any], dict[type, str]]:
    """Schemas by class name (parts of others have their own entry), and the entry of each class asked for."""
    json_schema = importlib.import_module("pydantic.json_schema")
    adapter = importlib.import_module("pydantic").TypeAdapter

    class Lenient(json_schema.GenerateJsonSchema):  # type: ignore[misc, name-defined]
        """Fields whose type has no JSON form accept anything."""

        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
            del schema, error_info
            return {}

        def emit_warning(self, kind: Any, detail: str) -> None:
            del kind, detail

        def enum_schema(self, schema: Any) -> dict[str, Any]:
            """Names as well as values: vLLM's validators take either, in any case, and `auto` for the default."""
            values = [item.value for item in schema["members"] if isinstance(item.value, (int, str))]
            shown = [value for value in values if not (isinstance(value, str) and "." in value)]
            names = [item.name for item in schema["members"] if item.name not in shown]
            return {"enum": [*shown, *names, *([] if "auto" in shown else ["auto"])], "folded": True}

        def function_before_schema(self, schema: Any) -> dict[str, Any]:
            """What a validator sees first is not what the field holds: anything passes, unless it is an enum."""
            inner = schema["schema"]
            if inner["type"] not in {"dataclass", "dataclass-args", "model", "model-fields"} and not _holds_enum(inner):
                return {}
            return dict(self.generate_inner(inner))

        def function_wrap_schema(self, schema: Any) -> dict[str, Any]:
            """VLLM's wrap validators let None pass."""
            return {"anyOf": [self.generate_inner(schema["schema"]), {"type": "null"}]}

    found: dict[str, Any] = {}
    names: dict[type, str] = {}
    for cls in sorted(classes, key=lambda item: item.__name__):
        try:
            schema = adapter(cls).json_schema(schema_generator=Lenient)
        except Exception:  # noqa: S112
            # A class that pydantic cannot describe: its flag is checked to be JSON, no more.
            continue
        for name, part in schema.pop("$defs", {}).items():
            found.setdefault(name, _bare(part))
        found[cls.__name__] = _bare(schema)
        names[cls] = cls.__name__
    return found, names


def _holds_enum(schema: object) -> bool:
    if isinstance(schema, dict):
        return schema.get("type") == "enum" or any(_holds_enum(item) for item in schema.values())
    return isinstance(schema, list) and any(_holds_enum(item) for item in schema)


def _bare(schema: object) -> Any:
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in {"properties", "patternProperties"}:
            kept[key] = {name: _bare(item) for name, item in value.items()}
        elif key == "$ref":
            name = value.rpartition("/")[2]
            if name not in OPEN:
                kept[key] = name
        elif key in {"enum", "const", "required"}:
            kept[key] = value
        elif key in KEPT:
            kept[key] = _bare(value)
    return kept
