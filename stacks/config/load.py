"""Read and check the configuration of an environment."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stacks.config.checks import check
from stacks.config.checks_secrets import SECRETS_KEY, check_encrypted_values, check_plain_secrets, missing_values
from stacks.config.checks_topologies import check_adapter_files
from stacks.config.model_files import learn_models
from stacks.config.models import EnvironmentConfig
from stacks.config.resolve import with_instance_types
from stacks.config.salvage import salvage
from stacks.config.shapes import Location, show_path
from stacks.config.shares import with_memory_shares
from stacks.config.stack_file import read_stack_file
from stacks.config.translate import translate
from stacks.errors import MISSING, ConfigError, FieldError, short

PROJECT = "inference-platform"
ENVIRONMENT_KEY = f"{PROJECT}:environment"
MAX_STACK_NAME = 53
"""The namespace inference-<stack> must be a DNS label of at most 63 characters."""


def load_environment(raw: object, stack: str) -> EnvironmentConfig:
    """Check the configuration of an environment.

    Args:
        raw: what stands under `inference-platform:environment`: a mapping of JSON-able values.
        stack: the stack's name, which is the environment's.

    Raises:
        ConfigError: with every error that was found, in the order of the configuration.
    """
    return _load(raw, stack, origin=f"Pulumi.{stack}.yaml", folder=Path())


def load_stack_file(stack: str | Path, directory: str | Path = ".") -> EnvironmentConfig:
    """Read Pulumi.<stack>.yaml without the Pulumi engine, and check it.

    Args:
        stack: the stack's name, or the path of its file.
        directory: where Pulumi.yaml is; only used with a name.

    Raises:
        ConfigError: with every error that was found; also when there is no such file or it is not YAML.
    """
    path = stack if isinstance(stack, Path) else stack_path(stack, Path(directory))
    name = path.name.removeprefix("Pulumi.").removesuffix(".yaml").removesuffix(".yml")
    config = read_stack_file(path)
    unknown, values = list(_check_config_keys(config)), list(check_encrypted_values(config.get(SECRETS_KEY, {})))
    errors = [*unknown, *values]
    raw = config.get(ENVIRONMENT_KEY, MISSING)
    if raw is MISSING:
        # A key that nobody knows is then most likely this one, mistyped.
        fix = f"Rename {unknown[0].path}." if unknown else f"Describe the environment under config: {ENVIRONMENT_KEY}:."
        message = "required, but not given: it describes the whole environment"
        raise ConfigError([FieldError(ENVIRONMENT_KEY, MISSING, message, fix=fix), *values], path.name)
    try:
        environment = _load(raw, name, path.name, path.parent)
    except ConfigError as error:
        raise ConfigError([*errors, *error.errors], path.name) from None
    errors += missing_values(environment.secrets, config.get(SECRETS_KEY, {})) if not errors else []
    if errors:
        raise ConfigError(errors, path.name)
    return environment


def stack_path(stack: str, directory: Path) -> Path:
    """The file of a stack; `organisation/project/stack` counts as `stack`.

    Raises:
        ConfigError: the name cannot be a file name.
    """
    name = stack.rpartition("/")[2]
    if not name or name in {".", ".."} or "\0" in name:
        raise ConfigError([FieldError("stack", stack, "is not a stack's name", fix="Give it as -s dev.")], "stack")
    return directory / f"Pulumi.{name}.yaml"


def _load(raw: object, stack: str, origin: str, folder: Path) -> EnvironmentConfig:
    errors = list(_check_stack_name(stack))
    if not isinstance(raw, Mapping):
        message = "must be a mapping of keys to values"
        errors.append(FieldError("environment", raw, message, tuple(EnvironmentConfig.model_fields)))
        raise ConfigError(errors, origin)
    secrets = [*_check_secrets(raw), *check_plain_secrets(raw)]
    if secrets:
        # What stands beside a secret may be one too: nothing else is looked at or repeated.
        raise ConfigError([*errors, *secrets], origin)
    errors.extend(_check_key_types(raw))
    raw = with_memory_shares(with_instance_types(raw))
    try:
        config = EnvironmentConfig.model_validate(raw)
    except ValidationError as error:
        errors.extend(translate(error, EnvironmentConfig))
        config = salvage(EnvironmentConfig, raw)
    errors.extend(learn_models(config, folder))
    errors.extend(check_adapter_files(config, folder))
    errors.extend(check(config))
    if errors:
        raise ConfigError(sorted(_distinct(errors), key=_position), origin)
    return config


def _distinct(errors: Sequence[FieldError]) -> Iterator[FieldError]:
    seen = set()
    for error in errors:
        if error.line() not in seen:
            seen.add(error.line())
            yield error


def _position(error: FieldError) -> tuple[float, float]:
    """Sort key: sections in the order of the model, items by index; within an item the order of finding."""
    section, _, rest = error.path.partition("[")
    sections = list(EnvironmentConfig.model_fields)
    first = section.partition(".")[0]
    index = re.match(r"\d{1,9}", rest)
    return (
        sections.index(first) if first in sections else -1 if first in {"stack", "environment"} else math.inf,
        int(index[0]) if index else -1,
    )


def _check_stack_name(stack: str) -> Iterator[FieldError]:
    if len(stack) > MAX_STACK_NAME or not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", stack):
        yield FieldError(
            "stack",
            stack,
            f"must be lower-case letters, digits and dashes, at most {MAX_STACK_NAME}: it becomes part of the "
            "namespace inference-<stack>",
            fix="Rename the stack: pulumi stack rename.",
        )


def _walk(value: object) -> Iterator[tuple[Location, Mapping[Any, Any]]]:
    """Every mapping in a value, with its path, in the order of writing."""
    seen: set[int] = set()
    pending: list[tuple[Location, object]] = [((), value)]
    while pending:
        path, item = pending.pop()
        # YAML anchors can make one object appear many times, even inside itself.
        if not isinstance(item, (Mapping, list, tuple)) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            yield path, item
            pending.extend(((*path, str(key)), child) for key, child in reversed(list(item.items())))
        else:
            pending.extend(((*path, index), child) for index, child in reversed(list(enumerate(item))))


def _check_secrets(value: object) -> Iterator[FieldError]:
    """Encrypted values anywhere in the environment object."""
    for path, item in _walk(value):
        if set(item) == {"secure"}:
            yield FieldError(
                show_path(path) or "environment",
                MISSING,
                "is an encrypted value: the environment object is shown in plans and outputs, so no secret "
                "belongs in it",
                fix="Declare it in secrets, keep its value under inference-platform:secrets (docs/security.md), and "
                "refer to it by name.",
            )


def _check_key_types(value: object) -> Iterator[FieldError]:
    """Keys that are no texts: YAML reads on, off, yes and no as true and false, also where they are keys."""
    for path, item in _walk(value):
        for key in item:
            if not isinstance(key, str):
                text = {True: "true (YAML reads on and yes so, too)", False: "false (YAML reads off and no so, too)"}
                shown = text[key] if isinstance(key, bool) else short(key)
                message = f"the key {shown} is not a text"
                yield FieldError(show_path(path) or "environment", MISSING, message, fix="Put it in quotes.")


def _check_config_keys(config: Mapping[Any, Any]) -> Iterator[FieldError]:
    """Keys of this project that it does not have; keys of providers are not ours to check."""
    for key in config:
        if isinstance(key, str) and key.startswith(f"{PROJECT}:") and key not in {ENVIRONMENT_KEY, SECRETS_KEY}:
            yield FieldError(key, MISSING, "unknown key", (ENVIRONMENT_KEY, SECRETS_KEY), "Remove it.")
