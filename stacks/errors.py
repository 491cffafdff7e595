"""Errors that a user reads: what field, what value, what would be right, what to do."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stacks.plain_secrets import must_not_be_shown

MOST_CHOICES_SHOWN = 9
LONGEST_VALUE = 120
HIDDEN = "a value that may be a secret and is not shown"


class _Missing:
    """Marks a field that is not there, so that None stays a value."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Final = _Missing()

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = 4
_SHORT.maxlevel = 2


def short(value: object) -> str:
    """A value in one line of at most 120 characters, whatever it is."""
    try:
        text = _SHORT.repr(str(value) if type(value) is not str and isinstance(value, str) else value)
    except ValueError:
        # Python refuses to print integers of more than 4,300 digits.
        return "a number of thousands of digits"
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_VALUE else f"{line[: LONGEST_VALUE - 4]} ..."


def nearest(word: object, choices: Iterable[str]) -> str | None:
    """The choice that looks most like the word, None if none does."""
    if not isinstance(word, str):
        return None
    folded = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with the configuration.

    Attributes:
        path: where, e.g. `model_deployments[1].scaling.max_replicas`.
        value: what stands there; MISSING if nothing does.
        message: what is wrong with it, and why it matters where that is not plain.
        choices: what could stand there instead, the likeliest first; empty if there is no list.
        fix: what to do.
    """

    path: str
    value: object
    message: str
    choices: tuple[str, ...] = ()
    fix: str = ""

    @property
    def hidden(self) -> bool:
        """Whether the value may be a secret: it is then in no message, file or log."""
        return self.value is not MISSING and must_not_be_shown(self.path, self.value)

    def line(self) -> str:
        """The error in one line."""
        got = "" if self.value is MISSING else f" (got {HIDDEN if self.hidden else short(self.value)})"
        text = f"{self.path}: {self.message}{got}"
        if self.choices:
            shown = ", ".join(self.choices[:MOST_CHOICES_SHOWN])
            more = len(self.choices) - MOST_CHOICES_SHOWN
            text += f"; choose from {shown}" + (f" and {more} more" if more > 0 else "")
        return f"{text}. {self.fix}".rstrip() if self.fix else f"{text}."

    def to_json(self) -> dict[str, Any]:
        """The error as a JSON object; values that are not plain scalars become short text."""
        return {
            "path": self.path,
            "value": self._plain_value(),
            "message": self.message,
            "choices": list(self.choices),
            "fix": self.fix,
        }

    def _plain_value(self) -> object:
        if self.value is MISSING or self.hidden:
            return None
        plain = self.value is None or isinstance(self.value, (str, bool))
        return self.value if plain else short(self.value)


class ConfigError(Exception):
    """The configuration cannot be used; carries every error that was found.

    Attributes:
        errors: at least one.
        origin: what was read (a file name, or the stack's name).
    """

    def __init__(self, errors: Sequence[FieldError], origin: str) -> None:
        self.errors = tuple(errors)
        self.origin = origin
        super().__init__(self.text())

    def text(self) -> str:
        """All errors, a line each, under a heading."""
        count = "1 error" if len(self.errors) == 1 else f"{len(self.errors)} errors"
        return "\n".join([f"{self.origin}: {count}", *(f"  {error.line()}" for error in self.errors)])


def unknown_choice(path: str, value: object, what: str, choices: Iterable[str], fix: str = "") -> FieldError:
    """The error for a word that is not in a vocabulary: the nearest word comes first."""
    words = list(choices)
    close = nearest(value, words)
    if len(words) > MOST_CHOICES_SHOWN and isinstance(value, str):
        # Only the first are shown: let them be the likely ones.
        text = value[:100].lower()
        words.sort(key=lambda word: -difflib.SequenceMatcher(None, text, word.lower()).ratio())
    if close is not None:
        words = [close, *(word for word in words if word != close)]
    hint = f"Did you mean {close}?" if close else ""
    return FieldError(path, value, what, tuple(words), " ".join(part for part in (hint, fix) if part))
