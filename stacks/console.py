"""How commands show tables to people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

NARROWEST = 110
"""Columns to use where the output is not a terminal: files and pipes do not wrap."""


def console(narrowest: int = NARROWEST) -> Console:
    """Standard output.

    Args:
        narrowest: columns to use at least where it is not a terminal.
    """
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=max(narrowest, found.width))


def table(title: str, left: tuple[str, ...], right: tuple[str, ...], rows: list[list[str]]) -> Table:
    """A plain table.

    Args:
        title: above it.
        left: heads of the columns with texts, which come first.
        right: heads of the columns with numbers.
        rows: a cell for each column, shown as it is: square brackets are no markup.
    """
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        made.add_column(name, overflow="fold")
    for name in right:
        made.add_column(name, justify="right")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    return made
