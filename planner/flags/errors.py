"""What is wrong with an argument, in the parts that a message is made of."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

FAR = 0.5
"""Similarity below which a word of many is not worth showing."""

MANY = 40
LIKELIEST = 9
LONGEST = 100
"""Characters of a value that are compared."""


@dataclass(frozen=True)
class FlagError:
    """One wrong argument.

    Attributes:
        flag: as it was written.
        value: as it was written; None if it has none, or if it should not be repeated.
        message: what is wrong, and why it matters where that is not plain.
        choices: what could stand there, the likeliest first; empty if there is no list.
        fix: what to do.
    """

    flag: str
    value: object
    message: str
    choices: tuple[str, ...] = ()
    fix: str = ""

    def line(self) -> str:
        """The error in one line."""
        got = "" if self.value is None else f" (got {self.value!r})"
        choose = f"; choose from {', '.join(self.choices[:9])}" if self.choices else ""
        return f"{self.flag}: {self.message}{got}{choose}. {self.fix}".rstrip()


def ordered(word: object, choices: Iterable[object]) -> tuple[str, ...]:
    """The choices, those that look most like the word first; of many only the likeliest."""
    words = {str(choice): None for choice in choices}
    if len(words) <= MANY:
        return tuple(sorted(words, key=_unlikeness(word)))
    close = difflib.get_close_matches(_folded(word), (choice.lower() for choice in words), n=LIKELIEST, cutoff=FAR)
    by_lower = {choice.lower(): choice for choice in words}
    return tuple(by_lower[choice] for choice in close) or (min(words, key=_unlikeness(word)),)


def did_you_mean(word: object, choices: Iterable[object]) -> str:
    """A sentence with the choice that looks most like the word; empty if none looks like it."""
    close = difflib.get_close_matches(
        _folded(word), by_lower := {str(choice).lower(): choice for choice in choices}, n=1
    )
    return f"Did you mean {by_lower[close[0]]}?" if close else ""


def _folded(word: object) -> str:
    return str(word)[:LONGEST].lower()


def _unlikeness(word: object) -> Callable[[str], tuple[float, str]]:
    """Sort key: numbers by distance, words by their letters, first those that begin with the word."""
    text = _folded(word)
    matcher = difflib.SequenceMatcher(None, "", text)

    def key(choice: str) -> tuple[float, str]:
        if text.isdigit() and choice.isdigit():
            return abs(int(text) - int(choice)) - LONGEST, choice
        matcher.set_seq1(choice.lower())
        return -matcher.ratio() - choice.lower().startswith(text), choice

    return key
