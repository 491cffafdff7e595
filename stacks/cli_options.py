"""Options that commands on ordered environments share, and how they begin and end.

Commands import what they need when they run: this module must stay quick to import, and must not import Pulumi.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stacks.config.models import EnvironmentConfig
    from stacks.selfservice.operations import Work


def complete_names() -> list[str]:
    """Names of environments, for the shell."""
    from stacks.selfservice.workspace import Workspace

    return [item.name for item in Workspace.find(None).environments()]


def complete_teams() -> list[str]:
    """Names of teams, for the shell."""
    return _catalogue("teams")


def complete_templates() -> list[str]:
    """Names of templates, for the shell."""
    return _catalogue("templates")


def _catalogue(part: str) -> list[str]:
    from stacks.selfservice.catalog import catalog_folder, load_catalog
    from stacks.selfservice.exits import CommandError

    try:
        return sorted(getattr(load_catalog(catalog_folder()), part))
    except CommandError:
        # Whoever presses the tab key is not the one to be told of a broken catalogue.
        return []


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
    typer.Option(
        "--policies",
        help="Level of the policies: dev, prod, none or a file; default: the template's.",
        autocompletion=lambda: ["dev", "prod", "none"],
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
StackDirectory = Annotated[
    Path | None,
    typer.Option("--cwd", "-C", help="Where the stack files are; default: the nearest folder with a Pulumi.yaml."),
]


@contextmanager
def messages() -> Iterator[None]:
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


def work_of(workspace: Path | None, catalog: Path | None, *, as_json: bool, wait: bool = True) -> Work:
    """What every operation needs; progress goes to standard error, and nowhere with ``as_json``."""
    from rich.console import Console

    from stacks.selfservice.catalog import catalog_folder, load_catalog
    from stacks.selfservice.operations import Work
    from stacks.selfservice.progress import Progress
    from stacks.selfservice.workspace import Workspace

    console = Console(stderr=True, highlight=False)

    def say(message: str) -> None:
        console.print(message, markup=False)

    def progress(operation: str) -> Progress:
        return Progress(operation, None if as_json else console)

    return Work(Workspace.find(workspace), load_catalog(catalog or catalog_folder()), say, progress, wait)


def show(result: Any, as_json: bool, for_people: Callable[[Any], None]) -> None:  # noqa: ANN401 - any JSON
    """Print a result, for machines or for people."""
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        for_people(result)


def refuse(message: str) -> NoReturn:
    """End a command whose input is wrong."""
    from stacks.selfservice.exits import CommandError

    raise CommandError(message)


def configuration(
    name: str | None, stack: str | None, directory: Path | None, workspace: Path | None, catalog: Path | None
) -> tuple[EnvironmentConfig, str]:
    """The configuration that a command is about, and its name: an ordered environment's, or a stack file's.

    Raises:
        CommandError: not exactly one of the two is named, or there is no such environment.
        ConfigError: the configuration has mistakes.
    """
    from stacks.cli import project_folder
    from stacks.config.load import load_environment, load_stack_file

    if (name is None) == (stack is None):
        refuse("name an ordered environment, or a stack with --stack" + (": not both" if name else ""))
    if stack is not None:
        return load_stack_file(stack, directory or project_folder()), stack
    assert name is not None  # noqa: S101 - checked above
    work = work_of(workspace, catalog, as_json=True)
    return load_environment(work.config(work.workspace.environment(name)), name), name
