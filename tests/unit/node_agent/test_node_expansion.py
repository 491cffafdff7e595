"""`$(NAME)`: the cases of Kubernetes' own expand_test.go, and properties.

Not proven here: where it is applied (test_node_environment, test_node_agent).
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.node_agent.expansion import expand

pytestmark = pytest.mark.unit

VARIABLES = {"VAR_A": "A", "VAR_B": "B", "VAR_C": "C", "VAR_REF": "$(VAR_A)", "VAR_EMPTY": ""}

CASES = [
    ("$(VAR_A)", "A"),
    ("$(VAR_A)-$(VAR_A)", "A-A"),
    ("$(VAR_A)-1", "A-1"),
    ("___$(VAR_B)___", "___B___"),
    ("___$(VAR_C)", "___C"),
    ("$(VAR_A)_$(VAR_B)_$(VAR_C)", "A_B_C"),
    ("$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
    ("$$(VAR_A)_$$(VAR_B)", "$(VAR_A)_$(VAR_B)"),
    ("f000-$$VAR_A", "f000-$VAR_A"),
    ("foo\\$(VAR_C)bar", "foo\\Cbar"),
    ("foo\\\\$(VAR_C)bar", "foo\\\\Cbar"),
    ("$(VAR_A$(VAR_B))", "$(VAR_A$(VAR_B))"),
    ("$(VAR_A$(VAR_B)", "$(VAR_A$(VAR_B)"),
    ("$(VAR_REF)", "$(VAR_A)"),
    ("%%$(VAR_REF)--$(VAR_REF)%%", "%%$(VAR_A)--$(VAR_A)%%"),
    ("foo$(VAR_EMPTY)bar", "foobar"),
    ("foo$(VAR_Awhoops!", "foo$(VAR_Awhoops!"),
    ("f00__(VAR_A)__", "f00__(VAR_A)__"),
    ("$?_boo_$!", "$?_boo_$!"),
    ("$VAR_A", "$VAR_A"),
    ("$(VAR_DNE)", "$(VAR_DNE)"),
    ("$$$$$$(BIG_MONEY)", "$$$(BIG_MONEY)"),
    ("$$$$$$(VAR_A)", "$$$(VAR_A)"),
    ("$$$$$$$(GOOD_ODDS)", "$$$$(GOOD_ODDS)"),
    ("$$$$$$$(VAR_A)", "$$$A"),
    ("$VAR_A)", "$VAR_A)"),
    ("${VAR_A}", "${VAR_A}"),
    ("$(VAR_B)_______$(A", "B_______$(A"),
    ("$(VAR_C)_______$(", "C_______$("),
    ("$(VAR_A)foobarzab$", "Afoobarzab$"),
    ("foo-\\$(VAR_A", "foo-\\$(VAR_A"),
    ("--$($($($($--", "--$($($($($--"),
    ("$($($($($--foo$(", "$($($($($--foo$("),
    ("foo0--$($($($(", "foo0--$($($($("),
    ("$(foo$$var)", "$(foo$$var)"),
    ("\n", "\n"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "expanded"), CASES)
def test_cases_of_kubernetes(text: str, expanded: str) -> None:
    assert expand(text, VARIABLES) == expanded


TEXTS = st.text(alphabet="$()ABx \n")
NAMES = st.dictionaries(st.text(alphabet="AB", min_size=1), st.text(alphabet="$()AB"), max_size=4)


def by_regular_expression(text: str, variables: dict[str, str]) -> str:
    """The same rules written another way."""

    def replacement(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        return match.group() if match.group(1) is None else variables.get(match.group(1), match.group())

    # Any other character is consumed with its sign: in "$x$$" the sign before x escapes nothing.
    return re.sub(r"\$\$|\$\(([^)]*)\)|\$[^$]", replacement, text)


@given(TEXTS, NAMES)
def test_agrees_with_the_rules_as_a_regular_expression(text: str, variables: dict[str, str]) -> None:
    assert expand(text, variables) == by_regular_expression(text, variables)


@given(TEXTS, NAMES)
def test_escaped_text_comes_back_unchanged(text: str, variables: dict[str, str]) -> None:
    assert expand(text.replace("$", "$$"), variables) == text


@given(st.text(alphabet="ABx()"), NAMES)
def test_text_without_the_sign_is_not_touched(text: str, variables: dict[str, str]) -> None:
    assert expand(text, variables) == text


@given(st.text(alphabet="AB", min_size=1), st.text())
def test_a_value_is_not_expanded_again(name: str, value: str) -> None:
    assert expand(f"<$({name})>", {name: value}) == f"<{value}>"
