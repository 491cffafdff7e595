"""Fixtures of the node agent's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.node_agent.leftovers import kill_unattended
from tests.unit.node_agent.node_doubles import FakeApi, new_state


@pytest.fixture
def api() -> FakeApi:
    """An API server in memory with one of KWOK's nodes."""
    fake = FakeApi()
    fake.add_node()
    return fake


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory; processes that a failed test leaves behind are ended."""
    directory = new_state(tmp_path)
    yield directory
    kill_unattended(f"{directory}#", set())
