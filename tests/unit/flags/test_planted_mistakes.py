"""Planted mistakes in engine arguments: each is refused where an environment is read, and nothing else is.

`pulumi preview` and `python -m stacks validate` read the environment before anything else; tests/engine times a real
preview. Not proven here: that the engine would refuse each of them. tests/contract asks the engine's own parser;
what that lets pass (rules between flags, the GPU) has its source in planner/flags/rules and surroundings.py.
"""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from stacks.config import load_environment
from stacks.errors import ConfigError, FieldError
from tests.unit.stacks.config_samples import sample

pytestmark = pytest.mark.unit

PLANTED: list[dict[str, Any]] = tomllib.loads((Path(__file__).parent / "planted.toml").read_text(encoding="utf-8"))[
    "planted"
]
MODEL = "model_deployments__0__"


def environment(planted: dict[str, Any]) -> dict[str, Any]:
    """The sample environment with one mistake."""
    changes = {f"{MODEL}engine__{name}": value for name, value in planted.get("engine", {}).items()}
    changes[f"{MODEL}engine__extra_args"] = planted["args"]
    if "router_policy" in planted:
        changes[f"{MODEL}router_policy"] = planted["router_policy"]
    if "gpu" in planted:
        changes["node_pools__0__instance_type"] = planted["gpu"]
    return sample(**changes)


def found(planted: dict[str, Any]) -> tuple[FieldError, ...]:
    with pytest.raises(ConfigError) as caught:
        load_environment(environment(planted), "dev")
    return caught.value.errors


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: " ".join(planted["args"]))
def test_a_planted_mistake_is_named(planted: dict[str, Any]) -> None:
    flag = planted.get("flag") or next(iter(planted["args"]))
    errors = found(planted)
    assert len(errors) == 1, [error.line() for error in errors]
    line = errors[0].line()
    assert line.startswith(f"model_deployments[0].engine.extra_args.{flag}: ")
    assert planted.get("says", "") in line
    proposed = [*errors[0].choices[:1], errors[0].message, errors[0].fix]
    assert any(planted["nearest"] in text for text in proposed), line


def test_the_message_has_the_value() -> None:
    """Except that of flags which may hold a secret, and of those that the platform has no use for whatever they say."""
    without = {"ssl-certfile", "prefill-context-parallel-size"}
    for planted in PLANTED:
        (error, *_) = found(planted)
        flag = error.path.rpartition("extra_args.")[2]
        if flag not in without:
            assert "(got " in error.line(), error.line()


def test_all_of_them_take_less_than_five_seconds() -> None:
    started = time.perf_counter()
    for planted in PLANTED:
        found(planted)
    assert len(PLANTED) >= 70
    assert time.perf_counter() - started < 5
