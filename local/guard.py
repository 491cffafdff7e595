"""The cluster's one process outside its namespaces.

It binds the listening sockets on the host's 127.0.0.1, starts process 1 of the
namespaces, and starts it again if it dies; the state directory survives that.
If the guard itself dies, the cluster goes on without it; `up` then repairs it.
Asked to stop (SIGTERM, SIGINT), it kills process 1: the kernel ends everything
in the namespaces with it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from local import certificates, configuration
from local.forwarder import LISTENERS_VARIABLE
from local.layout import REPOSITORY, ClusterFiles
from local.node_agent.files import write

RESTART_PAUSE_SECONDS = 1.0
BACKLOG = 1024
START_FAILURE = 3


class PortBusyError(Exception):
    """Somebody else listens on a port that the cluster was told to use."""


def listen(name: str, port: int) -> socket.socket:
    """A listening socket on 127.0.0.1; port 0 lets the kernel choose.

    Raises:
        PortBusyError: names the port and what to do.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        raise PortBusyError(
            f"port {port} on 127.0.0.1 ({name}) is not free: {error.strerror}. End the program that listens there "
            f"(`ss -ltnp 'sport = :{port}'` shows it) or choose another port."
        ) from None
    listener.listen(BACKLOG)
    listener.set_inheritable(True)
    return listener


def open_listeners(files: ClusterFiles, gateway_port: int) -> dict[str, socket.socket]:
    """All listeners. Ports that the kernel chose once are used again, so that kubeconfigs stay valid."""
    remembered = files.root / "ports.json"
    wanted = {"api": 0, "prometheus": 0, "gateway": gateway_port}
    with contextlib.suppress(FileNotFoundError, ValueError):
        known = json.loads(remembered.read_text())
        wanted |= {name: known[name] for name in ("api", "prometheus") if name in known}
    listeners = {}
    for name, port in wanted.items():
        try:
            listeners[name] = listen(name, port)
        except PortBusyError:
            if name == "gateway":
                raise
            listeners[name] = listen(name, 0)
    ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
    write(remembered, json.dumps(ports))
    return listeners


def rotate_logs(files: ClusterFiles) -> None:
    """Keep the previous start's logs beside the new ones."""
    for path in set(files.logs.glob("*.log")) - {files.logs / "guard.log"}:
        path.replace(path.with_suffix(".log.1"))


def start_cluster(files: ClusterFiles, listeners: dict[str, socket.socket]) -> subprocess.Popen[bytes]:
    """Start process 1 in fresh namespaces."""
    files.status.unlink(missing_ok=True)
    pairs = ",".join(f"{name}:{listener.fileno()}" for name, listener in listeners.items())
    command = [sys.executable, "-m", "local.namespace", "--resolv-conf", str(files.run / "resolv.conf"), "--"]
    command += [sys.executable, "-m", "local.supervisor", "--root", str(files.root)]
    with (files.logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, LISTENERS_VARIABLE: pairs, "PYTHONPATH": str(REPOSITORY)},
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno() for listener in listeners.values()],
        )


class Stop(Exception):  # noqa: N818 - a request, not an error
    """The guard was asked to end."""


def stop(_number: int, _frame: FrameType | None) -> None:
    """Signal handler."""
    raise Stop


def guard(files: ClusterFiles, gateway_port: int) -> int:
    """Keep the cluster running until told to stop; the exit status."""
    files.create()
    # Held as long as this process lives: tells `up` and `down` that there is a guard, without a race.
    lock = (files.run / "guard.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("the cluster has a guard already", file=sys.stderr)
        return START_FAILURE
    write(files.run / "guard.pid", str(os.getpid()))
    try:
        listeners = open_listeners(files, gateway_port)
    except PortBusyError as error:
        print(error, file=sys.stderr)
        return START_FAILURE
    certificates.ensure(files.certificates)
    configuration.write_all(files, listeners["api"].getsockname()[1])
    rotate_logs(files)
    cluster: subprocess.Popen[bytes] | None = None
    try:
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        while True:
            cluster = start_cluster(files, listeners)
            write(files.run / "cluster.pid", str(cluster.pid))
            code = cluster.wait()
            print(f"the cluster's process 1 ended ({code}); starting it again", flush=True)
            time.sleep(RESTART_PAUSE_SECONDS)
    except Stop:
        if cluster is not None:
            cluster.terminate()
            cluster.wait()
        return 0
    finally:
        for name in ("guard.pid", "cluster.pid"):
            (files.run / name).unlink(missing_ok=True)


def main() -> int:
    """Command line: ``--root DIR --gateway-port PORT``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--gateway-port", type=int, required=True)
    options = parser.parse_args()
    return guard(ClusterFiles(options.root), options.gateway_port)


if __name__ == "__main__":
    sys.exit(main())
