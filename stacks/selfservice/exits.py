"""Exit codes of the commands, and the errors that carry them. docs/self-service.md lists them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a command ended with."""

    DONE = 0
    WRONG_INPUT = 1
    REFUSED = 2
    POLICY = 3
    ENGINE = 4
    BUSY = 5
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot do what it was asked to; the message says why and what to do.

    Attributes:
        code: exit code.
    """

    def __init__(self, message: str, code: Exit = Exit.WRONG_INPUT) -> None:
        super().__init__(message)
        self.code = code
