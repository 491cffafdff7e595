"""What the supervisor knows of a process that it runs."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Process:
    """One supervised process.

    Attributes:
        name: shown to the user, and the name of its log.
        command: program and arguments.
        environment: added to the supervisor's own small environment.
        needs: names of processes, or ``objects`` (the cluster's base objects), that
            must be ready before this one starts.
        ready: URL that answers below 400, or ``tcp://host:port`` that accepts, when
            the process is ready; "" when running is enough.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    ready: str = ""
