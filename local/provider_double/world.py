"""What the double remembers: the things that exist, every call in order, and the faults to inject."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from local.provider_double.check import Failure
from local.provider_double.wire import Properties, set_at

ELSEWHERE = "urn:pulumi:elsewhere::elsewhere"
"""How the URN of something begins that no program made."""


@dataclass(frozen=True)
class Call:
    """One call of the engine that changed something, or would have.

    Attributes:
        sequence: position among all calls, from 0.
        time: when it began, seconds since the epoch.
        operation: `create`, `update`, `delete`, `read` or `invoke`.
        type: type token.
        name: logical name, the last part of the URN.
        urn: of the resource; empty for an invoke.
        id: of the resource at the cloud; empty if it was not made.
        replacement: the call is half of a replacement.
        failed: what it was refused with; empty if it succeeded.
    """

    sequence: int
    time: float
    operation: str
    type: str
    name: str
    urn: str
    id: str = ""
    replacement: bool = False
    failed: str = ""


@dataclass
class Fault:
    """What is to go wrong.

    Attributes:
        operation: `create`, `update`, `delete` or `read`.
        type: type token, or its end (`NodeGroup`).
        name: logical name; None for any.
        message: of the failure; None for a call that only takes long.
        delay_s: how long the call waits first, seconds; ended early by `World.close`.
        times: how many calls it hits.
        started: set when a call is hit, so that a test can act while it waits.
        release: ends the wait.
    """

    operation: str
    type: str
    name: str | None = None
    message: str | None = "injected fault"
    delay_s: float = 0.0
    times: int = 1
    started: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def hits(self, operation: str, type_: str, name: str) -> bool:
        """Whether it is meant for this call."""
        return (
            self.times > 0
            and self.operation == operation
            and (type_ == self.type or type_.endswith(f":{self.type}"))
            and self.name in {None, name}
        )


@dataclass
class Thing:
    """A resource that exists at the simulated cloud."""

    urn: str
    type: str
    id: str
    inputs: Properties
    outputs: Properties

    @property
    def name(self) -> str:
        """Logical name in the program."""
        return self.urn.rsplit("::", 1)[1]


class ProviderError(Exception):
    """The simulated cloud refuses a call."""


class World:
    """All state of a double; shared by its providers, safe for the engine's parallel calls.

    Args:
        log: file that gets one JSON line per call; None for no file.
    """

    def __init__(self, log: Path | None = None) -> None:
        self.calls: list[Call] = []
        self.warnings: list[tuple[str, Failure]] = []
        self.faults: list[Fault] = []
        self._things: dict[tuple[str, str], Thing] = {}
        self._lock = threading.RLock()
        self._log = log

    def things(self) -> list[Thing]:
        """Everything that exists."""
        with self._lock:
            return list(self._things.values())

    def made(self) -> list[Thing]:
        """What exists because a program made it."""
        return [thing for thing in self.things() if not thing.urn.startswith(ELSEWHERE)]

    def find(self, type_: str, name: str | None = None) -> list[Thing]:
        """Existing resources of a type (token or its end) and logical name."""
        return [
            thing
            for thing in self.things()
            if (thing.type == type_ or thing.type.endswith(f":{type_}")) and name in {None, thing.name}
        ]

    def get(self, type_: str, identifier: str) -> Thing | None:
        """The resource of a type and id; None if it does not exist."""
        return self._things.get((type_, identifier))

    def add(self, thing: Thing) -> None:
        """Make it exist.

        Raises:
            ProviderError: another one has its id.
        """
        with self._lock:
            if (thing.type, thing.id) in self._things:
                raise ProviderError(f"{thing.type} {thing.id} already exists")
            self._things[thing.type, thing.id] = thing

    def preexisting(
        self, type_: str, identifier: str, *, inputs: Properties | None = None, outputs: Properties | None = None
    ) -> None:
        """Let something exist that no program made: a network of another team, a secret that a controller wrote."""
        urn = f"{ELSEWHERE}::{type_}::{identifier}"
        self.add(Thing(urn, type_, identifier, inputs or {}, outputs or inputs or {}))

    def remove(self, type_: str, identifier: str) -> None:
        """Make it be gone; nothing happens if it is."""
        with self._lock:
            self._things.pop((type_, identifier), None)

    def drift(self, type_: str, name: str, changes: Mapping[str, object]) -> None:
        """Change properties behind Pulumi's back, as an autoscaler or a person does.

        Args:
            type_: token or its end.
            name: logical name.
            changes: from property path (`scalingConfig.desiredSize`) to the new value.

        Raises:
            LookupError: there is no such resource.
        """
        found = self.find(type_, name)
        if not found:
            raise LookupError(f"no {type_} {name}")
        for path, value in changes.items():
            set_at(found[0].inputs, path, value)
            set_at(found[0].outputs, path, value)

    def inject(self, fault: Fault) -> Fault:
        """Let something go wrong."""
        with self._lock:
            self.faults.append(fault)
        return fault

    def close(self) -> None:
        """End every wait."""
        for fault in self.faults:
            fault.release.set()

    def suffer(self, operation: str, type_: str, name: str) -> None:
        """Let the faults meant for a call happen.

        Raises:
            ProviderError: one of them is a failure.
        """
        with self._lock:
            hit = [fault for fault in self.faults if fault.hits(operation, type_, name)]
            for fault in hit:
                fault.times -= 1
        for fault in hit:
            fault.started.set()
            if fault.delay_s:
                fault.release.wait(fault.delay_s)
            if fault.message is not None:
                raise ProviderError(fault.message)

    def record(
        self, operation: str, urn: str, type_: str, identifier: str = "", *, replacement: bool = False, failed: str = ""
    ) -> None:
        """Write a call down."""
        name = urn.rsplit("::", 1)[1] if urn else ""
        with self._lock:
            call = Call(len(self.calls), time.time(), operation, type_, name, urn, identifier, replacement, failed)
            self.calls.append(call)
            if self._log:
                with self._log.open("a") as log:
                    log.write(json.dumps(asdict(call)) + "\n")

    def changes(self) -> Iterator[Call]:
        """The calls that changed something."""
        return (call for call in self.calls if call.operation in {"create", "update", "delete"} and not call.failed)
