"""What a person reads of a run: progress from the engine's events, and what is left of a failed run's output.

No engine runs here.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pulumi.automation import OutputValue, events
from rich.console import Console

from stacks.selfservice.engine import MARK, Engine, essence, processes_of, shown
from stacks.selfservice.progress import Progress
from stacks.selfservice.workspace import Environment, Workspace

pytestmark = pytest.mark.unit

URN = "urn:pulumi:s::p::inference-platform:gateway:Gateway$kubernetes:apps/v1:Deployment::gateway"


def event(sequence: int, **body: object) -> events.EngineEvent:
    return events.EngineEvent.from_json({"sequence": sequence, "timestamp": 0, **body})


def step(operation: str) -> dict[str, object]:
    kind = "kubernetes:apps/v1:Deployment"
    return {"metadata": {"op": operation, "urn": URN, "type": kind, "old": None, "new": None, "provider": ""}}


def test_a_line_per_resource_that_changes() -> None:
    text = io.StringIO()
    with Progress("up e", Console(file=text, width=100)) as progress:
        progress(event(1, resourcePreEvent=step("create")))
        progress(event(2, resOutputsEvent=step("create")))
        progress(event(3, resourcePreEvent=step("same")))
        progress(event(4, resOutputsEvent=step("same")))
    (line,) = text.getvalue().splitlines()
    assert line.startswith("  create   Deployment gateway  0.")
    assert progress.done == {"create": 1}


def test_policies_are_kept_for_the_result() -> None:
    progress = Progress("up e", None)
    found = {"policyName": "max-nodes", "enforcementLevel": "advisory", "message": "m\nmore", "resourceUrn": URN}
    rest = {"color": "", "policyPackName": "p", "policyPackVersion": "1", "policyPackVersionTag": "1"}
    progress(event(1, policyEvent={**found, **rest}))
    expected = {"policy": "max-nodes", "level": "advisory", "resource": "Deployment gateway", "message": "m\nmore"}
    assert progress.policies == [expected]


def test_of_a_failed_run_what_the_engine_says_is_left() -> None:
    output = "\n code: 255\n stdout: @ updating...\n + x\nDiagnostics:\n  x:\n    error: no\n\n stderr: \n"
    assert essence(output) == "Diagnostics:\n  x:\n    error: no"


def test_of_a_refused_run_outputs_and_counts_are_left_out() -> None:
    said = "Policies:\n    - [mandatory] p\nDiagnostics:\n  d"
    output = f" code: 255\n stdout: x\n{said}\nOutputs:\n  - plan: 1\nResources:\n 1\n"
    assert essence(output) == said


def test_of_a_run_that_never_began_the_error_is_left() -> None:
    assert essence(" code: 255\n stdout: \n stderr: error: no such passphrase\n") == "error: no such passphrase"


def test_secrets_are_shown_only_if_asked_for() -> None:
    found = {"url": OutputValue("http://x", False), "kubeconfig": OutputValue("k", True)}
    assert shown(found) == {"url": "http://x", "kubeconfig": None}
    assert shown(found, secrets=True)["kubeconfig"] == "k"


def test_processes_of_a_run_are_known_by_their_mark(tmp_path: Path) -> None:
    environment = Environment(Workspace(tmp_path), "e")
    sleep = [sys.executable, "-c", "print(flush=True); input()"]
    variables = {**os.environ, MARK: str(environment.folder)}
    with subprocess.Popen(sleep, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert list(processes_of(environment)) == [process.pid]
        assert list(processes_of(Environment(Workspace(tmp_path), "other"))) == []
        process.communicate(b"\n")
    assert list(processes_of(environment)) == []


def test_metadata_that_a_killed_engine_left_empty_is_removed(tmp_path: Path) -> None:
    environment = Environment(Workspace(tmp_path, own_state=True), "e")
    stacks = tmp_path / ".state" / ".pulumi" / "stacks" / "inference-platform"
    stacks.mkdir(parents=True)
    (stacks / "e.json").write_text("{}")
    (stacks / "e.json.attrs").write_text("")
    (stacks / "e.json.bak.attrs").write_text("{}")
    (stacks / "other.json.attrs").write_text("")
    assert Engine(environment, {}).recover() is False
    assert sorted(path.name for path in stacks.iterdir()) == ["e.json", "e.json.bak.attrs", "other.json.attrs"]


def test_state_of_ours_is_kept_without_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERENCE_PLATFORM_BACKEND", "s3://bucket")
    assert Workspace(tmp_path).backend == "s3://bucket"
    assert Workspace(tmp_path).state_folder is None
    assert Workspace(tmp_path, own_state=True).backend == f"file://{tmp_path}/.state?metadata=skip"
    assert Workspace(tmp_path, own_state=True).state_folder == tmp_path / ".state"
