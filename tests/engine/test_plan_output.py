"""The plan as a stack output of the real engine: `pulumi stack output plan` gives back what `plan --json` prints.

The program has no resources, so that no cluster is needed; that the environment's own program exports the same plan is
in tests/unit/components/test_environment.py. Nothing is said here of what a cluster does with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local.layout import REPOSITORY
from local.pulumi_cli import Pulumi

pytestmark = pytest.mark.engine

STACK = "planned"
PROGRAM = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
import pulumi
from stacks.config.load import load_environment
from stacks.plan import plan_config

raw = pulumi.Config("inference-platform").require_object("environment")
plan = plan_config(load_environment(raw, {STACK!r}), {STACK!r})
for line in plan.lines():
    pulumi.info(line)
pulumi.export("plan", plan.to_json())
"""


@pytest.fixture
def project(tmp_path: Path) -> Pulumi:
    program = tmp_path / "program"
    program.mkdir()
    (program / "Pulumi.yaml").write_text("name: inference-platform\nruntime: python\n")
    (program / "__main__.py").write_text(PROGRAM)
    dev = yaml.safe_load((REPOSITORY / "Pulumi.dev.yaml").read_text())
    (program / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump(dev))
    pulumi = Pulumi(STACK, tmp_path / "state", tmp_path / "kubeconfig", program=program)
    pulumi.prepare()
    return pulumi


def test_the_stack_output_is_the_plan(project: Pulumi) -> None:
    shown = project.run("up", "--yes", "--stack", STACK)
    read_back = json.loads(project.run("stack", "output", "plan", "--json", "--stack", STACK))
    command = [sys.executable, "-m", "stacks", "plan", "-s", STACK, "-C", str(project.program), "--json"]
    planned = json.loads(subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout)
    assert read_back == planned
    assert planned["models"][0]["kv_cache_tokens"] > 0
    # The same summary is in what the user sees of the deployment.
    assert "per hour (list prices)" in shown
    assert f"{planned['models'][0]['kv_cache_tokens']:,} KV tokens" in shown
