"""The embedded cluster itself: real scheduling, real access control, and what is left of it: nothing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest
from lightkube import ApiError, Client, KubeConfig
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
    assert cluster.orphan_pid(files) is not None
    cluster.down(files)
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [line for line in listing.splitlines() if str(files.root) in line] == []
    assert str(files.root) not in Path("/proc/self/mountinfo").read_text()
    assert not files.state.exists()
