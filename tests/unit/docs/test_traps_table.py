"""The table of the chart's traps names a test for each, and every test of the traps is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "production-stack.md"
TRAPS = ROOT / "tests" / "local" / "test_chart_traps.py"
FILES = {
    "": TRAPS,
    "c": ROOT / "tests" / "local" / "test_production_stack.py",
    "u": ROOT / "tests" / "unit" / "components" / "test_production_stack.py",
}


def functions_of(file: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))


def named() -> list[tuple[str, str]]:
    """What the table names: the mark of the file, and the test."""
    table = PAGE.read_text(encoding="utf-8").partition("| the chart | here | test |")[2].partition("\n\n")[0]
    rows = [row.split(" | ")[-1] for row in table.splitlines()[2:]]
    assert all("`test_" in row for row in rows), rows
    return [(mark, name) for row in rows for mark, name in re.findall(r"(?:\b([cu]) )?`(test_\w+)`", row)]


def test_every_trap_names_a_test_that_exists() -> None:
    assert [(mark, name) for mark, name in named() if name not in functions_of(FILES[mark])] == []


def test_every_test_of_a_trap_is_in_the_table() -> None:
    assert functions_of(TRAPS) - {name for _, name in named()} == {"test_every_value_that_is_ours_says_why"}
