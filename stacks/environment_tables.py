"""What commands on ordered environments show to people."""

from __future__ import annotations

import json
from typing import Any

from rich.markup import escape
from rich.table import Table

from stacks.console import console

LINE = 200
"""Longest value of an output that is shown whole."""


def print_order(row: dict[str, Any]) -> None:
    """An order that was taken."""
    print(
        f"{row['environment']} is ordered: at most ${row['dollars_per_hour']:.2f} per hour, until {row['expires']}.\n"
        f"Deploy it with: python -m stacks up {row['environment']}"
    )


def print_environments(rows: list[dict[str, Any]]) -> None:
    """Whose environments there are, and in which state."""
    table = Table("environment", "team", "template", "models", "state", "at most $/h", "expires", box=None)
    colors = {"up": "green", "paused": "yellow", "expired": "red", "ordered": "dim"}
    for row in rows:
        state = f"[{colors[row['state']]}]{row['state']}[/]"
        cells = (row["environment"], row["team"], row["template"], ", ".join(row["models"]), state)
        table.add_row(*cells, f"{row['dollars_per_hour']:.2f}", row["expires"])
    console().print(table if rows else "no environments; order one with: python -m stacks new")


def print_changes(result: dict[str, Any]) -> None:
    """What a run did or would do."""
    changes = ", ".join(f"{count} {word}" for word, count in sorted(result["changes"].items()) if count)
    print(f"{result['environment']}: {changes or 'nothing to do'}")
    if result.get("outputs", {}).get("url"):
        print(f"  {result['outputs']['url']}  models: {', '.join(result['outputs'].get('models') or [])}")


def print_outputs(found: dict[str, Any]) -> None:
    """Outputs, one line each."""
    for key, value in sorted(found.items()):
        text = "(secret)" if value is None else value if isinstance(value, str) else json.dumps(value)
        print(f"{key}: {text if len(text) < LINE else text[: LINE - 4] + ' ...'}")


def print_history(rows: list[dict[str, Any]]) -> None:
    """Runs, the latest first."""
    table = Table("version", "what", "result", "started", "changes", box=None)
    for row in rows:
        changes = ", ".join(f"{count} {word}" for word, count in sorted(row["changes"].items()))
        color = "green" if row["result"] == "succeeded" else "red"
        table.add_row(str(row["version"]), row["kind"], f"[{color}]{row['result']}[/]", row["started"], changes)
    console().print(table)


def print_catalog(rows: dict[str, Any]) -> None:
    """What may be ordered."""
    table = Table("template", "description", "models", "replicas", "at most $/h", "life", box=None)
    for name, row in rows.items():
        choices = row["choices"]
        cells = (name, escape(row["description"]), ", ".join(choices["models"]), str(choices["max_replicas"]))
        table.add_row(*cells, f"{row['dollars_per_hour']:.2f}", f"{row['ttl_hours']:g} h")
    console().print(table)
