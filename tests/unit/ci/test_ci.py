"""The comment on a pull request, and the workflows around the steps.

That the steps run is shown by tests/engine/test_ci.py; that a hosted runner accepts the workflows is not shown by any
test here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.comment import comment, sections, verdict

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = (ROOT / "ci/github/inference-platform.yml", ROOT / "ci/gitlab/inference-platform.gitlab-ci.yml")

PREVIEW = """Previewing update (prod):
 +  kubernetes:core/v1:Namespace n create
Policies:
    inference-platform@v0.1.0 (local: policy)
        - [advisory] [severity: medium]  required-tags  (aws:eks/cluster:Cluster: prod)
Diagnostics:
  pulumi:pulumi:Stack (p):
    hello ``` there

Resources:
    + 3 to create
"""


def plan(largest: float) -> dict[str, Any]:
    return {"hourly_min": 1.0, "hourly_max": largest, "models": [], "pools": []}


def test_cost_changes_and_policies_are_in_the_comment() -> None:
    text = comment("prod", plan(12.5), plan(10.0), PREVIEW)
    assert text.startswith("<!-- inference-platform:prod -->\n### `prod`: :warning: policies advise a change\n")
    assert "| at its largest | 10.00 | 12.50 | +2.50 |" in text
    assert "| at its smallest | 1.00 | 1.00 |  |" in text
    assert "+ 3 to create" in text
    assert "required-tags" in text
    assert "| `hourly_max` | 10.0 | 12.5 |" in text


def test_a_new_stack_has_no_before() -> None:
    text = comment("prod", plan(12.5), None, PREVIEW)
    assert "| at its largest | - | 12.50 |  |" in text
    assert "figures of the plan" not in text


@pytest.mark.parametrize(
    ("preview", "says"),
    [
        ("fine", "can be deployed"),
        ("- [advisory] x", "advise"),
        ("- [mandatory] x\nerror: preview failed", "a mandatory policy objects"),
        ("error: no credentials", "the preview failed"),
    ],
)
def test_the_verdict(preview: str, says: str) -> None:
    assert says in verdict(preview)


def test_nothing_that_a_resource_says_ends_the_fence() -> None:
    text = comment("prod", plan(1), None, PREVIEW.replace("+ 3 to create", "```` + 3").replace("hello", "error: hello"))
    assert "`````text\n    ```` + 3\n`````" in text


def test_the_parts_of_a_preview() -> None:
    assert set(sections(PREVIEW)) == {"Policies", "Diagnostics", "Resources"}


def test_of_a_preview_that_never_began_the_error_is_in_the_comment() -> None:
    text = comment("prod", plan(1), None, "error: no credentials for the backend\n")
    assert ":x: the preview failed" in text
    assert "```text\nerror: no credentials for the backend\n```" in text


# The step of a pull request

PYTHON_DOUBLE = """#!/bin/sh
case "$2 $3" in
  "stacks plan") echo "{\\"arguments\\": \\"$*\\"}" ;;
esac
"""


def test_the_plan_of_before_is_found_in_a_repository_that_has_more_than_this_project(tmp_path: Path) -> None:
    """With doubles of `python` and `pulumi`; git is real."""
    project, programs = tmp_path / "team" / "platform", tmp_path / "bin"
    for folder in (project / "ci", programs):
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "ci/pull_request.sh", project / "ci")
    for name, text in (("python", PYTHON_DOUBLE), ("pulumi", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    stack = project / "Pulumi.prod.yaml"
    stack.write_text("before: true\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(tmp_path)]
    for words in (["init", "--quiet"], ["add", "team"], ["commit", "--quiet", "-m", "before"]):
        subprocess.run([*git, *words], check=True)
    stack.write_text("before: false\n")
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    subprocess.run(["ci/pull_request.sh", "prod", "prod", "HEAD"], cwd=project, env=environment, check=True)
    assert (project / "ci-output/base/Pulumi.prod.yaml").read_text() == "before: true\n"
    assert "-C ci-output/base" in (project / "ci-output/plan-before.json").read_text()


# The workflows


def scripts(node: Any) -> Iterator[str]:
    """Every command of a workflow."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"run", "script", "before_script", "after_script"}:
                yield from [value] if isinstance(value, str) else value
            else:
                yield from scripts(value)
    elif isinstance(node, list):
        for value in node:
            yield from scripts(value)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_steps_that_exist_with_what_they_take(workflow: Path) -> None:
    commands = list(scripts(yaml.safe_load(workflow.read_text())))
    called = {}
    for command in commands:
        for found in re.finditer(r"(ci/\w+\.sh)((?: \"[^\"]+\")*)", command):
            called[found[1]] = len(re.findall(r"\"[^\"]+\"", found[2]))
    assert called == {"ci/pull_request.sh": 3, "ci/deploy.sh": 2, "ci/drift.sh": 1}
    for script in called:
        assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_rules_of_make_that_a_workflow_uses_exist(workflow: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in scripts(yaml.safe_load(workflow.read_text())):
        if command.startswith("make "):
            for rule in command.partition("&&")[0].split()[1:]:
                assert re.search(rf"^{rule}:", makefile, re.MULTILINE), rule


def test_a_deployment_is_approved_and_only_a_preview_comments() -> None:
    github = yaml.safe_load(WORKFLOWS[0].read_text())
    assert github["jobs"]["deploy"]["environment"] == "production"
    assert github["permissions"] == {"contents": "read"}
    writers = [name for name, job in github["jobs"].items() if job["permissions"].get("pull-requests") == "write"]
    assert writers == ["preview"]
    gitlab = yaml.safe_load(WORKFLOWS[1].read_text())
    assert gitlab["deploy"]["rules"][0]["when"] == "manual"


GH = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in *--paginate*) cat "$COMMENTS" ;; esac
"""
"""Stands in for GitHub's command: notes what it is asked, and has these comments of the stack. Not proven: that GitHub
finds them by the filter that it is given."""


@pytest.mark.parametrize(("before", "then"), [("", "pr comment 7 --body-file"), ("11\n12\n", "--method PATCH")])
def test_each_stack_has_one_comment_on_a_pull_request(tmp_path: Path, before: str, then: str) -> None:
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "comments").write_text(before)
    (tmp_path / "comment.md").write_text(comment("prod", plan(1.0), None, PREVIEW))
    variables = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "COMMENTS": str(tmp_path / "comments"),
    }
    script = [str(ROOT / "ci/github/comment.sh"), "7", str(tmp_path / "comment.md")]
    subprocess.run(script, env=variables, check=True, capture_output=True)
    asked, written = (tmp_path / "calls").read_text().splitlines()
    assert asked.startswith("api --paginate repos/{owner}/{repo}/issues/7/comments --jq")
    assert 'startswith("<!-- inference-platform:prod -->")' in asked
    assert then in written
    assert ("comments/12 " in written) == bool(before)
