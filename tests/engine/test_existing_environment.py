"""Environments in a cluster that somebody else made, from nothing to nothing: the real engine over the provider double.

Proves what is made in the cluster and what is left alone, what a change changes, in which order it goes, and that a
platform team's stack can hand over its cluster. That it runs in a real cluster is in tests/local.
"""

from __future__ import annotations

import copy
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine import life
from tests.engine.cloud_stack import CloudStack, packages_of, write_program
from tests.engine.conftest import StackFactory

pytestmark = pytest.mark.engine

ENVIRONMENT: dict[str, Any] = {
    "cloud": "existing",
    "serving_stack": "manifests",
    "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 2}],
    "model_deployments": [
        {
            "name": "chat",
            "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"},
            "engine": {"max_model_len": 8192},
            "node_pool": "l4",
            "scaling": {"max_replicas": 3},
        }
    ],
}
PLATFORM = """
import pathlib, pulumi

pulumi.export("kubeconfig", pathlib.Path("KUBECONFIG").read_text())
"""
ORGANIZATION = "organization"
"""Of every stack in a state of one's own (Pulumi's DIY backends)."""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """Of a cluster that accepts connections, which is what is asked of it first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        file = tmp_path / "team.kubeconfig"
        server = f"https://127.0.0.1:{listener.getsockname()[1]}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "team",
            "contexts": [{"name": "team", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "very-secret"}}],
        }
        file.write_text(yaml.safe_dump(document))
        yield file


def test_the_life_of_an_environment_that_brings_what_the_cluster_lacks(
    cloud_stack: StackFactory, kubeconfig: Path
) -> None:
    environment = {**copy.deepcopy(ENVIRONMENT), "existing": {"kubeconfig": str(kubeconfig)}}
    stack = cloud_stack("existing", environment)
    stack.world.preexisting("kubernetes:core/v1:Namespace", "of-another-team")
    life.come_up(stack, own_process=True)
    # The way to the cluster is the file: no credential is in the state.
    assert stack.outputs()["kubeconfig"] == str(kubeconfig)
    assert "very-secret" not in str(stack.resources())
    environment["model_deployments"][0]["scaling"]["max_replicas"] = 4
    life.change_one_field(stack, environment, "chat-scaling", "spec.maxReplicaCount")
    life.autoscale(stack, "Deployment", "chat-engine", {"spec.replicas": 3})
    life.add_a_pool_and_a_model(stack, environment, made="added-engine")
    stack.destroy()
    assert [thing.id for thing in stack.world.things()] == ["of-another-team"]
    goes_in_order(stack)


def goes_in_order(stack: CloudStack) -> None:
    """Custom resources before their controllers, pods before what they stand on."""
    gone = stack.deleted
    assert gone("ScaledObject") < gone("Namespace", "inference-double")
    assert gone("Service", "gateway") < gone("Namespace", "inference-double")
    first_release = min(
        call.sequence for call in stack.world.changes() if call.operation == "delete" and "Release" in call.type
    )
    assert gone("Namespace", "inference-double") < first_release


def test_a_platform_teams_stack_hands_over_its_cluster(tmp_path: Path, kubeconfig: Path) -> None:
    """By an output that it does not even mark as a secret: in the environment's state it is one."""
    program = write_program(tmp_path / "program", PLATFORM.replace("KUBECONFIG", str(kubeconfig)))
    platform = CloudStack(tmp_path, ["kubernetes"], program=program, name="platform").start()
    reference = f"{ORGANIZATION}/small/platform"
    environment = {**copy.deepcopy(ENVIRONMENT), "existing": {"stack": reference}}
    stack = CloudStack(tmp_path, packages_of("existing"), environment).start()
    try:
        platform.up()
        life.come_up(stack, read=["double-stack"])
        life.say_where_it_is(stack, environment)
        assert "very-secret" not in stack.run("stack", "export").stdout
        life.add_a_pool_and_a_model(stack, environment, made="added-engine")
        stack.destroy()
    finally:
        stack.stop()
        platform.stop()
    goes_in_order(stack)
