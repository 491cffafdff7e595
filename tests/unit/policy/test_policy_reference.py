"""The document and the levels say what the policies say."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.reference import ENVIRONMENTS, level, levels, markdown
from policy.rule import read_settings
from policy.rules import RULES

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]


def test_the_document_is_fresh() -> None:
    assert (ROOT / "docs" / "policies.md").read_text(encoding="utf-8") == markdown(), "run `make docs`"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_levels_name_policies_that_exist_and_settings_that_they_have(environment: str) -> None:
    by_name = {rule.name: rule for rule in RULES}
    for name, given in levels(environment).items():
        if name != "all" and isinstance(given, dict):
            read_settings(by_name[name], {key: value for key, value in given.items() if key != "enforcementLevel"})


def test_dev_advises_and_prod_enforces() -> None:
    assert {level(rule.name, "dev") for rule in RULES} == {"advisory"}
    assert {level(rule.name, "prod") for rule in RULES} == {"mandatory"}
