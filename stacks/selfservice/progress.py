"""What an operation is doing, as it does it: lines for people, nothing but the result for machines."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pulumi.automation import events

MOST_SHOWN = 8
UNCHANGED = ("same", "read", "refresh")


@dataclass
class Progress:
    """Follows the engine's events; a context manager, which shows what is going on while it is open.

    Attributes:
        operation: what it is called.
        console: where people read; None: nobody does.
    """

    operation: str
    console: Console | None
    running: dict[str, tuple[str, float]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    policies: list[dict[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begun = time.monotonic()
        live = self.console is not None and self.console.is_terminal
        self._live = Live(get_renderable=self.view, console=self.console, transient=True) if live else None

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: events.EngineEvent) -> None:
        """Take note of an event."""
        if event.resource_pre_event:
            step = event.resource_pre_event.metadata
            operation = str(getattr(step.op, "value", step.op))
            if operation not in UNCHANGED and not step.type.startswith("pulumi:"):
                self.running[step.urn] = (operation, time.monotonic())
        elif event.res_outputs_event:
            self._finish(event.res_outputs_event.metadata.urn)
        elif event.res_op_failed_event:
            self._finish(event.res_op_failed_event.metadata.urn, failed=True)
        elif event.policy_event:
            self._policy(event.policy_event)
        elif event.diagnostic_event and event.diagnostic_event.severity in {"error", "warning"}:
            self._diagnostic(event.diagnostic_event)

    def _finish(self, urn: str, *, failed: bool = False) -> None:
        operation, begun = self.running.pop(urn, ("", 0.0))
        if not operation:
            return
        self.done["failed" if failed else operation] += 1
        if self.console is not None and not self._live:
            # A preview only looks: its steps take no time.
            took = "" if self.operation.startswith("preview") else f"  {time.monotonic() - begun:.1f} s"
            word = "FAILED" if failed else operation
            self.console.print(f"  {word:<8} {short(urn)}{took}", markup=False)

    def _policy(self, event: events.PolicyEvent) -> None:
        found = {
            "policy": event.policy_name,
            "level": event.enforcement_level,
            "resource": short(event.resource_urn) if event.resource_urn else "",
            "message": event.message.strip(),
        }
        # A preview that comes before a deployment has said it already.
        if found in self.policies:
            return
        self.policies.append(found)
        if self.console is not None:
            color = "red" if event.enforcement_level == "mandatory" else "yellow"
            head = Text(f"  {found['level']} {found['policy']} {found['resource']}", style=color)
            self.console.print(head, soft_wrap=True)
            self.console.print(Text("    " + found["message"].splitlines()[-1]), soft_wrap=True)

    def _diagnostic(self, event: events.DiagnosticEvent) -> None:
        message = " ".join(event.message.replace("<{%reset%}>", "").split())
        if message and message not in self.problems:
            self.problems.append(message)
            if self.console is not None:
                style = "red" if event.severity == "error" else ""
                self.console.print(Text(f"  {event.severity}: {message}", style=style), soft_wrap=True)

    def view(self) -> Table:
        """What is being worked on just now."""
        table = Table(box=None, show_header=False, padding=(0, 1))
        so_far = ", ".join(f"{count} {name}" for name, count in sorted(self.done.items())) or "starting"
        table.add_row(f"[bold]{self.operation}[/bold]", so_far, f"{time.monotonic() - self._begun:.0f} s")
        for urn, (operation, begun) in list(self.running.items())[:MOST_SHOWN]:
            table.add_row(f"  {operation}", short(urn), f"{time.monotonic() - begun:.0f} s")
        more = len(self.running) - MOST_SHOWN
        if more > 0:
            table.add_row("", f"and {more} more", "")
        return table


def short(urn: str) -> str:
    """Kind and name of a resource."""
    parts = urn.split("::")
    return f"{parts[2].rsplit(':', 1)[-1]} {parts[-1]}" if len(parts) > 3 else urn  # noqa: PLR2004 - a whole URN has four
