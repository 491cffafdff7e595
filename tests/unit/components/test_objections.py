"""What a cloud cannot do is said with what to do instead: read from the sources of all clouds' rules.

Does not prove that a fix helps; the tests of each cloud's rules have the sentences.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

CLOUDS = Path(__file__).parents[3] / "components" / "clouds"
RULES = sorted(CLOUDS.glob("*/rules.py"))


def objections(file: Path) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Objection"]


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.parent.name)
def test_every_objection_has_choices_or_a_fix(file: Path) -> None:
    without = [call.lineno for call in objections(file) if not {"choices", "fix"} & {key.arg for key in call.keywords}]
    assert without == []


def test_there_are_rules_to_be_read() -> None:
    assert {file.parent.name for file in RULES} >= {"aws", "azure", "existing", "gcp"}
    assert all(objections(file) for file in RULES if file.parent.name != "local")
