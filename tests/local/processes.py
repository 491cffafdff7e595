"""The processes of a cluster, seen from the host."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local import cluster
from local.layout import ClusterFiles


@dataclass(frozen=True)
class Inhabitant:
    """A process in the cluster's namespaces.

    Attributes:
        host_pid: process id on the host.
        pid: process id inside.
        command: its arguments.
    """

    host_pid: int
    pid: int
    command: list[str]


def inhabitants(files: ClusterFiles) -> Iterator[Inhabitant]:
    """Every process of the cluster, process 1 first."""
    parent = int((files.run / "cluster.pid").read_text())
    first = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0]
    namespace = Path(f"/proc/{first}/ns/pid").readlink()
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            if (entry / "ns" / "pid").readlink() != namespace:
                continue
            lines = (entry / "status").read_text().splitlines()
            command = (entry / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        inside = next(line for line in lines if line.startswith("NSpid:")).split()[-1]
        yield Inhabitant(int(entry.name), int(inside), command)


def supervised(files: ClusterFiles, name: str) -> int:
    """Process id on the host of a supervised process."""
    inside = cluster.status(files)["processes"][name]["pid"]
    return next(process.host_pid for process in inhabitants(files) if process.pid == inside)


def engine_at(files: ClusterFiles, address: str) -> int:
    """Process id on the host of the engine that listens on a pod's address."""
    return next(
        process.host_pid
        for process in inhabitants(files)
        if "local.engine_simulator" in process.command and f"--host={address}" in process.command
    )
