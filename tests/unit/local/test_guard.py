"""The guard's listeners: remembered ports, busy ports.

Does not start a cluster.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from local.guard import PortBusyError, open_listeners, rotate_logs
from local.layout import ClusterFiles

pytestmark = pytest.mark.unit


@pytest.fixture
def files(tmp_path: Path) -> ClusterFiles:
    made = ClusterFiles(tmp_path / "cluster")
    made.create()
    return made


@pytest.fixture
def busy_port() -> int:
    """A port that this test itself listens on until it ends."""
    holder = socket.create_server(("127.0.0.1", 0))
    test_busy_ports.append(holder)
    port: int = holder.getsockname()[1]
    return port


test_busy_ports: list[socket.socket] = []


def close(listeners: dict[str, socket.socket]) -> None:
    for listener in listeners.values():
        listener.close()


def test_ports_that_were_chosen_once_are_used_again(files: ClusterFiles) -> None:
    first = open_listeners(files, 0)
    ports = {name: listener.getsockname()[1] for name, listener in first.items()}
    close(first)
    second = open_listeners(files, ports["gateway"])
    assert {name: listener.getsockname()[1] for name, listener in second.items()} == ports
    assert json.loads((files.root / "ports.json").read_text()) == ports
    close(second)


def test_a_busy_gateway_port_is_an_error_that_names_it(files: ClusterFiles, busy_port: int) -> None:
    with pytest.raises(PortBusyError, match=rf"port {busy_port} on 127\.0\.0\.1 \(gateway\) is not free"):
        open_listeners(files, busy_port)


def test_a_remembered_port_that_is_busy_is_replaced(files: ClusterFiles, busy_port: int) -> None:
    (files.root / "ports.json").write_text(json.dumps({"api": busy_port, "prometheus": 0, "gateway": 0}))
    listeners = open_listeners(files, 0)
    assert listeners["api"].getsockname()[1] != busy_port
    close(listeners)


def test_the_previous_starts_logs_are_kept_and_the_guards_own_is_left(files: ClusterFiles) -> None:
    (files.logs / "etcd.log").write_text("old")
    (files.logs / "guard.log").write_text("mine")
    rotate_logs(files)
    assert sorted(path.name for path in files.logs.iterdir()) == ["etcd.log.1", "guard.log"]
