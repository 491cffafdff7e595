"""`python -m stacks new|catalog|key`: what teams order. Nothing is deployed here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stacks.cli_options import (
    AsJson,
    CatalogFolder,
    Name,
    WorkspaceFolder,
    complete_teams,
    complete_templates,
    messages,
    refuse,
    show,
    work_of,
)

if TYPE_CHECKING:
    from stacks.selfservice.operations import Work
    from stacks.selfservice.orders import Order


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (catalog, new, key):
        app.command(rich_help_panel="Order")(command)


def new(  # noqa: PLR0917 - options of a command line
    name: Annotated[str | None, typer.Argument(help="Name; asked for if not given.")] = None,
    team: Annotated[str | None, typer.Option("--team", help="Your team.", autocompletion=complete_teams)] = None,
    template: Annotated[
        str | None,
        typer.Option("--template", "-t", help="A template of the catalogue.", autocompletion=complete_templates),
    ] = None,
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
    from stacks.environment_tables import print_order
    from stacks.selfservice.orders import check_order, read_order

    with messages():
        work = work_of(workspace, catalog, as_json=as_json)
        if file is not None:
            order = read_order(file)
        else:
            if not (name and team and template and model):
                if as_json or not sys.stdin.isatty():
                    _refuse_incomplete(name, team, template, model)
                name, team, template, model = _ask(work, name, team, template, model)
            models = [_model(item, max_replicas) for item in model]
            data = {"name": name, "team": team, "template": template, "models": models, "region": region, "ttl": ttl}
            order = check_order({key: value for key, value in data.items() if value is not None}, "options")
        environment, rendered = work.order(order)
        result: dict[str, Any] = {"environment": order.name, "team": order.team, "template": order.template}
        cost = round(rendered.dollars_per_hour, 2)
        result |= {"dollars_per_hour": cost, "expires": environment.record.expires}
        show(result, as_json, print_order)


def _refuse_incomplete(name: str | None, team: str | None, template: str | None, model: list[str] | None) -> None:
    given = (("NAME", name), ("--team", team), ("--template", template), ("--model", model))
    refuse(f"give {', '.join(word for word, value in given if not value)}, or --file")


def _model(text: str, max_replicas: int) -> dict[str, Any]:
    name, sign, model = text.partition("=")
    if not sign:
        refuse(f"--model {text!r}: write it as NAME=organisation/model")
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


def catalog(folder: CatalogFolder = None, as_json: AsJson = False) -> None:
    """Show what may be ordered."""
    from stacks.environment_tables import print_catalog
    from stacks.selfservice.catalog import catalog_folder, load_catalog

    with messages():
        found = load_catalog(folder or catalog_folder())
        rows = {name: item.model_dump(mode="json") for name, item in found.templates.items()}
        show(rows, as_json, print_catalog)


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

    with messages():
        work = work_of(workspace, catalog, as_json=as_json)
        environment = work.workspace.environment(name)
        secret = f"sk-{secrets.token_urlsafe(32)}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        with environment.alone("key", work.say):
            # Read first: a key in a file that no environment knows would stand in the way of the next attempt.
            order: Order = environment.order
            try:
                descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                refuse(f"{to} exists already")
            with os.fdopen(descriptor, "w") as file:
                file.write(secret + "\n")
            hashes = (*order.api_key_hashes, digest)
            environment.write(order.model_copy(update={"api_key_hashes": hashes}))
        result = {"environment": name, "file": str(to), "sha256": digest}
        show(result, as_json, lambda row: print(f"the key is in {row['file']}; python -m stacks up {name} lets it in"))
