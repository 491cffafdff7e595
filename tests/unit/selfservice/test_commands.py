"""The commands as a person or a script meets them: names, statuses, completion, what is loaded.

No engine runs here; the local tests deploy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from local.layout import ClusterFiles
from stacks.cli import app
from stacks.cli_options import complete_names, complete_teams, complete_templates
from stacks.selfservice.catalog import HERE, load_catalog
from stacks.selfservice.engine import Engine
from stacks.selfservice.workspace import Environment, Workspace

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
NEW = ("new", "e", "--team", "search", "-t", "shared-dev", "-m", "chat=meta-llama/Llama-3.1-8B-Instruct")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace, with the catalogue of this repository."""
    monkeypatch.setenv("INFERENCE_PLATFORM_WORKSPACE", str(tmp_path / "ws"))
    monkeypatch.delenv("INFERENCE_PLATFORM_CATALOG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_plan_and_preflight_take_the_name_of_an_environment(folder: Path) -> None:
    assert run(*NEW).exit_code == 0
    shown = json.loads(run("plan", "e", "--json").stdout)
    assert (shown["environment"], [row["name"] for row in shown["models"]]) == ("e", ["chat"])
    assert json.loads(run("plan", "--json", "-e", "e").stdout) == shown
    assert run("plan", "e", "--html", str(folder / "plan.html")).exit_code == 0
    preflight = run("preflight", "e")
    assert preflight.exit_code == 1
    assert "cloud existing has no account to read" in preflight.output


@pytest.mark.parametrize("command", ["plan", "preflight"])
@pytest.mark.usefixtures("folder")
def test_one_configuration_is_named_and_not_two(command: str) -> None:
    for words, says in (((), "with --stack"), (("e", "-s", "dev"), "not both"), (("e",), "there is no environment")):
        done = run(command, *words)
        assert (done.exit_code, says in done.output) == (1, True), done.output


def test_plans_are_still_compared_by_name(folder: Path) -> None:
    assert run("plan", "diff", "dev", "dev", "-C", str(ROOT), "--json").stdout.strip() == "[]"
    assert not (folder / "ws").exists()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "status"), [(("up",), 1), (("nothing",), 1), (("list", "--colour"), 1), (("--help",), 0)]
)
def test_a_mistyped_command_is_wrong_input_and_no_refusal(words: tuple[str, ...], status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stacks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


def test_names_are_completed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete_names() == []
    run(*NEW)
    assert complete_names() == ["e"]
    assert "search" in complete_teams()
    assert "shared-dev" in complete_templates()
    monkeypatch.setenv("INFERENCE_PLATFORM_CATALOG", str(folder / "nowhere"))
    assert complete_teams() == []


@pytest.mark.usefixtures("folder")
def test_the_shell_is_given_names() -> None:
    run(*NEW)
    asked = {"COMP_WORDS": "stacks up ", "COMP_CWORD": "2", "_STACKS_COMPLETE": "complete_bash"}
    program = "from stacks.cli import app; app(prog_name='stacks')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["e"], done.stderr


@pytest.mark.usefixtures("folder")
def test_what_deploys_nothing_loads_no_engine() -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom stacks.cli import app\n"
        f"for words in ({list(NEW)!r}, ['list'], ['catalog']):\n"
        "    done = CliRunner().invoke(app, words)\n    assert done.exit_code == 0, done.output\n"
        "assert 'pulumi' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("policies", "asked"),
    [("none", ["up"]), ("dev", ["up"]), ("prod", ["preview", "up"]), ("own.json", ["preview", "up"])],
)
def test_where_a_policy_may_refuse_a_preview_comes_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch, policies: str, asked: list[str]
) -> None:
    calls: list[str] = []
    notes: list[str] = []

    class Stack:
        def preview(self, on_event: Any, **_: Any) -> Any:
            calls.append("preview")
            on_event(SimpleNamespace(policy_event="policy", diagnostic_event=None, resource_pre_event=None))
            on_event(SimpleNamespace(policy_event=None, diagnostic_event=None, resource_pre_event="create"))

        def up(self, **_: Any) -> Any:
            calls.append("up")
            return SimpleNamespace(summary=SimpleNamespace(resource_changes={"create": 1}), outputs={})

    monkeypatch.setattr(Engine, "_stack", lambda _: Stack())
    monkeypatch.setattr(Engine, "_pack", lambda _: {})
    monkeypatch.setattr(Engine, "recover", lambda _: False)
    if policies.endswith(".json"):
        policies = str(folder / policies)
        Path(policies).write_text(json.dumps({"max-nodes": "mandatory"}))
    environment = Environment(Workspace(folder), "e")
    Engine(environment, {}, policies).up(lambda event: notes.append(str(event.policy_event)))
    assert calls == asked
    # The preview's resources are not shown: nothing is being made yet.
    assert notes == ["policy"] * (len(asked) - 1)


def test_the_engine_compiles_once_whatever_the_shell_says(folder: Path) -> None:
    variables = Engine(Environment(Workspace(folder), "e"), {}).variables()
    assert variables["PYTHONPYCACHEPREFIX"]
    assert variables["PYTHONDONTWRITEBYTECODE"] == ""


def test_the_template_for_laptops_names_the_cluster_of_make_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFERENCE_PLATFORM_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    existing = load_catalog(HERE).templates["laptop"].environment["existing"]
    assert Path(existing["kubeconfig"]).expanduser() == ClusterFiles.named("dev").kubeconfig
