"""What is known of a container: the part of a pod's record that outlives the agent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

EXIT_UNKNOWN = 137
EXIT_START_ERROR = 128


def now() -> datetime:
    """The time of day, to the second: what Kubernetes writes into a status."""
    return datetime.now(UTC).replace(microsecond=0)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Waiting(_Frozen):
    """Not started, or between two starts."""

    kind: Literal["waiting"] = "waiting"
    reason: str
    message: str | None = None


class Running(_Frozen):
    """A process of this identity was started."""

    kind: Literal["running"] = "running"
    started_at: datetime
    pid: int
    start_ticks: int


class Terminated(_Frozen):
    """The process ended. Exit codes as a shell gives them: 128 + n for signal n."""

    kind: Literal["terminated"] = "terminated"
    exit_code: int
    reason: str
    message: str | None = None
    container_id: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


State = Annotated[Waiting | Running | Terminated, Field(discriminator="kind")]


class ContainerRecord(_Frozen):
    """One container of a pod.

    Attributes:
        state: what it is now.
        last_terminated: how the start before the current one ended.
        restart_count: starts after the first.
        container_id: identity of the current start, ``process://<hex>``; empty before the first.
        started: the startup probe has succeeded, or there is none and the process runs.
        ready: it may be sent requests.
    """

    state: State
    last_terminated: Terminated | None = None
    restart_count: int = 0
    container_id: str = ""
    started: bool = False
    ready: bool = False

    @property
    def succeeded(self) -> bool:
        """It ended with exit code 0."""
        return isinstance(self.state, Terminated) and self.state.exit_code == 0


def terminated_from_exit(running: Running, container_id: str, exit_code: int | None) -> Terminated:
    """How a process ended.

    Args:
        running: the state that ends now.
        container_id: of the start that ends.
        exit_code: None where nobody could ask the kernel: the process was started by an
            agent that is gone. The kubelet then reports 137 and ContainerStatusUnknown; so do we.
    """
    reason, message = ("Completed", None) if exit_code == 0 else ("Error", None)
    if exit_code is None:
        reason = "ContainerStatusUnknown"
        message = "The process was started by an earlier node agent, so its exit code is not known"
    return Terminated(
        exit_code=EXIT_UNKNOWN if exit_code is None else exit_code,
        reason=reason,
        message=message,
        container_id=container_id,
        started_at=running.started_at,
        finished_at=now(),
    )
