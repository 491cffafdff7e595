"""Start, stop and observe an embedded cluster from the host."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.layout import REPOSITORY, ClusterFiles, tool

READY_DEADLINE_SECONDS = 60.0
STOP_DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.05


class ClusterError(Exception):
    """The cluster cannot be started or stopped; the message is for the user."""


@dataclass(frozen=True)
class Ports:
    """Ports on the host's 127.0.0.1."""

    api: int
    prometheus: int
    gateway: int


def guard_pid(files: ClusterFiles) -> int | None:
    """Process id of the running guard; None when there is none."""
    path = files.run / "guard.lock"
    if not path.exists():
        return None
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with contextlib.suppress(FileNotFoundError, ValueError):
                return int((files.run / "guard.pid").read_text())
    return None


def namespace_pid(files: ClusterFiles) -> int | None:
    """Parent of the cluster's process 1, which may outlive its guard; None when nothing runs."""
    with contextlib.suppress(OSError, ValueError):
        pid = int((files.run / "cluster.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        # A recorded id may have been given to another program since.
        if b"local.namespace" in command and str(files.root).encode() in command:
            return pid
    return None


def status(files: ClusterFiles) -> dict[str, Any]:
    """What the supervisor last reported; ``{"ready": False}`` when nothing runs."""
    # A machine that was switched off leaves the last report behind, and nothing of what it reports.
    if namespace_pid(files) is not None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            report: dict[str, Any] = json.loads(files.status.read_text())
            return report
    return {"ready": False, "uptime_s": 0.0, "error": "", "processes": {}}


def ports(files: ClusterFiles) -> Ports:
    """The ports of the running cluster.

    Raises:
        ClusterError: the cluster was never started.
    """
    try:
        return Ports(**json.loads((files.root / "ports.json").read_text()))
    except FileNotFoundError:
        raise ClusterError("the cluster was never started: run `make up`") from None


def check_requirements() -> None:
    """Fail early, with one line, on a machine that cannot run the cluster.

    Raises:
        ClusterError: names what is missing.
    """
    if not sys.platform.startswith("linux"):
        raise ClusterError(f"the embedded cluster needs Linux (network and process namespaces), not {sys.platform}")
    try:
        tool("kube-apiserver")
        tool("prometheus")
    except FileNotFoundError as error:
        raise ClusterError(str(error)) from None


def up(files: ClusterFiles, gateway_port: int, progress: Callable[[dict[str, Any]], None] = lambda _: None) -> float:
    """Start the cluster, or repair it, and wait until all of it is ready.

    Args:
        files: the cluster's folders.
        gateway_port: port on the host's 127.0.0.1 for the gateway.
        progress: called with each new status report.

    Returns:
        Seconds from the call to readiness; 0.0 if it was ready.

    Raises:
        ClusterError: it cannot start; what was begun is stopped again.
    """
    check_requirements()
    begun = time.monotonic()
    if guard_pid(files) is not None and status(files)["ready"] and ports(files).gateway == gateway_port:
        return 0.0
    stop(files)
    files.create()
    log = files.logs / "guard.log"
    with log.open("wb") as output:
        guard = subprocess.Popen(
            [sys.executable, "-m", "local.guard", "--root", str(files.root), "--gateway-port", str(gateway_port)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        await_ready(files, guard, progress)
    except ClusterError:
        stop(files)
        raise
    return time.monotonic() - begun


def await_ready(
    files: ClusterFiles, guard: subprocess.Popen[bytes], progress: Callable[[dict[str, Any]], None]
) -> None:
    """Wait until the supervisor reports that everything is ready."""
    deadline = time.monotonic() + READY_DEADLINE_SECONDS
    shown: dict[str, Any] = {}
    while time.monotonic() < deadline:
        if guard.poll() is not None:
            raise ClusterError((files.logs / "guard.log").read_text().strip() or "the guard ended without a word")
        report = status(files)
        if report != shown:
            progress(report)
            shown = report
        if report["ready"]:
            return
        failure = namespace_failure(files)
        if failure:
            raise ClusterError(failure)
        time.sleep(POLL_SECONDS)
    waiting = [
        f"{name} ({state['phase']})" for name, state in shown.get("processes", {}).items() if state["phase"] != "ready"
    ]
    raise ClusterError(
        f"not ready after {READY_DEADLINE_SECONDS:.0f} s: {', '.join(waiting) or 'no process started'}. "
        f"{shown.get('error', '')} Logs: {files.logs}"
    )


def namespace_failure(files: ClusterFiles) -> str:
    """Why the namespaces could not be made; "" if they could."""
    with contextlib.suppress(FileNotFoundError):
        lines = (files.logs / "supervisor.log").read_text().splitlines()
        return next((line.removeprefix("namespace: ") for line in lines if line.startswith("namespace: ")), "")
    return ""


def stop(files: ClusterFiles) -> None:
    """End the guard and everything in the namespaces; nothing to do is fine.

    Raises:
        ClusterError: a process does not end.
    """
    for find, number in ((guard_pid, signal.SIGTERM), (namespace_pid, signal.SIGTERM), (namespace_pid, signal.SIGKILL)):
        pid = find(files)
        if pid is None:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        await_end(pid)
    if (left := guard_pid(files) or namespace_pid(files)) is not None:
        raise ClusterError(f"process {left} does not end within {STOP_DEADLINE_SECONDS:.0f} s")
    for name in ("guard.pid", "cluster.pid", "status.json"):
        (files.run / name).unlink(missing_ok=True)


def await_end(pid: int) -> None:
    """Wait until a process is gone, or the deadline passes."""
    deadline = time.monotonic() + STOP_DEADLINE_SECONDS
    while time.monotonic() < deadline:
        try:
            # A zombie has ended; its parent has only not asked yet.
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(POLL_SECONDS)


def down(files: ClusterFiles) -> None:
    """Stop the cluster and delete what it stored; certificates and logs stay."""
    stop(files)
    shutil.rmtree(files.state, ignore_errors=True)
    shutil.rmtree(files.run, ignore_errors=True)
