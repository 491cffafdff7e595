"""The policy pack under the real engine: `pulumi preview --policy-pack`, over the provider double.

Proves that the pack starts in its own environment, that every policy gets what it needs from the engine and fires on a
planted violation, that unknown values are advisory notes, and that the example environments draw nothing. Clouds and
Kubernetes are stood in for: the double checks inputs by the SDKs' types, not by a cloud's own rules.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.layout import REPOSITORY
from policy.reference import ENVIRONMENTS
from policy.rules import RULES
from tests.engine.cloud_stack import CloudStack, packages_of, sdk_missing, write_program
from tests.unit.policy.cases import CASES
from tests.unit.policy.resources import deployment

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        not (REPOSITORY / "build" / "policy-venv").exists(), reason="the pack's environment: make policy-venv"
    ),
]

PACK = REPOSITORY / "policy"
EXAMPLES = sorted(REPOSITORY.glob("Pulumi.*.yaml"))

PROGRAM = """
import json, pathlib, pulumi

first = pulumi.CustomResource("kubernetes:core/v1:ConfigMap", "first", {"apiVersion": "v1", "kind": "ConfigMap"})

def known(value):
    if value == "<unknown>":
        return first.id
    if isinstance(value, dict):
        return {key: known(child) for key, child in value.items()}
    return [known(child) for child in value] if isinstance(value, list) else value

for row in json.loads(pathlib.Path("RESOURCES").read_text()):
    pulumi.CustomResource(row["type"], row["name"], known(row["inputs"]))
"""


HEAD = re.compile(r"- \[(mandatory|advisory)\](?: \[severity: \w+\])? +(\S+) +\((.*)\)")


@dataclass
class Note:
    """What the engine shows of one policy: a line with the resource, and the message below it."""

    level: str
    policy: str
    resource: str
    message: str = ""


@dataclass(frozen=True)
class Run:
    """A preview with the pack."""

    status: int
    output: str
    notes: list[Note]


def preview(stack: CloudStack, levels: Path) -> Run:
    """`pulumi preview` with the pack, and what it reported."""
    options = ("--policy-pack", str(PACK), "--policy-pack-config", str(levels), "--suppress-outputs")
    done = stack.run("preview", *options, check=False)
    notes: list[Note] = []
    for line in done.stdout.partition("Policies:")[2].partition("Diagnostics:")[0].splitlines():
        if head := HEAD.search(line):
            notes.append(Note(*head.groups()))
        elif notes and line.startswith("          "):
            notes[-1].message += line.strip() + "\n"
    return Run(done.returncode, done.stdout + done.stderr, notes)


def planted_stack(folder: Path, rows: list[dict[str, Any]]) -> CloudStack:
    """A program that registers these resources."""
    resources = folder / "resources.json"
    resources.write_text(json.dumps(rows))
    program = write_program(folder / "program", PROGRAM.replace("RESOURCES", str(resources)))
    return CloudStack(folder, ["aws", "azure-native", "gcp", "kubernetes"], program=program)


def written(folder: Path, levels: dict[str, Any]) -> Path:
    file = folder / "levels.json"
    file.write_text(json.dumps(levels))
    return file


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Run]:
    """One violation per policy, all mandatory, in one stack; and one value that is not known."""
    if reason := next(filter(None, map(sdk_missing, ("aws", "azure", "gcp"))), None):
        pytest.skip(reason)
    resources = {(item.type, item.name): item for case in CASES for item in case.bad}
    rows = [{"type": item.type, "name": item.name, "inputs": dict(item.inputs)} for item in resources.values()]
    unknown = deployment("unknown", "containers/0/image", "<unknown>")
    rows.append({"type": unknown.type, "name": unknown.name, "inputs": dict(unknown.inputs)})
    stack = planted_stack(tmp_path, rows).start()
    levels = {case.rule: {"enforcementLevel": "mandatory", **case.settings} for case in CASES}
    try:
        yield preview(stack, written(tmp_path, {"all": "mandatory", **levels}))
    finally:
        stack.stop()


def test_every_policy_fires_on_its_planted_violation(planted: Run) -> None:
    assert planted.status != 0, planted.output
    silent = []
    for case in CASES:
        fix = next(rule.fix for rule in RULES if rule.name == case.rule)
        found = [note for note in planted.notes if note.policy == case.rule and case.says.split("$")[0] in note.message]
        if case.rule != "cost-within-budget":
            found = [note for note in found if note.resource.endswith(f": {case.bad[-1].name}")]
        if not any(note.level == "mandatory" and fix in note.message for note in found):
            silent.append(case.rule)
    assert silent == [], planted.output[-6000:]
    assert "Traceback" not in planted.output
    # An unknown value is a note and no violation, whatever the policy's level.
    (unknown,) = [
        note for note in planted.notes if note.policy == "image-pinned" and note.resource.endswith(": unknown")
    ]
    assert unknown.level == "advisory"
    assert "spec.template.spec.containers[0].image" in unknown.message


def test_a_wrong_setting_is_said_before_anything_is_made(tmp_path: Path) -> None:
    stack = planted_stack(tmp_path, []).start()
    try:
        levels = written(tmp_path, {"max-nodes": {"enforcementLevel": "mandatory", "max_nodes": "many"}})
        log = ("--policy-pack", str(PACK), "--policy-pack-config", str(levels))
        done = stack.run("preview", *log, check=False)
    finally:
        stack.stop()
    assert done.returncode != 0
    assert "max_nodes" in done.stdout + done.stderr


def levels_for(example: Path) -> str:
    return "prod" if "prod" in example.name else "dev"


@pytest.fixture
def reachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A kubeconfig whose API server accepts connections: what `cloud: local` asks of it first."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        file = tmp_path / "kubeconfig"
        clusters = [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{server.getsockname()[1]}"}}]
        contexts = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        file.write_text(yaml.safe_dump({"current-context": "c", "clusters": clusters, "contexts": contexts}))
        monkeypatch.setenv("INFERENCE_PLATFORM_KUBECONFIG", str(file))
        yield file


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_example_environments_keep_to_every_policy(example: Path, tmp_path: Path, reachable: Path) -> None:
    environment = yaml.safe_load(example.read_text())["config"]["inference-platform:environment"]
    cloud = environment["cloud"]
    if cloud in {"aws", "azure", "gcp"} and (reason := sdk_missing(cloud)):
        pytest.skip(reason)
    folder = tmp_path / "stack"
    folder.mkdir()
    stack = CloudStack(folder, packages_of(cloud), environment, kubeconfig=reachable).start()
    try:
        run = preview(stack, PACK / "levels" / f"{levels_for(example)}.json")
    finally:
        stack.stop()
    assert run.status == 0, run.output
    assert [note for note in run.notes if note.level == "mandatory"] == []
    # What a preview cannot know is all that may be noted.
    assert [note for note in run.notes if "can't run policy" not in note.message] == []


def test_the_levels_are_those_of_the_reference() -> None:
    assert sorted(file.stem for file in (PACK / "levels").glob("*.json")) == sorted(ENVIRONMENTS)
