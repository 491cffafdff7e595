"""Read Pulumi.<stack>.yaml as Pulumi does, but with every mistake of writing named by its line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from stacks.errors import MISSING, ConfigError, FieldError, nearest, short

MAX_BYTES = 1_000_000
"""A stack file of more than a megabyte is not one."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys, and says where a value cannot be read."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As in SafeLoader; a key that is there twice is an error, because one of the two would be lost."""
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                line = key.start_mark.line + 1
                if key.value in seen:
                    problem = f"the key {short(key.value)} is there twice, first in line {seen[key.value]}"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen[key.value] = line
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401
        """As in SafeLoader; impossible dates and endless numbers name their line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            reason = "a number of thousands of digits" if "digits" in str(error) else str(error)
            problem = f"this value cannot be read: {reason}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


def read_stack_file(path: Path) -> dict[Any, Any]:
    """The mapping under `config:` of a stack file.

    Args:
        path: of Pulumi.<stack>.yaml.

    Raises:
        ConfigError: there is no such file, it cannot be read, or it is not the YAML of a stack.
    """
    document = _parse(path, _text(path))
    if document is None:
        raise _error(
            path, "the file is empty", "Describe the environment under config: inference-platform:environment:."
        )
    if not isinstance(document, dict):
        raise _error(path, "must be a mapping with the key config", "See Pulumi.dev.yaml for an example.")
    config = document.get("config", MISSING)
    if config is MISSING:
        close = nearest("config", [key for key in document if isinstance(key, str)])
        hint = f"Rename {close} to config." if close else "Put the configuration under config:."
        raise _error(path, "has no key config", hint)
    if not isinstance(config, dict):
        raise _error(path, "config must be a mapping of keys to values", "See Pulumi.dev.yaml for an example.")
    return config


def _error(path: Path, message: str, fix: str) -> ConfigError:
    return ConfigError([FieldError(path.name, MISSING, message, fix=fix)], path.name)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _no_such_stack(path) from None
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror or error}", f"Check {path}.") from None
    if len(data) > MAX_BYTES:
        raise _error(path, "has more than a megabyte: this is not a stack file", f"Check {path}.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"is not UTF-8 text (byte 0x{data[error.start]:02x} in line {line})"
        raise _error(path, message, "Save it as UTF-8, or restore it from git.") from None


def _no_such_stack(path: Path) -> ConfigError:
    stack = path.name.removeprefix("Pulumi.").removesuffix(".yaml")
    files = sorted(path.parent.glob("Pulumi.*.yaml")) if path.parent.is_dir() else []
    stacks = [file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files]
    close = nearest(stack, stacks)
    hint = f"Did you mean {close}?" if close else f"Write {path.name}, or copy Pulumi.dev.yaml."
    message = f"there is no {path.name} in {path.parent.resolve()}"
    return ConfigError([FieldError("stack", stack, message, tuple(stacks), hint)], "stack")


def _parse(path: Path, text: str) -> Any:  # noqa: ANN401
    try:
        # _Loader is a SafeLoader: it constructs plain values only.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        message = f"is not valid YAML in {where}: {error.problem or error.context}"
        syntax = isinstance(error, (yaml.scanner.ScannerError, yaml.parser.ParserError))
        hint = "Tabs, missing colons and wrong indentation are the usual causes." if syntax else "Correct this line."
        raise _error(path, message, hint) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        message = f"is not valid YAML in line {line}: a character that YAML does not allow"
        raise _error(path, message, "Remove it, or restore the file from git.") from None
    except RecursionError:
        raise _error(path, "is nested too deeply", "A configuration has at most six levels.") from None
