"""`python -m stacks`: the configuration on the command line.

Commands import what they need when they run: this module must stay quick to import, and must not import Pulumi.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import click
import typer

from stacks import cli_environments, cli_orders
from stacks.cli_options import StackDirectory
from stacks.cli_plan import app as plan_app
from stacks.cli_preflight import preflight
from toolchain.interrupts import heed_interrupts

app = typer.Typer(
    help="Environments: order them, see what they need and cost, deploy, pause and remove them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

BEFORE = "Before anything is touched"
cli_orders.register(app)
app.add_typer(plan_app, name="plan", rich_help_panel=BEFORE)
app.command(rich_help_panel=BEFORE)(preflight)
cli_environments.register(app)

PROJECT_FILE = "Pulumi.yaml"

Stack = Annotated[str, typer.Option("--stack", "-s", help="Stack: Pulumi.<stack>.yaml describes it.")]


def main() -> None:
    """Run the command line; what the operating system refuses is said in one line."""
    # Its own status 2 means "refused" here (docs/self-service.md); a mistyped option is wrong input.
    click.UsageError.exit_code = 1
    heed_interrupts()
    try:
        app()
    except OSError as error:
        print(f"stacks: {error}", file=sys.stderr)
        sys.exit(1)


@app.callback()
def about() -> None:
    """Environments: order them, see what they need and cost, deploy, pause and remove them."""


@app.command(rich_help_panel="Stack files")
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="The reference for people: docs/config.md.")] = False,
    stack_file: Annotated[
        bool, typer.Option("--stack-file", help="Schema of the whole Pulumi.<stack>.yaml, as editors need it.")
    ] = False,
) -> None:
    """Print the JSON Schema of the configuration."""
    from stacks import reference

    if markdown and stack_file:
        raise typer.BadParameter("choose one of --markdown and --stack-file")
    if markdown:
        print(reference.markdown(), end="")
    else:
        print(json.dumps(reference.stack_file_schema() if stack_file else reference.environment_schema(), indent=2))


@app.command(rich_help_panel="Stack files")
def validate(
    stack: Stack,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False,
    directory: StackDirectory = None,
) -> None:
    """Check a stack without deploying anything, and show what it comes to; status 1 if something is wrong."""
    from stacks.config.load import load_stack_file
    from stacks.errors import ConfigError
    from stacks.summary import summarize

    try:
        config = load_stack_file(stack, directory or project_folder())
    except ConfigError as error:
        if as_json:
            errors = [item.to_json() for item in error.errors]
            print(json.dumps({"stack": stack, "valid": False, "errors": errors}, indent=2))
        else:
            print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    summary = summarize(config, stack)
    if as_json:
        environment = config.model_dump(mode="json")
        report = {"valid": True, **summary.to_json(), "environment": environment}
        print(json.dumps(report, indent=2))
        return
    from stacks.summary_tables import print_summary

    print_summary(summary)


def project_folder() -> Path:
    """The nearest folder upwards with a Pulumi.yaml, as Pulumi itself looks; else this repository."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder
    return Path(__file__).resolve().parents[1]
