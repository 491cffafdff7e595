"""Prometheus' own test tool: write rules and a test, run it, hold it to account."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.observability.delivery import rule_groups
from components.observability.objects import EnvironmentFacts, RuleGroup, rule_file
from local.layout import TOOLS

PROMTOOL = TOOLS / "bin" / "promtool"
NOT_BUILT = "promtool is not built: run `make tools`"


def promtool(tmp_path: Path, groups: Sequence[RuleGroup], test: dict[str, Any]) -> None:
    """Run a test of some groups of rules, evaluated in their order."""
    rules, file = tmp_path / "rules.yaml", tmp_path / "tests.yaml"
    rules.write_text(yaml.safe_dump(rule_file(groups, "docs/runbooks")))
    document = {
        "rule_files": [str(rules)],
        "evaluation_interval": test["interval"],
        "group_eval_order": [group.name for group in groups],
        "tests": [test],
    }
    file.write_text(yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), width=1_000_000))
    run("test", "rules", str(file))


def parts(facts: EnvironmentFacts, *names: str) -> list[RuleGroup]:
    """The groups of these objects; of all if none is named."""
    groups = rule_groups(facts)
    return [group for name in names or groups for group in groups[name]]


def run(*arguments: str) -> None:
    """Run promtool; what it says is the message if it fails."""
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[:20_000]


def expression(expr: str, at: str, **samples: float) -> dict[str, Any]:
    """An expectation of promtool: what a query answers at a time; labels as in Prometheus' notation, quotes and all."""
    found = [{"labels": labels, "value": value} for labels, value in samples.items()]
    return {"expr": expr, "eval_time": at, "exp_samples": found}


def series(**values: str) -> list[dict[str, str]]:
    """Input of promtool."""
    return [{"series": name, "values": text} for name, text in values.items()]
