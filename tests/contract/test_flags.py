"""The real parsers of the real packages against our check, which never starts them.

vLLM's parser runs without a GPU: its platform is set to CPU. Not proven here: what an engine refuses only once it reads
the model or the GPU.
"""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from components.versions import VLLM_ENGINE, VLLM_ROUTER
from local.layout import REPOSITORY
from planner.flags.catalogue import catalogue
from planner.flags.check import check_engine_arguments
from planner.read_flags.others import read_vllm_router, vllm_router_parser
from tests.contract.conftest import Parse
from tests.rendered import all_command_lines

pytestmark = pytest.mark.contract

FOLDER = REPOSITORY / "tests" / "unit" / "flags"
VERSION = VLLM_ENGINE.rpartition(":")[2]

BEYOND_THE_PARSER = frozenset(
    {
        "is short for",
        "exclude one another",
        " needs ",
        "is less than",
        "is a name that this version does not know",
        "compute",
        "is not quantized",
        "the platform writes",
        "is not supported",
        "the router sends",
        "or more",
        "or less",
        "more than",
        "less than",
        "must be a JSON mapping",
    }
)
"""Words of the messages about what the parser lets pass and the engine, or the platform, does not: bounds are those of
the configuration classes, which are made after parsing."""


def read(name: str) -> list[dict[str, Any]]:
    (rows,) = tomllib.loads((FOLDER / name).read_text(encoding="utf-8")).values()
    found: list[dict[str, Any]] = rows
    return found


def test_vllm_takes_every_command_line_of_the_environments(vllm_parse: Parse) -> None:
    lines = [line for line in all_command_lines() if line.engine == "vllm"]
    assert vllm_parse([line.words for line in lines]) == [None] * len(lines)


def test_the_router_takes_every_command_line_of_the_environments() -> None:
    lines = [line for line in all_command_lines() if line.engine == "vllm-router"]
    for line in lines:
        vllm_router_parser().parse_args(list(line.words))
    assert lines


def test_the_catalogue_of_the_router_is_that_of_the_installed_package() -> None:
    known = catalogue("vllm-router", VLLM_ROUTER.rpartition(":")[2])
    assert set(read_vllm_router()["flags"]) == set(known.flags)


def test_vllm_takes_the_recipes(vllm_parse: Parse) -> None:
    recipes = read("recipes.toml")
    answers = vllm_parse([recipe["words"] for recipe in recipes])
    refused = {recipe["source"]: said for recipe, said in zip(recipes, answers, strict=True) if said is not None}
    assert refused == {}


def test_vllm_refuses_the_planted_mistakes_that_a_parser_can_see(vllm_parse: Parse) -> None:
    lines, messages = [], []
    for planted in read("planted.toml"):
        words = ["org/model", *_words(planted["args"])]
        errors = check_engine_arguments("vllm", VERSION, planted["args"])
        # The class of the speculative configuration is made only when the engine starts.
        later = errors and errors[0].flag == "speculative-config" and "must be JSON" not in errors[0].message
        if errors and not later and not any(text in errors[0].message for text in BEYOND_THE_PARSER):
            lines.append(words)
            messages.append(errors[0].line())
    taken = [line for line, said in zip(messages, vllm_parse(lines), strict=True) if said is None]
    assert taken == []
    assert len(lines) >= 50


def _words(args: dict[str, Any]) -> list[str]:
    """As components/serving/engine.py writes them."""
    return [
        f"--{'' if value is not False else 'no-'}{name}" + ("" if isinstance(value, bool) else f"={value}")
        for name, value in args.items()
    ]
