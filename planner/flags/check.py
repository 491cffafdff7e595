"""An engine's arguments, checked without the engine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from planner.flags.catalogue import Catalogue, Flag, canonical, catalogue, versions
from planner.flags.errors import FlagError, did_you_mean, ordered
from planner.flags.rules import check_rules, settings, successor
from planner.flags.surroundings import Surroundings, check_surroundings
from planner.flags.values import check_value
from planner.flags.words import Given, Item, Unknown, Value, from_mapping, from_words

SECRET = re.compile(r"api.?key|(hf|auth|access|bearer).?token|password|secret|credential", re.IGNORECASE)
"""Flags whose value is not repeated in a message if they are unknown."""


def check_engine_arguments(
    engine: str,
    version: str,
    arguments: Sequence[str] | Mapping[str, Value],
    around: Surroundings | None = None,
) -> list[FlagError]:
    """Everything that is wrong with the arguments of an engine or router.

    Args:
        engine: `vllm`, `sglang`, `vllm-router` or `production-stack-router`.
        version: of the program, as released or as an image tag.
        arguments: a command line without the program (and without vLLM's `serve`), or a mapping of names without
            dashes to values, where True is the flag alone and False its `--no-` form.
        around: the model, GPU and router that it runs with, to check what depends on them; None checks none of it.

    Returns:
        the errors, in the order of the arguments, then what they do to one another; empty if all is well.

    Raises:
        UnknownEngineError: there is no catalogue of the engine or version.
    """
    known = catalogue(engine, version)
    named = isinstance(arguments, Mapping)
    items = from_mapping(known, arguments) if isinstance(arguments, Mapping) else from_words(known, arguments)
    return list(_errors(known, list(items), around or Surroundings(), dashes=not named))


def _errors(known: Catalogue, items: list[Item], around: Surroundings, *, dashes: bool) -> Iterator[FlagError]:
    givens = [item for item in items if isinstance(item, Given)]
    present = frozenset(item.flag.name for item in givens)
    broken: set[str] = set()
    seen: dict[str, Given] = {}
    for item in items:
        if isinstance(item, FlagError):
            yield item
        elif isinstance(item, Unknown):
            yield unknown_flag(known, item, dashes=dashes)
        else:
            wrong = list(check_value(known, item, present)) + list(_twice(item, seen))
            broken |= {item.flag.name} if wrong else set()
            yield from wrong
    # A flag whose own value is wrong is reported once.
    found = {name: setting for name, setting in settings(givens).items() if setting.given.flag.name not in broken}
    whole = settings(givens)
    for error in check_rules(known, whole):
        if not any(item.written == error.flag and item.flag.name in broken for item in givens):
            yield error
    yield from check_surroundings(known, found, around)


def _twice(given: Given, seen: dict[str, Given]) -> Iterator[FlagError]:
    """A flag that is given two values: the last one wins in silence."""
    if given.path or given.flag.name == "--middleware":
        return
    before = seen.setdefault(given.flag.name, given)
    if before is not given and (before.values, before.on) != (given.values, given.on):
        message = f"the same flag as {before.written}" if before.written != given.written else "is given twice"
        value = given.value if given.flag.kind != "switch" else ("true" if given.on else "false")
        yield FlagError(given.written, value, message, fix="Remove one of them.")


def unknown_flag(known: Catalogue, item: Unknown, *, dashes: bool) -> FlagError:
    """The error for a name that is no flag: removed, of another version, cut short or misspelt.

    Args:
        known: the flags that there are.
        item: the name.
        dashes: the user writes names with their dashes.
    """
    bare = item.written.lstrip("-")
    name = canonical(item.written if item.written.startswith("-") else f"--{item.written}").partition(".")[0]
    value = None if SECRET.search(name) else item.value
    what = f"{known.engine} {known.version}"

    def written(flag: str) -> str:
        return flag if dashes or not flag.startswith("--") else flag.removeprefix("--")

    for gone in (name, f"--{name.removeprefix('--no-')}"):
        if gone in known.gone:
            now, say = successor(known.engine, gone)
            gone_in = f"{what} no longer has --{bare.replace('_', '-')}: it is gone since {known.gone[gone]} or before"
            return FlagError(item.written, value, gone_in, (written(now),) if now else (), say or "Leave it out.")
    later = _later(known, name)
    if later is not None:
        fix = f"Take {known.engine} {later}, or leave it out."
        return FlagError(item.written, value, f"{what} has no such flag yet: it comes with {later}", fix=fix)
    full = _abbreviated(known, name)
    if full is not None:
        message = f"is short for {full}, which holds until another flag begins like it"
        return FlagError(item.written, value, message, (written(full),), f"Write {written(full)}.")
    switch = known.by_name.get(f"--{name.removeprefix('--no-')}")
    if switch is not None and name.startswith("--no-"):
        fix = f"Leave it out{'' if switch.kind == 'switch' else ', or give ' + written(switch.name) + ' a value'}."
        return FlagError(item.written, value, f"{switch.name} has no --no- form", (written(switch.name),), fix)
    choices = tuple(written(choice) for choice in ordered(name, known.by_name))
    asked = written(name) if not dashes else name
    return FlagError(item.written, value, f"is no flag of {what}", choices, did_you_mean(asked, choices))


def _abbreviated(known: Catalogue, name: str) -> str | None:
    """Argparse takes the beginning of a flag for the flag, as long as it is the only one."""
    if not name.startswith("--"):
        return None
    found: list[Flag] = []
    for other, flag in known.by_name.items():
        if other.startswith(name) and flag not in found:
            found.append(flag)
    return found[0].name if len(found) == 1 else None


def _later(known: Catalogue, name: str) -> str | None:
    """The first later version with a catalogue that has the flag."""
    there = versions(known.engine)[known.engine]
    for version in there[there.index(known.version) + 1 :]:
        if name in catalogue(known.engine, version).by_name:
            return version
    return None
