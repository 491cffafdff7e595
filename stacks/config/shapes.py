"""What a field of the configuration takes: a model, a list of models, a choice of models, a word, a number."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Shape:
    """The kind of a field.

    Attributes:
        model: the field is one such object.
        item: the field is a list of such objects.
        variants: the field is one of these objects, by the value of `discriminator`.
        discriminator: name of the key that tells the variants apart.
        vocabulary: the field is a word of this enumeration, or with `texts` a list of such words.
        number: `int` or `float` for a number.
        texts: the field is a list of texts.
    """

    model: type[BaseModel] | None = None
    item: type[BaseModel] | None = None
    variants: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    discriminator: str = ""
    vocabulary: type[StrEnum] | None = None
    number: type[int] | type[float] | None = None
    texts: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The vocabulary, or the tags of the variants; empty if the field takes no such word."""
        if self.vocabulary is not None:
            return tuple(member.value for member in self.vocabulary)
        return tuple(self.variants)


def _plain(annotation: Any) -> Any:  # noqa: ANN401 - annotations have no common type
    """The annotation without `Annotated` and without `None`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in {Union, types.UnionType}:
        members = [member for member in get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return _plain(members[0])
    return annotation


def _is_class(annotation: object, parent: type) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, parent)


@cache
def shape_of(owner: type[BaseModel], name: str) -> Shape:
    """The shape of a field of a model; an empty shape for a name that is no field."""
    info = owner.model_fields.get(name)
    return Shape() if info is None else _shape(info)


def _shape(info: FieldInfo) -> Shape:
    annotation = _plain(info.annotation)
    if isinstance(info.discriminator, str):
        variants = {}
        for variant in get_args(annotation):
            (tag,) = get_args(variant.model_fields[info.discriminator].annotation)
            variants[str(tag)] = variant
        return Shape(variants=variants, discriminator=info.discriminator)
    if get_origin(annotation) is tuple:
        return _list_shape(_plain(get_args(annotation)[0]))
    if _is_class(annotation, BaseModel):
        return Shape(model=annotation)
    if _is_class(annotation, StrEnum):
        return Shape(vocabulary=annotation)
    if annotation is int or annotation is float:
        return Shape(number=annotation)
    return Shape()


def _list_shape(item: Any) -> Shape:  # noqa: ANN401 - annotations have no common type
    if _is_class(item, BaseModel):
        return Shape(item=item)
    return Shape(texts=True, vocabulary=item if _is_class(item, StrEnum) else None)


def show_path(path: Location) -> str:
    """A path as it is written in messages: `node_pools[0].name`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "a").isalnum():
            text += f".{part}" if text else part
        else:
            text += f"[{part[:60]!r}]"
    return text


@dataclass(frozen=True)
class Place:
    """A place in the configuration, found from pydantic's location.

    Attributes:
        path: the location without the tags that pydantic adds for variants.
        owner: the model that has, or should have, the last key; None below free mappings.
        field: that key.
    """

    path: Location
    owner: type[BaseModel] | None
    field: str


def locate(root: type[BaseModel], location: Location) -> Place:
    """Translate pydantic's location into the user's path."""
    current: type[BaseModel] | None = root
    owner: type[BaseModel] | None = root
    variants: Mapping[str, type[BaseModel]] = {}
    path: list[str | int] = []
    name = ""
    for part in location:
        if isinstance(part, int):
            path.append(part)
        elif part in variants:
            current = variants[part]
            variants = {}
        elif part != "[key]":
            path.append(part)
            owner, name = current, part
            found = shape_of(current, part) if current is not None else Shape()
            current, variants = found.model or found.item, found.variants
    return Place(tuple(path), owner, name)
