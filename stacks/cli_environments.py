"""`python -m stacks new|list|preview|up|...`: environments that teams order themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stacks.selfservice.operations import Work
    from stacks.selfservice.orders import Order
    from stacks.selfservice.workspace import Environment


def complete_names() -> list[str]:
    """Names of environments, for the shell."""
    from stacks.selfservice.workspace import Workspace

    return [item.name for item in Workspace.find(None).environments()]


Name = Annotated[str, typer.Argument(help="Name of the environment.", autocompletion=complete_names)]
AsJson = Annotated[bool, typer.Option("--json", help="For machines: one JSON value; nothing else on standard output.")]
WorkspaceFolder = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-W",
        help="Where environments are kept.",
        envvar="INFERENCE_PLATFORM_WORKSPACE",
        show_default="~/.local/share/inference-platform/environments",
    ),
]
CatalogFolder = Annotated[
    Path | None,
    typer.Option(
        "--catalog", help="Templates and teams.", envvar="INFERENCE_PLATFORM_CATALOG", show_default="stacks/catalog"
    ),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not queue behind another operation: end with status 5.")]
Policies = Annotated[
    str | None,
    typer.Option("--policies", help="Level of the policies: dev, prod, none or a file; default: the template's."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (new, list_, preview, up, outputs, pause, resume, destroy, history, export, reap, key, catalog):
        app.command(name=command.__name__.rstrip("_"))(command)


@contextmanager
def _messages() -> Iterator[None]:
    """What goes wrong is said in words, with the exit code that goes with it."""
    from stacks.errors import ConfigError
    from stacks.selfservice.exits import CommandError, Exit

    try:
        yield
    except CommandError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(error.code) from None
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(Exit.WRONG_INPUT) from None
    except KeyboardInterrupt:
        print("interrupted: the next command on this environment goes on from here", file=sys.stderr)
        raise typer.Exit(Exit.INTERRUPTED) from None


def _work(workspace: Path | None, catalog: Path | None, *, as_json: bool, wait: bool = True) -> Work:
    from rich.console import Console

    from stacks.selfservice.catalog import HERE, load_catalog
    from stacks.selfservice.operations import Work
    from stacks.selfservice.progress import Progress
    from stacks.selfservice.workspace import Workspace

    console = Console(stderr=True, highlight=False)

    def say(message: str) -> None:
        console.print(message, markup=False)

    def progress(operation: str) -> Progress:
        return Progress(operation, None if as_json else console)

    return Work(Workspace.find(workspace), load_catalog(catalog or HERE), say, progress, wait)


def _print(result: Any, as_json: bool, show: Callable[[Any], None]) -> None:  # noqa: ANN401 - any JSON
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


def new(  # noqa: PLR0917 - options of a command line
    name: Annotated[str | None, typer.Argument(help="Name; asked for if not given.")] = None,
    team: Annotated[str | None, typer.Option("--team", help="Your team.")] = None,
    template: Annotated[str | None, typer.Option("--template", "-t", help="A template of the catalogue.")] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="NAME=organisation/model; may be given again.")
    ] = None,
    max_replicas: Annotated[int, typer.Option(help="Most replicas of each model.")] = 1,
    region: Annotated[str | None, typer.Option(help="One that the template allows.")] = None,
    ttl: Annotated[str | None, typer.Option(help="Life: 12h, 5d, 2w.", show_default="the template's")] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="An order as YAML instead of options.")] = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Order an environment: from options, from a file, or by answering questions. Nothing is deployed yet."""
    from stacks.selfservice.orders import check_order, read_order

    with _messages():
        work = _work(workspace, catalog, as_json=as_json)
        if file is not None:
            order = read_order(file)
        else:
            complete = name and team and template and model
            if not complete and (as_json or not sys.stdin.isatty()):
                missing = [
                    word
                    for word, given in (("NAME", name), ("--team", team), ("--template", template), ("--model", model))
                    if not given
                ]
                _refuse(f"give {', '.join(missing)}, or --file")
            if not complete:
                name, team, template, model = _ask(work, name, team, template, model)
            models = [_model(item, max_replicas) for item in model or []]
            data = {"name": name, "team": team, "template": template, "models": models, "region": region, "ttl": ttl}
            order = check_order({key: value for key, value in data.items() if value is not None}, "options")
        environment, rendered = work.order(order)
        record = environment.record
        result: dict[str, Any] = {"environment": order.name, "team": order.team, "template": order.template}
        result |= {"dollars_per_hour": round(rendered.dollars_per_hour, 2), "expires": record.expires}
        _print(
            result,
            as_json,
            lambda row: print(
                f"{row['environment']} is ordered: at most ${row['dollars_per_hour']:.2f} per hour, until "
                f"{row['expires']}.\n"
                f"Deploy it with: python -m stacks up {row['environment']}"
            ),
        )


def _refuse(message: str) -> None:
    from stacks.selfservice.exits import CommandError

    raise CommandError(message)


def _model(text: str, max_replicas: int) -> dict[str, Any]:
    name, sign, model = text.partition("=")
    if not sign:
        _refuse(f"--model {text!r}: write it as NAME=organisation/model")
    return {"name": name, "model": model, "max_replicas": max_replicas}


def _ask(
    work: Work, name: str | None, team: str | None, template: str | None, model: list[str] | None
) -> tuple[str, str, str, list[str]]:
    """The wizard: what is missing, one question each."""
    from rich.prompt import Prompt

    name = name or Prompt.ask("Name of the environment")
    team = team or Prompt.ask("Your team", choices=sorted(work.catalog.teams))
    allowed = work.catalog.team(team).templates or tuple(sorted(work.catalog.templates))
    if template is None:
        for item in allowed:
            print(f"  {item:<20} {work.catalog.template(item).description}")
        template = Prompt.ask("Template", choices=list(allowed))
    while not model:
        answer = Prompt.ask("Models, as NAME=organisation/model, with commas between them")
        model = [word.strip() for word in answer.split(",") if word.strip()]
    return name, team, template, model


def list_(
    team: Annotated[str | None, typer.Option("--team", help="Of one team only.")] = None,
    workspace: WorkspaceFolder = None,
    as_json: AsJson = False,
) -> None:
    """List environments: whose they are, what they may cost, until when they live."""
    from stacks.selfservice.workspace import Workspace

    with _messages():
        rows = [_row(item) for item in Workspace.find(workspace).environments()]
        rows = [row for row in rows if team in {None, row["team"]}]
        _print(rows, as_json, _print_list)


def _row(environment: Environment) -> dict[str, Any]:
    order, record = environment.order, environment.record
    state = "paused" if record.paused else "up" if record.ready else "ordered"
    return {
        "environment": order.name,
        "team": order.team,
        "template": order.template,
        "models": [item.name for item in order.models],
        "state": state,
        "dollars_per_hour": round(record.dollars_per_hour, 2),
        "expires": record.expires,
    }


def _print_list(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("environment", "team", "template", "models", "state", "at most $/h", "expires", box=None)
    colors = {"up": "green", "paused": "yellow", "ordered": "dim"}
    for row in rows:
        state = f"[{colors[row['state']]}]{row['state']}[/]"
        cells = (row["environment"], row["team"], row["template"], ", ".join(row["models"]), state)
        table.add_row(*cells, f"{row['dollars_per_hour']:.2f}", row["expires"])
    console = Console(highlight=False)
    console.print(table if rows else "no environments; order one with: python -m stacks new")


def preview(  # noqa: PLR0917 - options of a command line
    name: Name,
    policies: Policies = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Show what a deployment would change and what the policies say; status 3 if a mandatory one objects."""
    with _messages():
        work = _work(workspace, catalog, as_json=as_json, wait=not no_wait)
        _print(work.preview(work.workspace.environment(name), policies), as_json, _print_changes)


def up(  # noqa: PLR0917 - options of a command line
    name: Name,
    policies: Policies = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Deploy an environment, or bring it up to date. What a killed run left is cleared first."""
    with _messages():
        work = _work(workspace, catalog, as_json=as_json, wait=not no_wait)
        _print(work.up(work.workspace.environment(name), policies), as_json, _print_changes)


def _print_changes(result: dict[str, Any]) -> None:
    changes = ", ".join(f"{count} {word}" for word, count in sorted(result["changes"].items()) if count)
    print(f"{result['environment']}: {changes or 'nothing to do'}")
    if result.get("outputs", {}).get("url"):
        print(f"  {result['outputs']['url']}  models: {', '.join(result['outputs'].get('models') or [])}")


def outputs(
    name: Name,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print secrets in plain text.")] = False,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Print the outputs of the last deployment; secrets are left out."""
    with _messages():
        work = _work(workspace, catalog, as_json=as_json)
        found = work.outputs(work.workspace.environment(name), secrets=show_secrets)
        _print(found, as_json, _print_outputs)


def _print_outputs(found: dict[str, Any]) -> None:
    for key, value in sorted(found.items()):
        text = "(secret)" if value is None else value if isinstance(value, str) else json.dumps(value)
        print(f"{key}: {text if len(text) < 200 else text[:196] + ' ...'}")  # noqa: PLR2004 - a line on a screen


def pause(
    name: Name,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Take all models to zero and keep them there; nothing is deleted."""
    with _messages():
        work = _work(workspace, catalog, as_json=as_json, wait=not no_wait)
        _print(work.pause(work.workspace.environment(name)), as_json, _print_changes)


def resume(  # noqa: PLR0917 - options of a command line
    name: Name,
    ttl: Annotated[str | None, typer.Option(help="Life from now on: 12h, 5d, 2w.")] = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Let the models of a paused environment scale again."""
    from stacks.selfservice.orders import hours

    with _messages():
        work = _work(workspace, catalog, as_json=as_json, wait=not no_wait)
        environment = work.workspace.environment(name)
        allowed = work.catalog.template(environment.order.template).ttl_hours
        if ttl is not None and (not ttl[:-1].isdecimal() or ttl[-1:] not in "hdw" or hours(ttl) > allowed):
            _refuse(f"--ttl {ttl!r}: give a time like 12h, 5d or 2w, of at most {allowed:g} hours")
        _print(work.resume(environment, hours(ttl) if ttl else None), as_json, _print_changes)


def destroy(  # noqa: PLR0917 - options of a command line
    name: Name,
    yes: Yes = False,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    no_wait: NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Remove an environment and its order."""
    with _messages():
        work = _work(workspace, catalog, as_json=as_json, wait=not no_wait)
        environment = work.workspace.environment(name)
        if not yes and (as_json or not typer.confirm(f"Destroy {name} of team {environment.order.team}?")):
            _refuse("nothing is destroyed: --yes answers the question")
        _print(work.destroy(environment), as_json, _print_changes)


def history(
    name: Name, workspace: WorkspaceFolder = None, catalog: CatalogFolder = None, as_json: AsJson = False
) -> None:
    """List the runs of an environment, the latest first."""
    with _messages():
        work = _work(workspace, catalog, as_json=as_json)
        _print(work.history(work.workspace.environment(name)), as_json, _print_history)


def _print_history(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("version", "what", "result", "started", "changes", box=None)
    for row in rows:
        changes = ", ".join(f"{count} {word}" for word, count in sorted(row["changes"].items()))
        color = "green" if row["result"] == "succeeded" else "red"
        table.add_row(str(row["version"]), row["kind"], f"[{color}]{row['result']}[/]", row["started"], changes)
    Console(highlight=False).print(table)


def export(  # noqa: PLR0917 - options of a command line
    name: Name,
    folder: Annotated[Path, typer.Option("--to", help="Folder to write into.")],
    flavour: Annotated[str, typer.Option("--for", help="plain, argocd or flux.")] = "plain",
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write an environment as manifests, for kubectl, ArgoCD or Flux to apply instead of the engine."""
    from stacks.selfservice import export as exporting

    with _messages():
        if flavour not in {"plain", "argocd", "flux"}:
            _refuse(f"--for {flavour!r}: choose from plain, argocd, flux")
        work = _work(workspace, catalog, as_json=as_json)
        states = work.states(work.workspace.environment(name))
        files = exporting.manifests(states, flavour)
        exporting.write(folder, files, list(exporting.helm_repositories(states)) if flavour == "flux" else [])
        result = {"environment": name, "folder": str(folder), "files": [file.name for file in files]}
        _print(result, as_json, lambda row: print(f"{len(row['files'])} manifests are in {row['folder']}"))


def reap(
    at: Annotated[str | None, typer.Option(help="As if it were then, ISO 8601; default: now.")] = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Pause what has expired, destroy what has been paused for longer than its grace. For a cron job."""
    with _messages():
        work = _work(workspace, catalog, as_json=as_json)
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
        _refuse(f"--at {text!r} is not a time like 2030-01-31T12:00")
        raise
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def key(
    name: Name,
    to: Annotated[Path, typer.Option("--to", help="File for the key, readable by you alone; must not exist.")],
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key of an environment: the key goes to a file, its hash into the order; then run `up`."""
    import hashlib
    import os
    import secrets

    with _messages():
        work = _work(workspace, catalog, as_json=as_json)
        environment = work.workspace.environment(name)
        secret = f"sk-{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        with environment.alone("key", work.say):
            try:
                descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                _refuse(f"{to} exists already")
            with os.fdopen(descriptor, "w") as file:
                file.write(secret + "\n")
            order: Order = environment.order
            hashes = (*order.api_key_hashes, digest)
            environment.write(order.model_copy(update={"api_key_hashes": hashes}))
        result = {"environment": name, "file": str(to), "sha256": digest}
        _print(
            result, as_json, lambda row: print(f"the key is in {row['file']}; python -m stacks up {name} lets it in")
        )


def catalog(folder: CatalogFolder = None, as_json: AsJson = False) -> None:
    """Show what may be ordered."""
    from stacks.selfservice.catalog import HERE, load_catalog

    with _messages():
        found = load_catalog(folder or HERE)
        rows = {name: item.model_dump(mode="json") for name, item in found.templates.items()}
        _print(rows, as_json, _print_catalog)


def _print_catalog(rows: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("template", "description", "models", "replicas", "at most $/h", "life", box=None)
    for name, row in rows.items():
        choices = row["choices"]
        cells = (name, row["description"], ", ".join(choices["models"]), str(choices["max_replicas"]))
        table.add_row(*cells, f"{row['dollars_per_hour']:.2f}", f"{row['ttl_hours']:g} h")
    Console(highlight=False).print(table)
