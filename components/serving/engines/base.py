"""What the platform needs to know of an engine, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from components.serving.base import EngineArgs, FlagValue

HEALTH: Final = "/health"
"""What the router asks a worker for before it uses it (vllm-router 0.1.17: this path and no other). An engine that has
no such path gets a front that has (`health_front.py`)."""

POD_PORT: Final = 8000
"""Of every engine's pod, whatever runs in it."""

FILES_FOLDER: Final = "/etc/engine"
"""Where an engine finds the files that the platform writes for it."""


class EngineProgram(Protocol):
    """One engine with its settings.

    All listen on the pod's port, answer the OpenAI API below /v1, and finish what is in flight after SIGTERM, or are
    ended when the grace period is over; a property says what is particular.

    Attributes:
        image: with its version.
        command: instead of the image's entry point; empty: that.
        health_path: GET answers 200 when the model answers.
        metrics_path: Prometheus' text format, on the same port; "": it has none.
        has_python: the image has a python3 that a probe can run.
    """

    def __init__(self, args: EngineArgs) -> None:
        """With its settings."""
        ...

    @property
    def image(self) -> str:
        """With its version."""
        ...

    @property
    def command(self) -> tuple[str, ...]:
        """Instead of the image's entry point; empty: that."""
        ...

    @property
    def health_path(self) -> str:
        """GET answers 200 when the model answers."""
        ...

    @property
    def metrics_path(self) -> str:
        """Prometheus' text format, on the port of the API; "": there is none."""
        ...

    @property
    def has_python(self) -> bool:
        """Whether the image has a python3 that a probe can run."""
        ...

    def arguments(self, served_name: str, address: str, port: int, drain_seconds: int) -> list[str]:
        """Its command line.

        Args:
            served_name: what clients send as `model`.
            address: to listen on.
            port: to listen on.
            drain_seconds: what requests in flight get after SIGTERM.
        """
        ...

    def variables(self) -> Mapping[str, str]:
        """Its environment, beside what all pods get."""
        ...

    def files(self, served_name: str) -> Mapping[str, str]:
        """Files that it reads, by their path below `FILES_FOLDER`."""
        ...

    def waiting_query(self, namespace: str, model: str, pods: str) -> str:
        """PromQL: requests that wait in all its pods, as exactly one series, which is there at zero pods too.

        Args:
            namespace: of the environment.
            model: name of the model deployment.
            pods: regular expression of the pods' names.
        """
        ...


def flag(name: str, value: str | int | float | bool) -> str:
    """A flag as one word: ``--name=value``, ``--name`` or ``--no-name``."""
    dashed = name.replace("_", "-")
    match value:
        case True:
            return f"--{dashed}"
        case False:
            return f"--no-{dashed}"
        case _:
            # Kubernetes expands $(NAME) in arguments; a user's text means itself.
            return f"--{dashed}={value}".replace("$(", "$$(")


def flags(values: Mapping[str, FlagValue]) -> list[str]:
    """Flags as words of the command line, by name: one word each, several for a list, which ends at the next flag."""
    words: list[str] = []
    for name, value in sorted(values.items()):
        if isinstance(value, tuple):
            words += [f"--{name.replace('_', '-')}", *(str(item).replace("$(", "$$(") for item in value)]
        else:
            words.append(flag(name, value))
    return words


def one_series(selector: str) -> str:
    """The sum over all pods, zero where there are none: KEDA takes exactly one series."""
    return f"sum({selector}) or vector(0)"
