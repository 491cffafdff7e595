"""Programs that pods of the node agent's tests run, and what the agent's state directory says of them."""

from __future__ import annotations

import json
from pathlib import Path

from local.node_agent.processes import ProcessIdentity
from tests.unit.node_agent.node_doubles import FakeApi, eventually

# Listens on the pod's address; on SIGTERM says so and ends. (It waits for the signal: a handler of
# Python's runs too late when the signal comes just before a system call.)
SERVER = """
import os, signal, socket, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
server = socket.create_server((os.environ["POD_IP"], 8000))
def serve():
    while True: server.accept()[0].close()
threading.Thread(target=serve, daemon=True).start()
print("listening", flush=True)
signal.sigwait({signal.SIGTERM})
print("SIGTERM", flush=True)
"""
# Says each SIGTERM and goes on.
STUBBORN = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("up", flush=True)
while signal.sigwait({signal.SIGTERM}): print("no", flush=True)
"""
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
TCP = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}


def log_of(state: Path, name: str, restart: int = 0, container: str = "main") -> str:
    found = list(state.glob(f"pods/shop_{name}_*/{container}/{restart}.log"))
    return found[0].read_text() if found else ""


def pid_of(state: Path, name: str) -> int:
    """The process of a pod's container, from the agent's record."""
    record = next(state.glob(f"pods/shop_{name}_*/record.json"))
    return int(json.loads(record.read_text())["containers"]["main"]["state"]["pid"])


def folders(state: Path) -> list[str]:
    return sorted(path.name for path in (state / "pods").iterdir())


def records(state: Path) -> list[Path]:
    """Pods that the agent has not forgotten."""
    return list(state.glob("pods/*/record.json"))


def alive(pid: int) -> bool:
    return ProcessIdentity.of(pid) is not None


async def is_ready(api: FakeApi, name: str) -> None:
    await eventually(lambda: api.condition(name, "Ready") == "True", f"{name} ready")
