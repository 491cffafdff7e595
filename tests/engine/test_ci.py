"""The steps of a user's CI, run as CI runs them: in a fresh clone, with an own backend.

The API server only accepts connections, so nothing can be deployed and drift cannot be read: `ci/deploy.sh` is shown to
be stopped by a policy, `ci/drift.sh` to fail where the stack is not what it should be. `tests/local/test_ci_steps.py`
deploys.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from local.layout import REPOSITORY
from tests.clone import Clone

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(
        not (REPOSITORY / "build" / "policy-venv").exists(), reason="the pack's environment: make policy-venv"
    ),
]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kubeconfig = tmp_path / "kubeconfig"
        clusters = [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{server.getsockname()[1]}"}}]
        contexts = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
        kubeconfig.write_text(yaml.safe_dump({"current-context": "c", "clusters": clusters, "contexts": contexts}))
        yield Clone.make(tmp_path, kubeconfig)


def test_a_pull_request_is_previewed_priced_and_judged(clone: Clone) -> None:
    clone.change_pools(max_nodes=5)
    done = clone.run("ci/pull_request.sh", "dev", "dev", "HEAD")
    assert done.returncode == 0, done.stdout + done.stderr
    comment = clone.result("comment.md")
    assert "### `dev`: :white_check_mark: can be deployed" in comment
    assert "| at its largest | 13.80 | 23.01 | +9.20 |" in comment
    assert "to create" in comment
    assert "`pools[0].nodes_max`" in comment or "nodes_max" in comment


def test_a_mandatory_policy_fails_the_step_and_is_in_the_comment(clone: Clone) -> None:
    done = clone.run("ci/pull_request.sh", "dev", "prod", "HEAD")
    assert done.returncode != 0
    comment = clone.result("comment.md")
    assert "a mandatory policy objects" in comment
    assert "scale-to-zero" in comment
    deployed = clone.run("ci/deploy.sh", "dev", "prod")
    assert deployed.returncode != 0
    assert "[mandatory]" in deployed.stdout + deployed.stderr


def test_a_broken_configuration_ends_before_the_engine_starts(clone: Clone) -> None:
    clone.change_pools(instance_type="g6.13xlarge")
    done = clone.run("ci/pull_request.sh", "dev", "dev", "HEAD")
    assert done.returncode == 1
    assert "node_pools[0].instance_type" in done.stderr
    assert not (clone.folder / "ci-output" / "comment.md").exists()


def test_a_stack_that_is_not_as_described_has_drifted(clone: Clone) -> None:
    done = clone.run("ci/drift.sh", "dev")
    assert done.returncode == 1
    assert clone.result("drift.txt") in done.stdout
