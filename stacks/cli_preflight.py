"""`python -m stacks preflight`: whether an account can hold what a stack can grow to."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from stacks.cli_options import CatalogFolder, StackDirectory, WorkspaceFolder, complete_names, configuration, messages


def preflight(  # noqa: PLR0917 - options of a command line
    name: Annotated[
        str | None, typer.Argument(help="An ordered environment; or --stack.", autocompletion=complete_names)
    ] = None,
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="Stack: Pulumi.<stack>.yaml describes it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False,
    directory: StackDirectory = None,
    workspace: WorkspaceFolder = None,
    catalog: CatalogFolder = None,
) -> None:
    """Read the cloud account: quota, zones that offer the machines, spot prices; status 1 if the stack cannot fit.

    Uses the cloud's own SDK and the credentials that it finds, and changes nothing.
    """
    from components.clouds import load_rules
    from stacks.config.checks_cloud import settings_of, wish_of
    from stacks.preflight import PreflightError, load_preflight

    with messages():
        config, called = configuration(name, stack, directory, workspace, catalog)
    try:
        rules = load_rules(config.cloud.value)
        wishes = [wish for pool in config.node_pools if (wish := wish_of(pool)) is not None]
        region = config.region or (rules.default_region if rules else "")
        report = load_preflight(config.cloud.value).read(region, wishes, settings_of(config), called.rpartition("/")[2])
    except PreflightError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps({"stack": called, **report.to_json()}, indent=2))
    else:
        from stacks.preflight_tables import print_report

        print_report(report, called)
    if not report.fits:
        raise typer.Exit(1)
