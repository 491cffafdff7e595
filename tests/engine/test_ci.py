"""The steps of a user's CI, run as CI runs them: in a fresh clone, with an own backend.

The API server only accepts connections, so nothing can be deployed and drift cannot be read: `ci/deploy.sh` is shown to
be stopped by a policy, `ci/drift.sh` to fail where the stack is not what it should be.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from local.layout import REPOSITORY
from local.pulumi_cli import Pulumi

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        not (REPOSITORY / "build" / "policy-venv").exists(), reason="the pack's environment: make policy-venv"
    ),
]


@dataclass(frozen=True)
class Clone:
    """A fresh clone with a stack `dev`."""

    folder: Path
    variables: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False, timeout=300
        )

    def change(self, **values: object) -> None:
        """Change the environment, as a pull request does."""
        path = self.folder / "Pulumi.dev.yaml"
        document = yaml.safe_load(path.read_text())
        environment = document["config"]["inference-platform:environment"]
        for pool in environment["node_pools"]:
            pool.update(values)
        path.write_text(yaml.safe_dump(document))


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--shared", str(REPOSITORY), str(folder)], check=True)
    (folder / "build").symlink_to(REPOSITORY / "build")
    with socket.create_server(("127.0.0.1", 0)) as server:
        kubeconfig = tmp_path / "kubeconfig"
        clusters = [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{server.getsockname()[1]}"}}]
        contexts = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        kubeconfig.write_text(yaml.safe_dump({"current-context": "c", "clusters": clusters, "contexts": contexts}))
        pulumi = Pulumi("dev", tmp_path / "state", kubeconfig, program=folder)
        pulumi.prepare()
        folders = (str(Path(sys.executable).parent), str(REPOSITORY / "build" / "tools" / "bin"))
        path = os.pathsep.join([*folders, os.environ["PATH"]])
        yield Clone(folder, {**pulumi.environment(), "PATH": path})


def test_a_pull_request_is_previewed_priced_and_judged(clone: Clone) -> None:
    clone.change(max_nodes=5)
    done = clone.run("ci/pull_request.sh", "dev", "dev", "HEAD")
    assert done.returncode == 0, done.stdout + done.stderr
    comment = (clone.folder / "ci-output" / "comment.md").read_text()
    assert "### `dev`: :white_check_mark: can be deployed" in comment
    assert "| at its largest | 13.80 | 23.01 | +9.20 |" in comment
    assert "to create" in comment
    assert "`pools[0].nodes_max`" in comment or "nodes_max" in comment


def test_a_mandatory_policy_fails_the_step_and_is_in_the_comment(clone: Clone) -> None:
    done = clone.run("ci/pull_request.sh", "dev", "prod", "HEAD")
    assert done.returncode != 0
    comment = (clone.folder / "ci-output" / "comment.md").read_text()
    assert "a mandatory policy objects" in comment
    assert "scale-to-zero" in comment
    deployed = clone.run("ci/deploy.sh", "dev", "prod")
    assert deployed.returncode != 0
    assert "[mandatory]" in deployed.stdout + deployed.stderr


def test_a_broken_configuration_ends_before_the_engine_starts(clone: Clone) -> None:
    clone.change(instance_type="g6.13xlarge")
    done = clone.run("ci/pull_request.sh", "dev", "dev", "HEAD")
    assert done.returncode == 1
    assert "node_pools[0].instance_type" in done.stderr
    assert not (clone.folder / "ci-output" / "comment.md").exists()


def test_a_stack_that_is_not_as_described_has_drifted(clone: Clone) -> None:
    done = clone.run("ci/drift.sh", "dev")
    assert done.returncode == 1
    assert (clone.folder / "ci-output" / "drift.txt").read_text() in done.stdout
