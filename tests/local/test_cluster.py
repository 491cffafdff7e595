"""The embedded cluster itself: real scheduling, real access control, and what is left of it: nothing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod, Secret

from local import cluster
from local.layout import ClusterFiles
from tests.local.conftest import Environment, until

pytestmark = pytest.mark.local


def test_nothing_in_its_folder_can_be_read_by_others(running_cluster: ClusterFiles) -> None:
    """Keys and kubeconfigs are the owner's alone."""
    assert stat.S_IMODE(running_cluster.root.stat().st_mode) & 0o077 == 0


def test_a_process_has_only_its_own_rights(running_cluster: ClusterFiles) -> None:
    """Prometheus may list pods and may not read secrets: RBAC is on."""
    single = KubeConfig.from_file(str(running_cluster.kubeconfig_of("prometheus"))).get()
    assert single is not None
    port = cluster.ports(running_cluster).api
    single.cluster.server = f"https://127.0.0.1:{port}"
    client = Client(config=single)
    assert isinstance(list(client.list(Pod, namespace="*")), list)
    with pytest.raises(ApiError) as error:
        list(client.list(Secret, namespace="kube-system"))
    assert error.value.status.code == 403


def test_nodes_have_the_gpus_of_their_pool(environment: Environment) -> None:
    """The scheduler sees simulated GPUs exactly as a device plugin would report real ones."""
    nodes = {node.metadata.name: node for node in environment.client.list(Node) if node.metadata}
    gpus = {
        name: (node.status.allocatable or {}).get("nvidia.com/gpu")
        for name, node in nodes.items()
        if node.status is not None
    }
    assert sorted(value for value in gpus.values() if value) == ["4", "4", "4"]


def test_stopping_leaves_no_process_and_no_mount(tmp_path: Path) -> None:
    """Started and stopped in a folder of its own, also when its guard was killed before."""
    files = ClusterFiles(tmp_path / "c")
    cluster.up(files, gateway_port=0)
    guard = cluster.guard_pid(files)
    assert guard is not None
    os.kill(guard, signal.SIGKILL)
    until(lambda: cluster.guard_pid(files) is None, 5, "the guard gone")
    assert cluster.namespace_pid(files) is not None
    cluster.down(files)
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [line for line in listing.splitlines() if str(files.root) in line] == []
    assert str(files.root) not in Path("/proc/self/mountinfo").read_text()
    assert not files.state.exists()


def test_a_second_deployment_has_nothing_to_do(environment: Environment) -> None:
    """What we send is what the API keeps: no controller writes back something else."""
    environment.pulumi.run("preview", "--expect-no-changes", "--stack", environment.pulumi.stack)


@pytest.mark.parametrize("images", [["nginx:1.29"], ["nginx:1.29", "haproxy:2.8.25"]], ids=["unknown", "mixed"])
def test_a_pod_with_an_unknown_image_gets_a_fake_life(environment: Environment, images: list[str]) -> None:
    """KWOK plays it from start to end; no process runs for it, whatever else is in the pod."""
    name = f"fake-{len(images)}"
    containers = [Container(name=f"c{index}", image=image) for index, image in enumerate(images)]
    pod = Pod(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PodSpec(containers=containers, automountServiceAccountToken=False),
    )
    environment.client.create(pod)

    def phase() -> str | None:
        status = environment.client.get(Pod, name, namespace="default").status
        return status.phase if status else None

    until(lambda: phase() == "Running", 10, f"{name} running")
    environment.client.delete(Pod, name, namespace="default")
    until(
        lambda: (
            name
            not in {
                found.metadata.name for found in environment.client.list(Pod, namespace="default") if found.metadata
            }
        ),
        10,
        f"{name} gone",
    )
