"""The valid parts of an invalid configuration, so that checks across fields still see them.

A salvaged object is an ordinary model object of which the broken fields are simply absent: ask `has` before
reading one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from stacks.config.shapes import shape_of

ModelT = TypeVar("ModelT", bound=BaseModel)


def has(model: BaseModel, *names: str) -> bool:
    """Whether all these fields are there, given validly or by default."""
    return all(name in model.__dict__ for name in names)


def salvage(model_type: type[ModelT], raw: Mapping[Any, Any]) -> ModelT:
    """Build an object of what is valid in `raw`; the rest is left out.

    Args:
        model_type: what `raw` should be.
        raw: what was read.
    """
    values: dict[str, Any] = {}
    for name, info in model_type.model_fields.items():
        if name in raw:
            value = _value(model_type, name, raw[name])
        elif info.default_factory_takes_validated_data:
            value = _derived(model_type, name, values)
        else:
            value = info.get_default(call_default_factory=True, validated_data=values)
        if value is not PydanticUndefined:
            values[name] = value
    return _bare(model_type, values, {name for name in values if name in raw})


def _bare(model_type: type[ModelT], values: Mapping[str, Any], given: set[str] | None = None) -> ModelT:
    """An object with these values and no defaults; `given` are those that the user wrote."""
    # With a value for each field no default is asked for: one that depends on a broken field would fail.
    found = model_type.model_construct(given or set(), **dict.fromkeys(model_type.model_fields))
    found.__dict__.clear()
    found.__dict__.update(values)
    return found


def _derived(model_type: type[BaseModel], name: str, values: dict[str, Any]) -> Any:  # noqa: ANN401
    try:
        return model_type.model_fields[name].get_default(call_default_factory=True, validated_data=values)
    except KeyError:
        # It is worked out from a field which is itself broken.
        return PydanticUndefined


def _value(model_type: type[BaseModel], name: str, raw: object) -> Any:  # noqa: ANN401
    shape = shape_of(model_type, name)
    if shape.item is not None:
        if not isinstance(raw, Sequence) or isinstance(raw, (str, bytes)):
            return PydanticUndefined
        # A broken item stays, empty, so that the others keep their index.
        return tuple(salvage(shape.item, item) if isinstance(item, Mapping) else _bare(shape.item, {}) for item in raw)
    nested = shape.model
    if shape.discriminator and isinstance(raw, Mapping):
        tag = raw.get(shape.discriminator)
        nested = shape.variants.get(tag) if isinstance(tag, str) else None
        if nested is None:
            return PydanticUndefined
    if nested is not None and isinstance(raw, Mapping):
        return salvage(nested, raw)
    try:
        return _field_adapter(model_type, name).validate_python(raw)
    except ValidationError:
        return PydanticUndefined


@cache
def _field_adapter(model_type: type[BaseModel], name: str) -> TypeAdapter[Any]:
    info = model_type.model_fields[name]
    annotation: Any = info.annotation
    for rule in info.metadata:
        annotation = Annotated[annotation, rule]
    return TypeAdapter(annotation)
