"""Command line of the embedded cluster."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from local import cluster
from local.layout import ClusterFiles, tool

app = typer.Typer(
    help="The embedded cluster: a real Kubernetes control plane, without containers, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True, highlight=False)
Name = Annotated[str, typer.Option("--name", help="Name of the cluster: the stack that runs on it.")]


def fail(error: Exception) -> typer.Exit:
    """One clear message, and status 1."""
    # What went wrong may have brackets of its own, e.g. an option or a traceback.
    console.print(f"[red]local cluster:[/red] {escape(str(error))}", soft_wrap=True)
    return typer.Exit(1)


class Progress:
    """One line per process as it gets ready."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, report: dict[str, Any]) -> None:
        """Print what is new in a status report."""
        for name, state in report["processes"].items():
            if state["phase"] == "ready" and name not in self.seen:
                self.seen.add(name)
                console.print(f"  {name:<28} ready at {state['ready_after_s']:5.1f} s")


@app.command()
def up(
    name: Name = "dev",
    gateway_port: Annotated[int, typer.Option(help="Port on 127.0.0.1 for the gateway.")] = 8080,
) -> None:
    """Start the cluster, or repair it, and wait until it is ready."""
    files = ClusterFiles.named(name)
    try:
        seconds = cluster.up(files, gateway_port, Progress())
    except cluster.ClusterError as error:
        raise fail(error) from None
    except KeyboardInterrupt:
        console.print("\ninterrupted; `make down` stops what was started")
        raise typer.Exit(130) from None
    console.print(f"cluster ready in {seconds:.1f} s" if seconds else "cluster already running")


@app.command()
def down(name: Name = "dev") -> None:
    """Stop the cluster: no process, namespace or mount is left; its stored objects are deleted."""
    try:
        cluster.down(ClusterFiles.named(name))
    except cluster.ClusterError as error:
        raise fail(error) from None


@app.command()
def status(name: Name = "dev", as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Show the processes of the cluster; status 1 if it is not ready."""
    files = ClusterFiles.named(name)
    report = cluster.status(files) | {"guard_pid": cluster.guard_pid(files)}
    if as_json:
        print(json.dumps(report))
    else:
        print_status(report)
    if not report["ready"]:
        raise typer.Exit(1)


def print_status(report: dict[str, Any]) -> None:
    """A table of the processes."""
    table = Table("process", "state", "pid in namespace", "restarts", "ready after", "last exit", box=None)
    for process, state in report["processes"].items():
        color = "green" if state["phase"] == "ready" else "yellow"
        table.add_row(
            process,
            f"[{color}]{state['phase']}[/{color}]",
            str(state["pid"] or "-"),
            str(state["restarts"]),
            f"{state['ready_after_s']:.1f} s",
            state["last_exit"],
        )
    output = Console(highlight=False)
    if report["processes"]:
        output.print(table)
    else:
        output.print("no cluster is running: `make up` starts one")
    if report["error"]:
        output.print(report["error"], style="red", markup=False)
    if report["processes"] and report["guard_pid"] is None:
        output.print("[yellow]the guard is gone; the cluster runs on without it, `make up` repairs it[/yellow]")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def kubectl(context: typer.Context, name: Name = "dev") -> None:
    """Run kubectl against the cluster, e.g. `python -m local kubectl get pods -A`."""
    kubeconfig = ClusterFiles.named(name).kubeconfig
    os.execv(tool("kubectl"), ["kubectl", f"--kubeconfig={kubeconfig}", *context.args])  # noqa: S606 - becomes kubectl


def main() -> None:
    """Entry point that keeps tracebacks from users."""
    try:
        app(prog_name="python -m local")
    except FileNotFoundError as error:
        sys.exit(fail(error).exit_code)
