"""`python -m stacks preflight`: whether an account can hold what a stack can grow to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def preflight(
    stack: Annotated[str, typer.Option("--stack", "-s", help="Stack: Pulumi.<stack>.yaml describes it.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines: one JSON object.")] = False,
    directory: Annotated[
        Path | None,
        typer.Option("--cwd", "-C", help="Where the stack files are; default: the nearest folder with a Pulumi.yaml."),
    ] = None,
) -> None:
    """Read the cloud account: quota, zones that offer the machines, spot prices; status 1 if the stack cannot fit.

    Uses the cloud's own SDK and the credentials that it finds, and changes nothing.
    """
    from components.clouds import load_rules
    from stacks.cli import project_folder
    from stacks.config.checks_cloud import settings_of, wish_of
    from stacks.config.load import load_stack_file
    from stacks.errors import ConfigError
    from stacks.preflight import PreflightError, load_preflight

    try:
        config = load_stack_file(stack, directory or project_folder())
        rules = load_rules(config.cloud.value)
        wishes = [wish for pool in config.node_pools if (wish := wish_of(pool)) is not None]
        region = config.region or (rules.default_region if rules else "")
        report = load_preflight(config.cloud.value).read(region, wishes, settings_of(config), stack.rpartition("/")[2])
    except (ConfigError, PreflightError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps({"stack": stack, **report.to_json()}, indent=2))
    else:
        from stacks.preflight_tables import print_report

        print_report(report, stack)
    if not report.fits:
        raise typer.Exit(1)
