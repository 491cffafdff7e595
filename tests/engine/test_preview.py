"""The real engine, its Python host and the real Kubernetes provider, without a cluster.

`pulumi preview` of the dev stack against an API server that only accepts connections: proves that the program
runs under the engine, what it registers under which parent, and how bad input is answered. Proves nothing of
what an API server would accept; the local tests do that.
"""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.layout import REPOSITORY, tool
from local.pulumi_cli import Pulumi

pytestmark = pytest.mark.engine

STACK = "render"


@dataclass(frozen=True)
class Rendered:
    """A stack whose objects are written to a folder instead of a cluster."""

    pulumi: Pulumi
    folder: Path

    def config(self, environment: dict[str, Any]) -> None:
        """Set the stack's configuration."""
        assert self.pulumi.config_file is not None
        document = {"config": {"inference-platform:environment": environment}}
        self.pulumi.config_file.write_text(yaml.safe_dump(document))

    def preview(self) -> subprocess.CompletedProcess[str]:
        """`pulumi preview --json`."""
        command = [tool("pulumi"), "preview", "--json", "--stack", STACK, "--non-interactive", "-C", str(REPOSITORY)]
        return subprocess.run(
            [*command, "--config-file", str(self.pulumi.config_file)],
            env=self.pulumi.environment(),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def api_port() -> Iterator[int]:
    """Something that accepts connections, as the program asks of an API server before it begins."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def stack(tmp_path: Path, api_port: int) -> Rendered:
    kubeconfig = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"https://127.0.0.1:{api_port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    document = {"current-context": "c", "clusters": [cluster], "contexts": [context], "users": [{"name": "u"}]}
    kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **document}))
    config_file = tmp_path / f"Pulumi.{STACK}.yaml"
    pulumi = Pulumi(STACK, tmp_path / "state", kubeconfig, config_file=config_file)
    pulumi.prepare()
    return Rendered(pulumi, tmp_path)


def dev_environment() -> dict[str, Any]:
    document = yaml.safe_load((REPOSITORY / "Pulumi.dev.yaml").read_text())
    environment: dict[str, Any] = document["config"]["inference-platform:environment"]
    return environment


def test_the_dev_stack_previews_and_every_object_has_a_component_as_parent(stack: Rendered) -> None:
    """Parents and URNs are what mocks cannot see."""
    stack.config(dev_environment())
    result = stack.preview()
    assert result.returncode == 0, result.stdout + result.stderr
    steps = json.loads(result.stdout)["steps"]
    states = [step["newState"] for step in steps]
    kubernetes = [state for state in states if state["type"].startswith("kubernetes:")]
    kinds = {state["type"].rsplit(":", 1)[1] for state in kubernetes}
    assert {"Deployment", "Service", "ScaledObject", "InterceptorRoute", "Node", "PodDisruptionBudget"} <= kinds
    orphans = [state["urn"] for state in kubernetes if "inference-platform:" not in state["parent"].split("::")[2]]
    # The namespace and what belongs to no component hang below the stack itself.
    assert [urn for urn in orphans if not urn.endswith(("::namespace", "::inference-render"))] == []


def test_no_kubeconfig_is_left_among_the_temporary_files(
    stack: Rendered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider writes one, with the key that it holds."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    stack.config(dev_environment())
    assert "inference-render" in stack.pulumi.run("preview", "--json", "--stack", STACK)
    assert list(scratch.rglob("*")) == []


def test_all_errors_come_at_once_without_a_traceback(stack: Rendered) -> None:
    """Each names its field; nothing is registered."""
    environment = dev_environment()
    environment["node_pools"][0]["instance_type"] = "g6.13xlarge"
    environment["model_deployments"][0]["scaling"]["max_replicas"] = -1
    environment["model_deployments"][1]["nmae"] = "x"
    stack.config(environment)
    result = stack.preview()
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "node_pools[0].instance_type" in output
    assert "g6.12xlarge" in output
    assert "model_deployments[0].scaling.max_replicas" in output
    assert "model_deployments[1].nmae" in output
    assert "Traceback" not in output


def test_a_hundred_mistakes_in_engine_arguments_are_named_in_less_than_five_seconds(stack: Rendered) -> None:
    """All that need no other pool, a model deployment each; processor time, so that load is no matter."""
    planted = tomllib.loads((REPOSITORY / "tests/unit/flags/planted.toml").read_text())["planted"]
    environment = dev_environment()
    model = environment["model_deployments"][0]
    alone = [item["args"] for item in planted if not {"gpu", "engine", "router_policy"} & set(item)]
    environment["model_deployments"] = [
        {**model, "name": f"model-{index}", "engine": {"extra_args": args}} for index, args in enumerate(alone)
    ]
    stack.config(environment)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = stack.preview()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "Traceback" not in output
    named = {index for index in range(len(alone)) if f"model_deployments[{index}].engine.extra_args." in output}
    assert (len(alone) >= 100, named) == (True, set(range(len(alone))))
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5


def test_an_unreachable_api_server_is_one_message(stack: Rendered, api_port: int) -> None:
    """The cluster is not running: say so, and what to do."""
    kubeconfig = stack.pulumi.kubeconfig
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    kubeconfig.write_text(kubeconfig.read_text().replace(str(api_port), str(port)))
    stack.config(dev_environment())
    result = stack.preview()
    output = result.stdout + result.stderr
    assert result.returncode != 0
    assert "make up" in output
    assert "Traceback" not in output
