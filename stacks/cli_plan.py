"""`python -m stacks plan`: the plan of an environment or a stack, and what differs between two."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer
from typer.core import TyperGroup

from stacks.cli_options import CatalogFolder, StackDirectory, WorkspaceFolder, complete_names, configuration, messages

if TYPE_CHECKING:
    from planner.plan import EnvironmentPlan
    from stacks.config.models import EnvironmentConfig


class _PlanGroup(TyperGroup):
    """Takes `plan NAME` besides `plan diff A B`: a group has no arguments of its own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read a first word that is no command as the environment's name."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["--environment", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    help="What an environment or a stack needs, costs and will do, before anything is touched.",
    add_completion=False,
    cls=_PlanGroup,
    subcommand_metavar="[ENVIRONMENT | diff A B]",
)


@app.callback(invoke_without_command=True)
def plan(  # noqa: PLR0917 - options of a command line
    context: typer.Context,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment", "-e", help="An ordered environment; the word alone will do.", autocompletion=complete_names
        ),
    ] = None,
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Stack: Pulumi.<stack>.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: docs/plan-schema.md.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page that needs no other file.")] = None,
    prices: Annotated[
        Path | None, typer.Option("--prices", help="Own prices: TOML, [prices], [spot], [reserved], [managed].")
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", help="Dollars per hour, in place of budget_per_hour; status 2 beyond.")
    ] = None,
    traffic: Annotated[
        Path | None, typer.Option("--traffic", help="Requests per second by deployment and hour: JSON.")
    ] = None,
    quotas: Annotated[
        Path | None, typer.Option("--quotas", help="What a preflight found: JSON; status 2 if a pool exceeds it.")
    ] = None,
    nodes: Annotated[
        list[str] | None, typer.Option("--nodes-now", help="POOL=NODES that are there, for the price of now.")
    ] = None,
    directory: StackDirectory = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
) -> None:
    """Work out what an environment or a stack needs, costs and will do."""
    if context.invoked_subcommand is not None:
        return
    with messages():
        config, name = configuration(environment, stack, directory, workspace, catalog)
    made = make(config, name, Files(prices=prices, traffic=traffic, quotas=quotas), budget, _nodes(nodes))
    shown = made.to_json()
    if html is not None:
        from planner.page import page

        html.write_text(page(shown), encoding="utf-8")
        print(f"{html} is written", file=sys.stderr)
    if as_json:
        print(json.dumps(shown, indent=2))
    elif html is None:
        from stacks.plan_tables import print_plan

        print_plan(shown)
    if not made.within_budget or made.over_quota:
        raise typer.Exit(2)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="A stack, or a file that `plan --json` wrote.")],
    after: Annotated[str, typer.Argument(help="The other one.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines: a list of objects.")] = False,
    directory: StackDirectory = None,
) -> None:
    """Show what differs between two plans."""
    from planner.difference import differences

    changes = differences(_plan_of(before, directory), _plan_of(after, directory))
    if as_json:
        print(json.dumps([{"path": path, "before": old, "after": new} for path, old, new in changes], indent=2))
        return
    from stacks.plan_tables import print_diff

    print_diff(changes)


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a user gives beside the stack's file."""

    prices: Path | None = None
    traffic: Path | None = None
    quotas: Path | None = None


def make(
    config: EnvironmentConfig,
    name: str,
    files: Files | None = None,
    budget: float | None = None,
    nodes_now: dict[str, int] | None = None,
) -> EnvironmentPlan:
    """The plan of a configuration; a broken file ends the program with status 1."""
    from planner.prices import PriceError, read_prices
    from planner.quotas import QuotaError, read_quotas
    from planner.traffic import TrafficError, read_traffic
    from stacks.plan import plan_config

    given = files or Files()
    pools = [pool.name for pool in config.node_pools]
    if unknown := sorted(set(nodes_now or {}) - set(pools)):
        raise typer.BadParameter(f"--nodes-now: there is no pool {unknown[0]}; choose from {', '.join(pools)}")
    try:
        return plan_config(
            config,
            name,
            prices=None if given.prices is None else read_prices(given.prices),
            budget_per_hour=budget,
            nodes_now=nodes_now,
            traffic=None if given.traffic is None else read_traffic(given.traffic),
            quotas=() if given.quotas is None else read_quotas(given.quotas),
        )
    except (PriceError, QuotaError, TrafficError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


def _nodes(given: list[str] | None) -> dict[str, int] | None:
    if not given:
        return None
    found = {}
    for item in given:
        name, equals, count = item.partition("=")
        if not name or not equals or not count.isdecimal():
            raise typer.BadParameter(f"--nodes-now {item!r}: write POOL=NODES, such as l4=2")
        found[name] = int(count)
    return found


def _plan_of(name: str, directory: Path | None) -> dict[str, Any]:
    path = Path(name)
    if path.suffix != ".json":
        with messages():
            config, stack = configuration(None, name, directory, None, None)
        return make(config, stack).to_json()
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if not isinstance(found, dict) or "models" not in found:
        print(f"{path}: is not a plan; write one with: python -m stacks plan -s NAME --json", file=sys.stderr)
        raise typer.Exit(1)
    return found
