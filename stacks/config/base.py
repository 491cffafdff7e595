"""What all types of the configuration are made of: the strict base and the forms of its words and numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, Strict, StringConstraints
from pydantic_core import PydanticCustomError

Int = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40)]
HuggingFaceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$", max_length=200)]
Zone = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][-a-z0-9]*$", max_length=40)]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z][-a-z0-9]*$", max_length=40)]
Network = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F:.]+/[0-9]{1,3}$", max_length=50)]
TagName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=60)]
TagValue = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]*$", max_length=60)]
MigProfileName = Annotated[str, StringConstraints(pattern=r"^[1-9]g\.[0-9]+gb$")]
ImageReference = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$",
        max_length=300,
    ),
]
ImageDigest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9/_.-]*$", max_length=200)]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
Revision = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*([./][A-Za-z0-9_-]+)*$", max_length=200)
]
FilePattern = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_*?.-]+(/[A-Za-z0-9_*?.-]+)*$", min_length=1, max_length=200)
]
FlagName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=80)]


def _scalar(value: object) -> str | int | float | bool:
    if isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and abs(value) != float("inf") and value == value:  # noqa: PLR0124 - NaN
        return value
    raise PydanticCustomError("scalar_type", "must be a text, a number, true or false")


FlagValue = Annotated[
    str | int | float | bool, PlainValidator(_scalar, json_schema_input_type=str | int | float | bool)
]


def _scalar_or_list(value: object) -> str | int | float | bool | tuple[str | int | float | bool, ...]:
    if not isinstance(value, (list, tuple)):
        try:
            return _scalar(value)
        except PydanticCustomError:
            message = "must be a text, a number, true or false, or a list of these"
            raise PydanticCustomError("scalar_type", message) from None
    if any(isinstance(item, bool) for item in value):
        raise PydanticCustomError("scalar_type", "must be a list of texts or numbers")
    return tuple(_scalar(item) for item in value)


FlagValues = Annotated[
    str | int | float | bool | tuple[str | int | float, ...],
    PlainValidator(_scalar_or_list, json_schema_input_type=str | int | float | bool | list[str | int | float]),
]
"""A flag's value, or its values: a list for a flag that takes several."""


class Strictly(BaseModel):
    """Base of all: no unknown keys, no changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), defer_build=True)
