"""Secrets of an environment in somebody else's cluster: in nothing that the real engine says or keeps in plain text.

Planted: the kubeconfig that a platform team's stack hands over, which that stack does not even mark as a secret, and
the password of Grafana's administrator. The providers are doubles: what they get is checked, not what a cluster makes
of it.
"""

from __future__ import annotations

import copy
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.layout import tool
from tests.engine.cloud_stack import CloudStack, packages_of, write_program
from tests.engine.test_existing_environment import ENVIRONMENT, ORGANIZATION, PLATFORM, kubeconfig
from tests.planted import found_in

__all__ = ["kubeconfig"]

pytestmark = pytest.mark.engine

PLANTED = {
    "another stack's kubeconfig": "planted-token-of-another-stacks-kubeconfig",
    "Grafana's password": "planted-password-of-grafanas-administrator",
}
ADMIN = {"admin-user": "administrator", "admin-password": PLANTED["Grafana's password"]}


@dataclass(frozen=True)
class Said:
    """What came of the commands.

    Attributes:
        stack: the environment's, deployed.
        texts: both streams of each command, by its name.
        platform: name of the other team's stack, whose own state is that team's business.
        folder: of state and configuration.
    """

    stack: CloudStack
    texts: dict[str, str]
    platform: str
    folder: Path


def set_secret(stack: CloudStack, file: Path, key: str, value: str) -> None:
    """As the documentation says; the value comes through the standard input."""
    path = f'inference-platform:secrets["grafana"]["{key}"]'
    where = ["--stack", stack.name, "--config-file", str(file), "--non-interactive", "-C", str(stack.program)]
    command = [tool("pulumi"), "config", "set", "--secret", "--path", path, *where]
    subprocess.run(command, env=stack.variables(), input=value, text=True, check=True, capture_output=True)


@pytest.fixture
def said(tmp_path: Path, kubeconfig: Path) -> Iterator[Said]:
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"]["token"] = PLANTED["another stack's kubeconfig"]
    kubeconfig.write_text(yaml.safe_dump(document))
    program = write_program(tmp_path / "program", PLATFORM.replace("KUBECONFIG", str(kubeconfig)))
    platform = CloudStack(tmp_path, ["kubernetes"], program=program, name="platform").start()
    environment: dict[str, Any] = {
        **copy.deepcopy(ENVIRONMENT),
        "existing": {"stack": f"{ORGANIZATION}/small/platform"},
        "secrets": [{"name": "grafana", "keys": sorted(ADMIN)}],
        "observability": {"grafana_admin_secret": "grafana"},
    }
    stack = CloudStack(tmp_path, packages_of("existing"), environment).start()
    try:
        platform.up()
        for key, value in ADMIN.items():
            set_secret(stack, tmp_path / f"Pulumi.{stack.name}.yaml", key, value)
        commands = {
            "preview": ["preview"],
            "preview --diff": ["preview", "--diff"],
            "preview --json": ["preview", "--json"],
            "up": ["up", "--yes", "--skip-preview", "--diff", "--logtostderr", "-v=3"],
            "preview again": ["preview", "--json", "--expect-no-changes"],
            "refresh": ["refresh", "--yes", "--skip-preview", "--diff"],
            "output": ["stack", "output", "--json"],
            "export": ["stack", "export"],
            "history": ["stack", "history", "--json"],
        }
        texts = {}
        for name, command in commands.items():
            done = stack.run(*command)
            texts[name] = done.stdout + done.stderr
        yield Said(stack, texts, platform.name, tmp_path)
        stack.destroy()
    finally:
        stack.stop()
        platform.stop()


def test_nothing_says_or_keeps_what_was_planted(said: Said) -> None:
    """Previews, progress, verbose logs, outputs, history, the exported state; and all files, byte for byte."""
    have_been_in_use(said)
    assert {name: found for name, text in said.texts.items() if (found := found_in(text, PLANTED))} == {}
    assert all(len(text) > 100 for text in said.texts.values()), "something was said"
    state = said.folder / "state"
    kept = [path for path in state.rglob("*") if path.is_file() and said.platform not in path.name]
    kept.append(said.folder / f"Pulumi.{said.stack.name}.yaml")
    assert any(path.name == f"{said.stack.name}.json" for path in kept)
    texts = {str(path): path.read_text(errors="replace") for path in kept}
    assert {name: found for name, text in texts.items() if (found := found_in(text, PLANTED))} == {}


def have_been_in_use(said: Said) -> None:
    """The search would find them: the other stack's state has one in plain text, and the cluster's Secret the other."""
    platform = (said.folder / "state").rglob(f"{said.platform}.json")
    assert any(found_in(path.read_text(), PLANTED) == ["another stack's kubeconfig"] for path in platform)
    outputs = said.stack.outputs()
    assert found_in(outputs["kubeconfig"], PLANTED) == ["another stack's kubeconfig"]
    (secret,) = [thing for thing in said.stack.world.things() if thing.type == "kubernetes:core/v1:Secret"]
    assert found_in(str(secret.inputs), PLANTED) == ["Grafana's password"]
    (release,) = [
        thing
        for thing in said.stack.world.things()
        if thing.type.endswith(":Release") and thing.inputs["name"] == "kube-prometheus-stack"
    ]
    assert release.inputs["values"]["grafana"]["admin"] == {"existingSecret": "grafana"}
