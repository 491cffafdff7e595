"""The provider double under the real engine: a small cluster per cloud, through its whole life.

Proves that the engine, its Python host and the SDKs work with the double, that bad inputs are refused by the SDK's
types, and that the double behaves as the tables in local/provider_double/resources say. Proves nothing of the
clouds: the double is not one, and what a cloud validates beyond the types is for the contract tests.
"""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from local.layout import REPOSITORY
from local.provider_double.clouds import Account
from tests.engine import small_programs
from tests.engine.cloud_stack import CloudStack
from tests.engine.conftest import StackFactory

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Case:
    """A cloud and what its small program is expected to do."""

    cloud: str
    program: str
    cluster: str
    pool: str
    account: str
    size: str
    machine: str
    replaced_by: str
    given_name: bool


ACCOUNT = Account()
CASES = [
    Case("aws", small_programs.AWS, "eks/cluster:Cluster", "eks/nodeGroup:NodeGroup", ACCOUNT.aws_account,
         "scalingConfig.maxSize", "g6e.xlarge", "instanceTypes[0]", given_name=False),
    Case("azure", small_programs.AZURE, "ManagedCluster", "AgentPool", ACCOUNT.azure_subscription,
         "maxCount", "Standard_NC40ads_H100_v5", "vmSize", given_name=True),
    Case("gcp", small_programs.GCP, "container/cluster:Cluster", "container/nodePool:NodePool", ACCOUNT.gcp_project,
         "autoscaling.maxNodeCount", "spot", "nodeConfig.spot", given_name=False),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.cloud)
def test_a_whole_life(case: Case, small_program: StackFactory) -> None:
    """Preview, up, no change, refresh, one field, a replacement, destroy in the reverse of the dependencies."""
    stack = small_program(case.cloud, case.program)
    planned = stack.preview().operations
    assert set(planned) == {"create"}
    assert {"cluster", "pool", "keda", "scaled"} <= set(planned["create"])
    assert stack.world.made() == []

    created = [call.name for call in stack.up()]
    assert sorted(created) == sorted(set(planned["create"]) - {"small-double", "in-cluster"})
    stack.preview_no_changes()
    assert stack.refresh() == []

    outputs = stack.outputs()
    kubeconfig = yaml.safe_load(outputs["kubeconfig"])
    assert outputs["account"] == case.account
    assert kubeconfig["clusters"][0]["cluster"]["server"].startswith("https://")
    assert kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"] == ACCOUNT.certificate
    assert "small" in str(stack.world.find(case.cluster)[0].id)

    stack.configure(None, **{"small:size": 3})
    preview = stack.preview()
    assert preview.operations == {"update": ["pool"]}
    assert preview.diff("pool") == {case.size}
    assert [(call.operation, call.name) for call in stack.up()] == [("update", "pool")]

    stack.configure(None, **{"small:machine": case.machine})
    assert case.replaced_by in stack.preview().diff("pool")
    calls = [call for call in stack.up() if call.name == "pool"]
    # Two of one name cannot be there at once; with a made-up name the new one comes first.
    order = ["delete", "create"] if case.given_name else ["create", "delete"]
    assert [call.operation for call in calls] == order

    stack.destroy()
    assert stack.deleted("ScaledObject") < stack.deleted("Release") < stack.deleted("Namespace")
    assert stack.deleted("Namespace") < stack.deleted(case.cluster)
    assert stack.deleted(case.pool) < stack.deleted(case.cluster)


def test_inputs_that_the_sdk_does_not_know_are_refused(small_program: StackFactory) -> None:
    """Each with its path and the nearest name, in the preview; nothing is created."""
    source = """
import pulumi_aws as aws

aws.eks.NodeGroup(
    "pool", cluster_name="c", node_role_arn="arn:aws:iam::123456789012:role/r", subnet_ids=["subnet-1"],
    scaling_config={"desiredSize": "two", "min_size": 0, "max_sise": 3},
    taints=[{"key": "nvidia.com/gpu", "value": True}],
)
"""
    stack = small_program("aws", source)
    message = stack.up_fails()
    assert "scalingConfig.desiredSize" in message
    assert "expected a whole number, got 'two'" in message
    assert "no such property; did you mean maxSize?" in message
    assert "taints[0].effect" in message
    assert "required property is missing" in message
    assert "expected a string, got True" in message
    assert stack.world.made() == []


def test_a_failed_create_keeps_what_was_made_and_the_next_up_finishes(small_program: StackFactory) -> None:
    stack = small_program("gcp", small_programs.GCP)
    stack.fail("create", "NodePool", "pool", "ZONE_RESOURCE_POOL_EXHAUSTED")
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in stack.up_fails()
    made = {thing.name for thing in stack.world.made()}
    assert "cluster" in made
    assert "pool" not in made
    assert "pool" in {call.name for call in stack.up()}
    stack.preview_no_changes()
    stack.destroy()


def test_a_killed_engine_leaves_a_pending_create_that_refresh_clears(small_program: StackFactory) -> None:
    """Killed while the cloud still works on it, before it is there."""
    stack = small_program("aws", small_programs.AWS)
    slow = stack.slow("create", "NodeGroup")
    slow.message = "interrupted"
    process = stack.process("up", "--yes", "--skip-preview", start_new_session=True)
    try:
        assert slow.started.wait(120), "the engine never came to the node group"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        slow.release.set()
    pending = stack.pending()
    assert [operation["resource"]["urn"].rsplit("::", 1)[1] for operation in pending] == ["pool"]
    stack.run("cancel", "--yes")
    stack.refresh("--clear-pending-creates")
    assert stack.pending() == []
    assert "pool" in {call.name for call in stack.up()}
    stack.destroy()


def test_what_an_autoscaler_changed_is_left_alone_only_where_it_is_ignored(small_program: StackFactory) -> None:
    stack = small_program("aws", small_programs.AWS)
    stack.up()
    stack.world.drift("NodeGroup", "pool", {"scalingConfig.desiredSize": 1})
    stack.run("refresh", "--yes", "--skip-preview")
    (pool,) = [resource for resource in stack.resources() if resource["type"].endswith(":NodeGroup")]
    assert pool["inputs"]["scalingConfig"]["desiredSize"] == 1
    stack.preview_no_changes()
    stack.world.drift("NodeGroup", "pool", {"scalingConfig.maxSize": 9})
    stack.run("refresh", "--yes", "--skip-preview")
    assert stack.preview().diff("pool") == {"scalingConfig.maxSize"}
    stack.destroy()


def test_a_change_that_the_cloud_refuses_fails_in_the_update(small_program: StackFactory) -> None:
    """Azure's provider plans an update of the priority of a pool, and Azure does not take it."""
    stack = small_program("azure", small_programs.AZURE)
    stack.up()
    stack.configure(None, **{"small:priority": "Spot"})
    assert stack.preview().operations == {"update": ["pool"]}
    assert "PropertyChangeNotAllowed: scaleSetPriority" in stack.up_fails()


def test_a_resource_that_another_uses_cannot_be_deleted(small_program: StackFactory) -> None:
    """A dependency that the program hides from the engine shows as a refused delete, as at the cloud."""
    source = """
import pulumi_aws as aws

network = aws.ec2.Vpc("network", cidr_block="10.0.0.0/16")
"""
    stack: CloudStack = small_program("aws", source)
    stack.up()
    (network,) = stack.world.find("Vpc")
    stack.world.preexisting("aws:ec2/subnet:Subnet", "subnet-of-another-team", inputs={"vpcId": network.id})
    result = stack.run("destroy", "--yes", "--skip-preview", check=False)
    assert result.returncode != 0
    assert f"{network.id} is in use by aws:ec2/subnet:Subnet subnet-of-another-team" in result.stdout + result.stderr


def test_the_repositorys_own_program_over_the_kubernetes_double(cloud_stack: StackFactory, tmp_path: Path) -> None:
    """All objects of the dev stack pass the types, a second preview proposes nothing, and all of it goes again."""
    document = yaml.safe_load((REPOSITORY / "Pulumi.dev.yaml").read_text())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The local cloud asks whether something listens before it begins.
        server = f"https://127.0.0.1:{listener.getsockname()[1]}"
        kubeconfig = tmp_path / "kubeconfig"
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        clusters = [{"name": "c", "cluster": {"server": server}}]
        cluster = {"current-context": "c", "clusters": clusters, "contexts": [context], "users": [{"name": "u"}]}
        kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **cluster}))
        environment = document["config"]["inference-platform:environment"]
        stack = cloud_stack("local", environment, kubeconfig=kubeconfig)
        assert {"Deployment", "ScaledObject"} <= {call.type.rsplit(":", 1)[1] for call in stack.up()}
        stack.preview_no_changes()
        stack.destroy()
    assert stack.deleted("ScaledObject") < stack.deleted("Namespace")
