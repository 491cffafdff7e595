"""Where the real packages are: `VLLM_PYTHON` names the interpreter of an environment that has vLLM."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from components.versions import VLLM_ENGINE
from local.layout import REPOSITORY
from tests.unit.conftest import engine  # noqa: F401 - a fixture for these tests too

ENVIRONMENT = REPOSITORY / "build" / "contract"
"""Where `make vllm` installs it."""

Parse = Callable[[Sequence[Sequence[str]]], list[str | None]]


@pytest.fixture(scope="session")
def vllm_parse() -> Parse:
    """What vLLM's own parser says of command lines: None where it takes one."""
    python = Path(os.environ.get("VLLM_PYTHON", ENVIRONMENT / "bin" / "python"))
    if not python.exists():
        pytest.skip(f"vLLM is not installed ({python}): run `make vllm`, or name its interpreter in VLLM_PYTHON")

    def parse(lines: Sequence[Sequence[str]]) -> list[str | None]:
        done = subprocess.run(
            [str(python), "-m", "tests.contract.parse_with_vllm"],
            input=json.dumps([list(words) for words in lines]),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        said = json.loads(done.stdout.strip().splitlines()[-1])
        assert f"v{said['version']}" == VLLM_ENGINE.rpartition(":")[2], "another version than the pinned engine's"
        answers: list[str | None] = said["answers"]
        return answers

    return parse
