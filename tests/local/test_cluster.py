"""The embedded cluster itself: real scheduling, real access control, and its recovery from the death of its parts."""

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
from tests.local.client import ask_many
from tests.local.conftest import Environment, until

pytestmark = pytest.mark.local

# Each in turn is killed while the others go on.
PROCESSES = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "coredns",
    "kwok",
    "node-agent",
    "service-proxy",
    "forwarder",
    "prometheus",
    "keda-operator",
    "keda-metrics-apiserver",
    "keda-http-interceptor",
    "keda-http-external-scaler",
    "keda-http-operator",
]


def host_pid(files: ClusterFiles, process: str) -> int:
    """Process id on the host of a supervised process, by its id inside the namespace."""
    inside = cluster.status(files)["processes"][process]["pid"]
    parent = int((files.run / "cluster.pid").read_text())
    first = int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])
    namespace = Path(f"/proc/{first}/ns/pid").readlink()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "ns" / "pid").readlink() != namespace:
                continue
            line = next(text for text in (entry / "status").read_text().splitlines() if text.startswith("NSpid:"))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if int(line.split()[-1]) == inside:
            return int(entry.name)
    raise AssertionError(f"{process} is not running")


def test_nothing_in_its_folder_can_be_read_by_others(running_cluster: ClusterFiles) -> None:
    """Keys and kubeconfigs are the owner's alone."""
    assert stat.S_IMODE(running_cluster.root.stat().st_mode) & 0o077 == 0


def test_a_process_has_only_its_own_rights(running_cluster: ClusterFiles) -> None:
    """Prometheus may list pods and may not read secrets: RBAC is on."""
    config = KubeConfig.from_file(str(running_cluster.kubeconfig_of("prometheus")))
    port = cluster.ports(running_cluster).api
    single = config.get()
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


@pytest.mark.parametrize("process", PROCESSES)
def test_the_death_of_any_one_process_is_survived(environment: Environment, process: str) -> None:
    """It is started again, and the environment answers as before."""
    restarts = cluster.status(environment.files)["processes"][process]["restarts"]
    os.kill(host_pid(environment.files, process), signal.SIGKILL)
    until(
        lambda: cluster.status(environment.files)["processes"][process]["restarts"] == restarts + 1,
        10,
        f"{process} noticed dead",
    )
    until(lambda: cluster.status(environment.files)["ready"], 30, f"the cluster ready again without {process}")
    until(lambda: ask_many(environment.url, "code", 1)[0].complete, 60, "an answer")


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
