"""`python -m stacks list|preview|up|...`: environments that teams have ordered."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stacks.cli_options import (
    AsJson,
    CatalogFolder,
    Name,
    NoWait,
    Policies,
    WorkspaceFolder,
    Yes,
    complete_teams,
    messages,
    refuse,
    show,
    work_of,
)

if TYPE_CHECKING:
    from stacks.selfservice.workspace import Environment


def register(app: typer.Typer) -> None:
    """Add the commands."""
    panels = {
        "Before anything is touched": (preview,),
        "Run": (up, pause, resume, destroy, reap),
        "Look": (list_, outputs, history, export),
    }
    for panel, commands in panels.items():
        for command in commands:
            app.command(name=command.__name__.rstrip("_"), rich_help_panel=panel)(command)


def list_(
    team: Annotated[str | None, typer.Option("--team", help="Of one team only.", autocompletion=complete_teams)] = None,
    workspace: WorkspaceFolder = None,
    as_json: AsJson = False,
) -> None:
    """List environments: whose they are, what they may cost, until when they live."""
    from stacks.environment_tables import print_environments
    from stacks.selfservice.workspace import Workspace

    with messages():
        rows = [_row(item) for item in Workspace.find(workspace).environments()]
        rows = [row for row in rows if team in {None, row["team"]}]
        show(rows, as_json, print_environments)


def _row(environment: Environment) -> dict[str, Any]:
    order, record = environment.order, environment.record
    state = "paused" if record.paused else "expired" if record.expired() else "up" if record.ready else "ordered"
    return {
        "environment": order.name,
        "team": order.team,
        "template": order.template,
        "models": [item.name for item in order.models],
        "state": state,
        "dollars_per_hour": round(record.dollars_per_hour, 2),
        "expires": record.expires,
    }


def preview(  # noqa: PLR0917 - options of a command line
    name: Name,
    policies: Policies = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Show what a deployment would change and what the policies say; status 3 if a mandatory one objects."""
    from stacks.environment_tables import print_changes

    with messages():
        work = work_of(workspace, catalog, as_json=as_json, wait=not no_wait)
        show(work.preview(work.workspace.environment(name), policies), as_json, print_changes)


def up(  # noqa: PLR0917 - options of a command line
    name: Name,
    policies: Policies = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Deploy an environment, or bring it up to date. What a killed run left is cleared first."""
    from stacks.environment_tables import print_changes

    with messages():
        work = work_of(workspace, catalog, as_json=as_json, wait=not no_wait)
        show(work.up(work.workspace.environment(name), policies), as_json, print_changes)


def outputs(
    name: Name,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print secrets in plain text.")] = False,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Print the outputs of the last deployment; secrets are left out."""
    from stacks.environment_tables import print_outputs

    with messages():
        work = work_of(workspace, catalog, as_json=as_json)
        found = work.outputs(work.workspace.environment(name), secrets=show_secrets)
        show(found, as_json, print_outputs)


def pause(
    name: Name,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Take all models to zero and keep them there; nothing is deleted."""
    from stacks.environment_tables import print_changes

    with messages():
        work = work_of(workspace, catalog, as_json=as_json, wait=not no_wait)
        show(work.pause(work.workspace.environment(name)), as_json, print_changes)


def resume(  # noqa: PLR0917 - options of a command line
    name: Name,
    ttl: Annotated[str | None, typer.Option(help="Life from now on: 12h, 5d, 2w.")] = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Let the models of a paused environment scale again."""
    from stacks.environment_tables import print_changes
    from stacks.selfservice.orders import hours

    with messages():
        work = work_of(workspace, catalog, as_json=as_json, wait=not no_wait)
        environment = work.workspace.environment(name)
        allowed = work.catalog.template(environment.order.template).ttl_hours
        if ttl is not None and (not ttl[:-1].isdecimal() or ttl[-1:] not in "hdw" or hours(ttl) > allowed):
            refuse(f"--ttl {ttl!r}: give a time like 12h, 5d or 2w, of at most {allowed:g} hours")
        show(work.resume(environment, hours(ttl) if ttl else None), as_json, print_changes)


def destroy(  # noqa: PLR0917 - options of a command line
    name: Name,
    yes: Yes = False,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Remove an environment and its order."""
    from stacks.environment_tables import print_changes

    with messages():
        work = work_of(workspace, catalog, as_json=as_json, wait=not no_wait)
        environment = work.workspace.environment(name)
        if not yes and (as_json or not typer.confirm(f"Destroy {name} of team {environment.order.team}?")):
            refuse("nothing is destroyed: --yes answers the question")
        show(work.destroy(environment), as_json, print_changes)


def history(
    name: Name, workspace: WorkspaceFolder = None, catalog: CatalogFolder = None, as_json: AsJson = False
) -> None:
    """List the runs of an environment, the latest first."""
    from stacks.environment_tables import print_history

    with messages():
        work = work_of(workspace, catalog, as_json=as_json)
        show(work.history(work.workspace.environment(name)), as_json, print_history)


def export(  # noqa: PLR0917 - options of a command line
    name: Name,
    folder: Annotated[Path, typer.Option("--to", help="Folder to write into.")],
    flavour: Annotated[
        str, typer.Option("--for", help="plain, argocd or flux.", autocompletion=lambda: ["plain", "argocd", "flux"])
    ] = "plain",
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write an environment as manifests, for kubectl, ArgoCD or Flux to apply instead of the engine."""
    from stacks.selfservice import export as exporting

    with messages():
        if flavour not in {"plain", "argocd", "flux"}:
            refuse(f"--for {flavour!r}: choose from plain, argocd, flux")
        work = work_of(workspace, catalog, as_json=as_json)
        states = work.states(work.workspace.environment(name))
        files = exporting.manifests(states, flavour)
        exporting.write(folder, files, list(exporting.helm_repositories(states)) if flavour == "flux" else [])
        result = {"environment": name, "folder": str(folder), "files": [file.name for file in files]}
        show(result, as_json, lambda row: print(f"{len(row['files'])} manifests are in {row['folder']}"))


def reap(
    at: Annotated[str | None, typer.Option(help="As if it were then, ISO 8601; default: now.")] = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Pause what has expired, destroy what has been paused for longer than its grace. For a cron job."""
    with messages():
        work = work_of(workspace, catalog, as_json=as_json)
        results = []
        for result in work.reap(_moment(at)):
            results.append(result)
            if not as_json:
                print(f"{result['environment']}: {result['action']} {result.get('error', '')}".rstrip())
        if as_json:
            print(json.dumps(results, indent=2))
        failed = [result for result in results if result["action"] == "failed"]
        if failed:
            raise typer.Exit(failed[0]["code"])


def _moment(text: str | None) -> datetime | None:
    from datetime import UTC

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"--at {text!r} is not a time like 2030-01-31T12:00")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
