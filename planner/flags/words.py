"""A command line, or a mapping of flags, as the flags and values that it gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.flags.catalogue import Catalogue, Flag, canonical
from planner.flags.errors import FlagError

Value = str | int | float | bool | Sequence[str | int | float]
"""A flag's value in a mapping; a list where the flag takes several."""

NUMBER = re.compile(r"-\d+|-\d*\.\d+")
"""What argparse takes for a value although it starts with a dash."""

ANY_FLAG = re.compile(r"--?[A-Za-z]")


@dataclass(frozen=True)
class Given:
    """One flag as it was given.

    Attributes:
        flag: what the catalogue says of it.
        written: its name as the user has it.
        values: as text; empty for a switch.
        on: False for the `--no-` form.
        path: field inside a JSON value that was set alone (`--flag.field`), empty otherwise.
    """

    flag: Flag
    written: str
    values: tuple[str, ...] = ()
    on: bool = True
    path: tuple[str, ...] = ()

    @property
    def value(self) -> str | None:
        """The value of a flag that takes one; None if there is none."""
        return self.values[0] if len(self.values) == 1 else " ".join(self.values) if self.values else None


@dataclass(frozen=True)
class Unknown:
    """A name that is no flag, with what was written after it."""

    written: str
    value: object


Item = Given | Unknown | FlagError


def from_mapping(catalogue: Catalogue, arguments: Mapping[str, Value]) -> Iterator[Item]:
    """What a mapping of flags gives: True is the flag alone, False its `--no-` form.

    Args:
        catalogue: of the engine.
        arguments: names without the leading dashes, with dashes or underscores.
    """
    for written, value in arguments.items():
        name, _, rest = canonical(f"--{written}").partition(".")
        flag = catalogue.find(name)
        if flag is None:
            yield Unknown(written, value)
        elif isinstance(value, (list, tuple)):
            yield _several(flag, written, value, rest)
        elif isinstance(value, bool) and not rest:
            yield _switched(flag, written, name, value)
        elif flag.kind == "switch":
            fix = "Write true or false." if flag.negative else "Write true, or leave it out."
            yield FlagError(written, value, "is a switch: it takes no value", ("true", "false"), fix)
        else:
            path = tuple(rest.replace("-", "_").split(".")) if rest else ()
            text = json.dumps(value) if isinstance(value, bool) else str(value)
            yield Given(flag, written, (text,), path=path)


def _several(flag: Flag, written: str, values: Sequence[str | int | float], rest: str) -> Item:
    """All values of a flag that takes several; on the command line they end where the next flag begins."""
    texts, shown = tuple(str(value) for value in values), list(values)
    if flag.kind != "list" or rest:
        fix = "Write the one value." if len(texts) == 1 else "Write one of them, or as JSON if the flag takes JSON."
        return FlagError(written, shown, f"{flag.name} takes one value, no list", example(flag), fix)
    if not texts:
        return FlagError(written, shown, f"{flag.name} takes one value or more", example(flag), "Leave it out.")
    like_flags = [text for text in texts if _is_flag(text)]
    if like_flags:
        message = f"{like_flags[0]} begins like a flag: the engine would read it as one"
        return FlagError(written, shown, message, fix="Give it as a flag of its own.")
    return Given(flag, written, texts)


def _switched(flag: Flag, written: str, name: str, value: bool) -> Item:
    if flag.kind in {"value", "list"}:
        return FlagError(written, value, f"{flag.name} takes a value", example(flag), "Write the value.")
    if value:
        return Given(flag, written, on=name != flag.negative)
    if name == flag.negative or not flag.negative:
        fix = f"Write {flag.name.removeprefix('--')}: true." if name == flag.negative else "Leave it out."
        return FlagError(written, value, f"there is no --no-{name.removeprefix('--')}", ("true",), fix)
    return Given(flag, written, on=False)


def from_words(catalogue: Catalogue, words: Sequence[str]) -> Iterator[Item]:
    """What a command line gives, read as argparse and vLLM's own parser read it.

    Args:
        catalogue: of the engine.
        words: without the program's name and its `serve`.
    """
    place = 0
    positionals = 0
    while place < len(words):
        word = words[place]
        place += 1
        if not _is_flag(word):
            positionals += 1
            if positionals > 1:
                yield FlagError(word, None, "stands alone: the model is the only argument without a flag")
            continue
        name, equals, attached = word.partition("=")
        stem, _, rest = name.partition(".")
        flag, attached_short = _look_up(catalogue, canonical(stem))
        if attached_short is not None and not equals:
            equals, attached = "=", attached_short
        following = _values_after(words, place)
        if flag is None:
            value = attached if equals else (following[0] if following else None)
            yield Unknown(name, value)
            place += len(following)
            continue
        if flag.kind == "switch" and not rest:
            if equals:
                yield FlagError(name, attached, "is a switch: it takes no value", fix="Leave the value out.")
            else:
                yield Given(flag, name, on=canonical(stem) != flag.negative)
            continue
        values = [attached] if equals else following[: None if flag.kind == "list" and not rest else 1]
        place += 0 if equals else len(values)
        if not values and flag.kind != "optional":
            yield FlagError(name, None, f"{flag.name} takes a value", example(flag), "Write the value.")
            continue
        yield Given(flag, name, tuple(values), path=tuple(rest.split(".")) if rest else ())


def _look_up(catalogue: Catalogue, name: str) -> tuple[Flag | None, str | None]:
    """A flag, and the value that is joined to its short name (`-O3`, `-tp2`)."""
    flag = catalogue.by_name.get(name)
    if flag is not None or name.startswith("--"):
        return flag, None
    if name.startswith("-O") and "--optimization-level" in catalogue.flags:
        return catalogue.flags["--optimization-level"], name[2:] or None
    shorts = [short for short in catalogue.by_name if not short.startswith("--") and name.startswith(short)]
    longest = max(shorts, key=len, default=None)
    if longest is None or not re.fullmatch(r"\d+", name.removeprefix(longest)):
        return None, None
    return catalogue.by_name[longest], name.removeprefix(longest)


def _is_flag(word: str) -> bool:
    return bool(ANY_FLAG.match(word)) and not NUMBER.fullmatch(word)


def _values_after(words: Sequence[str], place: int) -> list[str]:
    found = []
    for word in words[place:]:
        if _is_flag(word):
            break
        found.append(word)
    return found


def example(flag: Flag) -> tuple[str, ...]:
    """What may be written after a flag."""
    if flag.choices or flag.names:
        return tuple(str(choice) for choice in (flag.choices or flag.names))
    return (str(flag.default),) if flag.default not in (None, "") else ()
