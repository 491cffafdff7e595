"""Pulumi without an engine: mocks that record what a program registers.

What no test with these mocks can prove: parents, aliases, dependencies and whole URNs (the mock monitor does not see
them), transforms, what a provider's check or diff says, and what the Kubernetes API accepts. The engine and local
tests are there for that.
"""

from __future__ import annotations

import asyncio
import runpy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pulumi
import pytest
from hypothesis import HealthCheck, settings
from pulumi.runtime import settings as settings_of_run

settings.register_profile("any-checkout", suppress_health_check=[HealthCheck.too_slow])
# The first text that Hypothesis draws in a fresh checkout makes its table of characters: seconds, once, and no fault.
settings.load_profile("any-checkout")

Built = TypeVar("Built")


@dataclass(frozen=True)
class Registered:
    """One resource as it was registered: inputs in the API's camelCase."""

    type: str
    name: str
    inputs: dict[str, Any]

    @property
    def is_component(self) -> bool:
        return self.type.startswith("inference-platform:")


class RecordingMocks(pulumi.runtime.Mocks):
    """Answers every registration with its own inputs."""

    def __init__(self) -> None:
        self.seen: list[Registered] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        self.seen.append(Registered(args.typ, args.name, dict(args.inputs)))
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(f"no invoke is expected: {args.token}")


@dataclass
class Engine:
    """Runs a piece of a program and keeps what it registered."""

    mocks: RecordingMocks = field(default_factory=RecordingMocks)

    def run(self, build: Callable[[], Built]) -> Built:
        """Build, and wait until every registration has landed: only then can absence be asserted."""
        box: list[Built] = []

        @pulumi.runtime.test  # type: ignore[untyped-decorator]
        def program() -> None:
            box.append(build())

        program()
        return box[0]

    def run_program(self, folder: Path) -> None:
        """Run a whole program as Pulumi's language host does: its file, then the entry point that it named."""

        def program() -> None:
            runpy.run_path(str(folder), run_name="__main__")

        # The stack that the mocks made; a program is run in one of its own.
        settings_of_run.set_root_resource(None)  # type: ignore[arg-type]
        asyncio.get_event_loop().run_until_complete(pulumi.runtime.run_in_stack(program))

    @property
    def seen(self) -> list[Registered]:
        return self.mocks.seen

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """Inputs of the only resource with this end of its type and this logical name."""
        found = [item.inputs for item in self.seen if item.type.endswith(kind) and item.name == name]
        assert len(found) == 1, f"{kind} {name}: {[(item.type, item.name) for item in self.seen]}"
        return found[0]

    def children(self) -> Counter[tuple[str, str]]:
        """Type and name of everything that is no component."""
        return Counter((item.type, item.name) for item in self.seen if not item.is_component)

    def components(self) -> Counter[tuple[str, str]]:
        """Type and name of the components."""
        return Counter((item.type, item.name) for item in self.seen if item.is_component)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Fresh mocks, settings and event loop for each test; the stack is `test`."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = Engine()
    pulumi.runtime.set_mocks(made.mocks, project="inference-platform", stack="test", preview=False)
    yield made
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(autouse=True)
def hermetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """No access to a cluster that happens to run on this machine."""
    for name in ("INFERENCE_PLATFORM_KUBECONFIG", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
