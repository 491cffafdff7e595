"""Fixtures of the engine tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cloud_stack import CloudStack, packages_of, sdk_missing, write_program

pytest.register_assert_rewrite("tests.engine.life")

StackFactory = Callable[..., CloudStack]


@pytest.fixture
def cloud_stack(tmp_path: Path) -> Iterator[StackFactory]:
    """Make a stack of the repository's own program over the double: `cloud_stack("aws", environment)`.

    Keyword arguments go to `CloudStack`. Skips, and says so, where the cloud's SDK is not installed.
    """
    started: list[CloudStack] = []

    def make(cloud: str, environment: dict[str, Any] | None = None, **more: Any) -> CloudStack:
        if reason := sdk_missing(cloud):
            pytest.skip(reason)
        folder = tmp_path / f"stack{len(started)}"
        folder.mkdir()
        stack = CloudStack(folder, packages_of(cloud), environment, **more)
        started.append(stack)
        return stack.start()

    yield make
    for stack in started:
        stack.stop()


@pytest.fixture
def small_program(cloud_stack: StackFactory, tmp_path: Path) -> StackFactory:
    """Make a stack of a small program given as source: `small_program("aws", source)`."""

    def make(cloud: str, source: str, **more: Any) -> CloudStack:
        return cloud_stack(cloud, program=write_program(tmp_path / "program", source), **more)

    return make
