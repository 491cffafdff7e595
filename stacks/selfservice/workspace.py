"""Where ordered environments are kept: a folder with one folder per environment, and the engine's state.

<workspace>/
  .state/            the engine's backend, unless another is named
  .slots/            how many operations may run at once
  <environment>/
    order.yaml       what the team wrote
    record.json      when it was made, until when it lives, whether it is paused
    lock             held while an operation runs; says which
    work/            Pulumi.yaml and Pulumi.<environment>.yaml, written before each run
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

import yaml

from stacks.selfservice.exits import CommandError, Exit
from stacks.selfservice.orders import Order, read_order

Say = Callable[[str], None]
POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of an environment besides its order; times are ISO 8601 in UTC.

    Attributes:
        created: when it was ordered.
        expires: when it is paused by `reap`; "" if never.
        grace_hours: from being paused to being destroyed.
        dollars_per_hour: what it may cost, as its team's budget counts it.
        policies: level of the policies.
        paused: when it was paused; "" if it is not.
        paused_by: `team` or `reap`.
        ready: when it last came up; "" before the first time.
    """

    created: str
    expires: str = ""
    grace_hours: float = 24
    dollars_per_hour: float = 0
    policies: str = "dev"
    paused: str = ""
    paused_by: str = ""
    ready: str = ""

    def expired(self, moment: datetime | None = None) -> bool:
        """Whether its life is over, now or at another moment."""
        return bool(self.expires) and datetime.fromisoformat(self.expires) <= (moment or now())

    def overdue(self, moment: datetime) -> bool:
        """Whether its grace is over too: it counts from the end of its life, and from its pause if that was later."""
        if not self.expired(moment) or not self.paused:
            return False
        since = max(datetime.fromisoformat(self.paused), datetime.fromisoformat(self.expires))
        return since + timedelta(hours=self.grace_hours) <= moment


@dataclass(frozen=True)
class Environment:
    """One environment's folder."""

    workspace: Workspace
    name: str

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self.workspace.root / self.name

    @property
    def work(self) -> Path:
        """Where the engine is run."""
        return self.folder / "work"

    @property
    def order(self) -> Order:
        """What was ordered."""
        return read_order(self.folder / "order.yaml")

    @property
    def record(self) -> Record:
        """What is known of it."""
        try:
            data = json.loads((self.folder / "record.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CommandError(f"{self.folder / 'record.json'}: {error}") from None
        known = {item.name for item in fields(Record)}
        return Record(**{name: value for name, value in data.items() if name in known})

    def write(self, order: Order | None = None, record: Record | None = None) -> None:
        """Write what is given, so that a crash leaves the old or the new."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if order is not None:
            replace_file(
                self.folder / "order.yaml", yaml.safe_dump(order.model_dump(exclude_defaults=True), sort_keys=False)
            )
        if record is not None:
            replace_file(self.folder / "record.json", json.dumps(asdict(record), indent=2) + "\n")

    def change(self, **values: str | float) -> Record:
        """Change fields of the record."""
        record = replace(self.record, **values)  # type: ignore[arg-type]
        self.write(record=record)
        return record

    @contextlib.contextmanager
    def alone(self, operation: str, say: Say, *, wait: bool = True) -> Iterator[None]:
        """Hold the environment for one operation; others on it wait their turn.

        Args:
            operation: what this one is called.
            say: told once if there is something to wait for.
            wait: False: do not.

        Raises:
            CommandError: it is busy and ``wait`` is False.
        """
        path = self.folder / "lock"
        if not self.folder.is_dir():
            raise CommandError(f"{self.name} was destroyed meanwhile")
        with path.open("a+") as lock:
            _wait_for(lambda: _held(lock), lambda: self._busy(path), say, wait=wait)
            if not path.exists() or not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                raise CommandError(f"{self.name} was destroyed meanwhile")
            lock.seek(0)
            lock.truncate()
            since = datetime.now(UTC).isoformat(timespec="seconds")
            json.dump({"operation": operation, "process": os.getpid(), "since": since}, lock)
            lock.flush()
            try:
                yield
            finally:
                lock.seek(0)
                lock.truncate()

    def _busy(self, path: Path) -> str:
        try:
            holder = json.loads(path.read_text(encoding="utf-8"))
            who = f"`{holder['operation']}` of process {holder['process']}, since {holder['since']}"
        except (OSError, ValueError, KeyError):
            who = "another operation"
        return f"{self.name} is busy with {who}"


@dataclass(frozen=True)
class Workspace:
    """The folder of all environments.

    Attributes:
        root: its path.
        own_state: keep the engine's state here, whatever backend is named elsewhere.
    """

    root: Path
    own_state: bool = False

    @classmethod
    def find(cls, folder: Path | None) -> Workspace:
        """The folder that is named, by the option or by INFERENCE_PLATFORM_WORKSPACE; else one in the user's own."""
        named = folder or os.environ.get("INFERENCE_PLATFORM_WORKSPACE")
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        return cls(Path(named).expanduser().absolute() if named else data / "inference-platform" / "environments")

    @property
    def backend(self) -> str:
        """URL of the engine's state."""
        # Without metadata files: one that a killed engine has left empty makes the state beside it unreadable.
        named = "" if self.own_state else os.environ.get("INFERENCE_PLATFORM_BACKEND", "")
        return named or f"{(self.root / '.state').as_uri()}?metadata=skip"

    @property
    def state_folder(self) -> Path | None:
        """Where a file backend keeps its state; None with another backend."""
        parts = urlsplit(self.backend)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    def environments(self) -> list[Environment]:
        """All of them, by name."""
        return [Environment(self, path.parent.name) for path in sorted(self.root.glob("*/order.yaml"))]

    def environment(self, name: str) -> Environment:
        """One that exists.

        Raises:
            CommandError: there is none of this name.
        """
        if not (self.root / name / "order.yaml").is_file():
            names = ", ".join(item.name for item in self.environments()) or "none"
            raise CommandError(f"there is no environment {name!r} in {self.root}; there are: {names}")
        return Environment(self, name)

    @contextlib.contextmanager
    def ordering(self) -> Iterator[None]:
        """Keep two orders from spending the same budget."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.root / ".orders.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def slot(self, say: Say) -> Iterator[None]:
        """One of as many operations as run at once: INFERENCE_PLATFORM_PARALLEL, by default one per CPU, at least 2."""
        count = int(os.environ.get("INFERENCE_PLATFORM_PARALLEL") or max(2, os.cpu_count() or 1))
        folder = self.root / ".slots"
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context((folder / str(index)).open("w")) for index in range(count)]
            _wait_for(
                lambda: any(_held(file) for file in files), lambda: f"{count} operations are running already", say
            )
            yield


def _held(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(taken: Callable[[], bool], busy: Callable[[], str], say: Say, *, wait: bool = True) -> None:
    if taken():
        return
    if not wait:
        raise CommandError(f"{busy()}: try again later, or leave --no-wait out to queue", Exit.BUSY)
    say(f"{busy()}: waiting")
    while not taken():
        time.sleep(POLL_SECONDS)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, finds the old or the new."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def now() -> datetime:
    """The time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
