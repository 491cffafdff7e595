"""pydantic's errors in the words of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from stacks.config.shapes import Place, locate, shape_of, show_path
from stacks.errors import MISSING, FieldError, nearest, unknown_choice

NOT_A_WORD = "not one of the words that can stand here"

_NAME_RULE = "must be lower-case letters, digits and dashes, begin with a letter and not end with a dash"
_OBJECT_RULE = "must be a name of Kubernetes: lower-case letters, digits, dashes and dots, the last two not at its ends"
_DIGEST_RULE = "must be a digest, sha256: and 64 hexadecimal digits"
_HUGGING_FACE_RULE = "must be organisation/model, as on Hugging Face"
_PATH_RULE = "must be a path that begins with /"
_FILES_RULE = "must be a path in the repository, * and ? in it stand for any text and any letter"
_PATTERN_RULES = {
    "name": _NAME_RULE,
    "node_pool": _NAME_RULE,
    "hugging_face": _HUGGING_FACE_RULE,
    "base_model": _HUGGING_FACE_RULE,
    "profile": "must be a MIG profile such as 1g.10gb",
    "image": "must be an image with its tag or digest, such as registry.example/team/engine:1.2.3",
    "image_digests": _DIGEST_RULE,
    "digest": _DIGEST_RULE,
    "health_path": _PATH_RULE,
    "metrics_path": _PATH_RULE,
    "region": "must be a region in the cloud's own words, such as us-east-1",
    "zones": "must be a zone in the cloud's own words, such as us-east-1a",
    "kubernetes_version": "must be a minor version such as 1.34",
    "authorized_networks": "must be a network such as 203.0.113.0/24",
    "tags": "must be lower-case letters, digits, dashes and underscores, which all clouds take",
    "repository": "must begin with https:// or http://",
    "oci": "must begin with oci://",
    "version": "must be three numbers such as 0.1.12",
    "host": "must be a host name with a dot, in lower case, such as models.example.com",
    "revision": "must be a commit, a tag or a branch",
    "allow_patterns": _FILES_RULE,
    "ignore_patterns": _FILES_RULE,
    "remote_url": "must be lm://host:port, redis://host:port or rediss://host:port, without user and password",
    "endpoint": "must be http://host:port or https://host:port, perhaps with a path, without user and password",
    "api_key_hashes": "must be a SHA-256 in lower-case hexadecimal: 64 digits (python -m stacks key NAME makes one)",
    "entry": "must be letters, digits and _ . / : -",
    "EnvironmentSecret.name": _OBJECT_RULE,
    "EnvironmentSecret.keys": "must be letters, digits and - _ .",
    "SecretReference.key": "must be letters, digits and - _ .",
    **dict.fromkeys(("secret", "issuer", "gateway_class", "priority_class", "store"), _OBJECT_RULE),
    **dict.fromkeys(("grafana_admin_secret", "image_pull_secrets"), _OBJECT_RULE),
    **dict.fromkeys(("storage_class", "weights_volume", "keda_namespace"), _OBJECT_RULE),
}
"""By the field, or the type and the field where others have a field of this name; the pattern itself for the rest."""

_NUMBERS = {
    "int_type",
    "int_from_float",
    "int_parsing_size",
    "float_type",
    "finite_number",
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
}
_WORDS = {"extra_forbidden", "missing", "enum", "literal_error", "union_tag_invalid", "union_tag_not_found"}
_MAPPINGS = {"model_type", "model_attributes_type", "dict_type", "mapping_type", "dict_attributes_type"}
_CONSEQUENCES = {"default_factory_not_called", "invalid_key"}
"""Errors that only repeat another one: a default that is worked out from a field which is itself wrong, and keys that
are no texts (load.py names them better)."""


def translate(error: ValidationError, root: type[BaseModel]) -> Iterator[FieldError]:
    """Every error of a validation as a FieldError.

    Args:
        error: what pydantic raised.
        root: the model that was validated.
    """
    for detail in error.errors(include_url=False):
        if detail["type"] in _CONSEQUENCES or (detail["loc"][-1:] == ("[key]",) and detail["type"] == "string_type"):
            continue
        # pydantic counts the valid items: a list of one broken item is not too short.
        if detail["type"] == "too_short" and isinstance(detail["input"], Sequence) and detail["input"]:
            continue
        yield _field_error(detail, locate(root, detail["loc"]))


def _field_error(detail: ErrorDetails, place: Place) -> FieldError:
    """Dispatch on what pydantic found."""
    kind, value, path = detail["type"], detail["input"], show_path(place.path)
    if detail["loc"] and detail["loc"][-1] == "[key]":
        flag = "extra_args" in place.path
        return _bad_flag(path, value) if flag else FieldError(path, value, _bad_key(detail))
    if kind in _WORDS:
        return _word(kind, path, value, place)
    if kind in _NUMBERS:
        return FieldError(path, value, f"must be {number_text(place.owner, place.field)}", fix=_quotes(value))
    if kind in _MAPPINGS:
        return FieldError(path, value, "must be a mapping of keys to values", _keys(place))
    return FieldError(path, value, _other(detail, place), fix=_slug(place.field, value))


def _word(kind: str, path: str, value: object, place: Place) -> FieldError:
    """The error for a key or a word that is unknown or missing."""
    if kind == "extra_forbidden":
        return _unknown_key(path, value, place)
    if kind == "missing" or place.owner is None:
        return _missing(path, place)
    shape = shape_of(place.owner, place.field)
    if shape.discriminator:
        return _variant(path, value, shape.discriminator, shape.words)
    return unknown_choice(path, value, NOT_A_WORD, shape.words)


def _other(detail: ErrorDetails, place: Place) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    texts = {
        "bool_type": "must be true or false",
        "string_type": "must be a text",
        "string_too_short": "must not be empty",
        "string_too_long": f"must have at most {context.get('max_length')} characters",
        "string_pattern_mismatch": _pattern_rule(place, str(context.get("pattern"))),
        "tuple_type": "must be a list",
        "list_type": "must be a list",
        "too_short": "must have at least one item",
    }
    return texts.get(kind, detail["msg"])


def _pattern_rule(place: Place, pattern: str) -> str:
    if place.owner is not None:
        names = [f"{place.owner.__name__}.{place.field}", place.field]
    else:
        # The items of a mapping have names of the user's own: it is the mapping's name that counts.
        names = [str(part) for part in place.path[-2:-1]]
    return next((_PATTERN_RULES[name] for name in names if name in _PATTERN_RULES), f"must have the form {pattern}")


def _bad_key(detail: ErrorDetails) -> str:
    pattern = detail.get("ctx", {}).get("pattern")
    return "a name that cannot stand here" + (f": it must have the form {pattern}" if pattern else "")


def number_text(owner: type[BaseModel] | None, name: str) -> str:
    """What a number must be, e.g. `a whole number from 2 to 48`."""
    info = owner.model_fields.get(name) if owner is not None else None
    if owner is None or info is None:
        return "a number"
    text = "a whole number" if shape_of(owner, name).number is int else "a number"
    bounds = {type(item): item for item in info.metadata}
    low, above = bounds.get(annotated_types.Ge), bounds.get(annotated_types.Gt)
    high, below = bounds.get(annotated_types.Le), bounds.get(annotated_types.Lt)
    if low is not None and high is not None:
        return f"{text} from {low.ge} to {high.le}"
    if low is not None:
        return f"{text}, {low.ge} or more"
    if above is not None and high is not None:
        return f"{text} above {above.gt} and at most {high.le}"
    if above is not None and below is not None:
        return f"{text} above {above.gt} and below {below.lt}"
    return text if above is None else f"{text} above {above.gt}"


def _quotes(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
        return "Remove the quotes."
    return ""


def _slug(name: str, value: object) -> str:
    if name not in {"name", "node_pool"} or not isinstance(value, str):
        return ""
    slug = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-0123456789")[:40].rstrip("-")
    return f"For example {slug}." if slug and slug != value else ""


def _bad_flag(path: str, value: object) -> FieldError:
    message = "must be the name of a flag, without the leading dashes"
    bare = value.strip().lstrip("-").lower() if isinstance(value, str) else ""
    return FieldError(path, value, message, fix=f"Write {bare}." if re.fullmatch(r"[a-z][a-z0-9_-]*", bare) else "")


def _keys(place: Place) -> tuple[str, ...]:
    if place.owner is None:
        return ()
    if not place.field:
        return tuple(place.owner.model_fields)
    shape = shape_of(place.owner, place.field)
    model = shape.model or shape.item
    if model is not None:
        return tuple(model.model_fields)
    return (shape.discriminator,) if shape.discriminator else ()


def _unknown_key(path: str, value: object, place: Place) -> FieldError:
    keys = tuple(place.owner.model_fields) if place.owner is not None else ()
    close = nearest(place.field, keys)
    if close is None:
        return FieldError(path, value, "unknown key", keys, "Remove it.")
    rest = tuple(key for key in keys if key != close)
    return FieldError(path, value, "unknown key", (close, *rest), f"Did you mean {close}?")


def _missing(path: str, place: Place) -> FieldError:
    info = place.owner.model_fields.get(place.field) if place.owner is not None else None
    words = shape_of(place.owner, place.field).words if place.owner is not None else ()
    about = f" ({info.description.rstrip('.')})" if info is not None and info.description else ""
    return FieldError(path, MISSING, f"required, but not given{about}", words, "Add it.")


def _variant(path: str, value: object, discriminator: str, words: Sequence[str]) -> FieldError:
    inner = f"{path}.{discriminator}"
    tag: Any = value.get(discriminator, MISSING) if isinstance(value, Mapping) else value
    if tag is MISSING:
        return FieldError(inner, MISSING, "required, but not given", tuple(words), "Add it.")
    return unknown_choice(inner, tag, NOT_A_WORD, words)
