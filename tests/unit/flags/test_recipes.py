"""No false alarm: command lines of public recipes, which vLLM's own parser takes, are not refused.

Not proven here: that the engine starts with them; that takes the GPUs of the recipes.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from components.versions import VLLM_ENGINE
from planner.flags.check import check_engine_arguments

pytestmark = pytest.mark.unit

RECIPES: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "recipes.toml").read_text(encoding="utf-8"))[
    "recipe"
]
VERSION = VLLM_ENGINE.rpartition(":")[2]

ON_PURPOSE = {
    # A method of a plug-in for other accelerators, which the engine's image does not have.
    "models/Qwen/Qwen3.8-27B.yaml": ["--quantization"],
}
"""Recipes with a flag that the parser takes and this check refuses, and the flag."""


def test_there_are_fifty_of_fifty_recipes() -> None:
    assert len({recipe["source"] for recipe in RECIPES} - set(ON_PURPOSE)) >= 50


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe["source"])
def test_a_recipe_is_not_refused(recipe: dict[str, Any]) -> None:
    errors = check_engine_arguments("vllm", VERSION, recipe["words"])
    assert [error.flag for error in errors] == ON_PURPOSE.get(recipe["source"], []), [item.line() for item in errors]


def test_an_abbreviation_in_a_recipe_is_refused_on_purpose() -> None:
    """`Qwen/Qwen3-VL.md` has it; argparse takes it until another flag begins like it."""
    (error,) = check_engine_arguments("vllm", VERSION, ["Qwen/Qwen3-VL-235B-A22B-Instruct", "--tensor-parallel", "4"])
    assert (error.flag, error.choices) == ("--tensor-parallel", ("--tensor-parallel-size",))


def test_what_recipes_of_older_versions_write_is_refused() -> None:
    """As vLLM 0.32.0's own parser does; the commands are those of the same recipes."""
    old = {
        "Ernie/Ernie4.5-VL.md": ["baidu/ERNIE-4.5-VL-28B-A3B-PT", "--trust-remote-code", "--disable-log-requests"],
        "Qwen/Qwen3.md": ["Qwen/Qwen3-235B-A22B-FP8", "--swap-space", "16"],
        "models/Qwen/Qwen2.5-VL-7B-Instruct.yaml": [
            "Qwen/Qwen2.5-VL-7B-Instruct",
            "--guided-decoding-backend=xgrammar",
        ],
        "MiniMax/MiniMax-M2.md": [
            "MiniMaxAI/MiniMax-M2",
            "--compilation-config",
            '{"pass_config": {"fuse_minimax_qk_norm": true}}',
        ],
    }
    assert {
        source: len(check_engine_arguments("vllm", VERSION, words)) for source, words in old.items()
    } == dict.fromkeys(old, 1)
