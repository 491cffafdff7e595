"""Process 1 of the cluster's namespace: starts the processes, keeps them alive, reaps the rest.

A process starts as soon as what it needs is ready. One that dies is started
again at once, with growing pauses if it keeps dying; the others notice by their
broken connections and reconnect. Base objects are applied once the API server
is ready. The status file tells the outside what is going on; it is replaced in
one step at every change.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp

from local.forwarder import LISTENERS_VARIABLE
from local.layout import ClusterFiles
from local.objects import ObjectsError, apply_all, load
from local.process import Process
from local.processes import SPECIFICATIONS

POLL_SECONDS = 0.05
# A process that dies again within this time is started again more slowly.
QUICK_DEATH_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 5.0
OBJECTS = "objects"


@dataclass
class State:
    """What is known of one process, as the status file shows it.

    Attributes:
        pid: process id inside the namespace; 0 while it is not running.
        phase: ``waiting`` (for what it needs), ``starting``, ``ready`` or ``restarting``.
        restarts: how often it was started again.
        ready_after_s: seconds from the start of the cluster to its first readiness.
        last_exit: how it ended last, "" if never.
    """

    pid: int = 0
    phase: str = "waiting"
    restarts: int = 0
    ready_after_s: float = 0.0
    last_exit: str = ""


@dataclass
class Supervisor:
    """Runs all processes of one cluster."""

    files: ClusterFiles
    processes: list[Process]
    states: dict[str, State] = field(default_factory=dict)
    ready: dict[str, asyncio.Event] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    error: str = ""

    def __post_init__(self) -> None:
        self.states = {process.name: State() for process in self.processes}
        self.ready = {name: asyncio.Event() for name in [*self.states, OBJECTS]}

    async def run(self) -> None:
        """Start everything and never return."""
        tls = ssl.create_default_context(cafile=str(self.files.certificates / "ca.crt"))
        admin = self.files.certificates / "admin"
        tls.load_cert_chain(f"{admin}.crt", f"{admin}.key")
        connector = aiohttp.TCPConnector(ssl=tls, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(
                self.apply_objects(), *(self.keep_running(process, session) for process in self.processes)
            )

    async def apply_objects(self) -> None:
        """Put the base objects into the cluster; they are read while its API server starts."""
        objects = await asyncio.to_thread(load, self.files)
        await self.ready["kube-apiserver"].wait()
        while True:
            try:
                await apply_all(objects, self.files)
            except (ObjectsError, aiohttp.ClientError, TimeoutError) as error:
                self.error = f"base objects: {error}"
                self.publish()
                await asyncio.sleep(POLL_SECONDS)
            else:
                self.error = ""
                self.ready[OBJECTS].set()
                return

    async def keep_running(self, process: Process, session: aiohttp.ClientSession) -> None:
        """Start a process when it may, and again whenever it ends."""
        for name in process.needs:
            await self.ready[name].wait()
        state, pause = self.states[process.name], 0.0
        while True:
            started = time.monotonic()
            running = await self.start(process)
            state.pid, state.phase = running.pid, "starting"
            self.publish()
            watcher = asyncio.create_task(self.watch_readiness(process, session))
            code = await running.wait()
            watcher.cancel()
            state.pid, state.phase, state.restarts = 0, "restarting", state.restarts + 1
            state.last_exit = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            self.publish()
            print(f"{process.name} ended: {state.last_exit}; starting it again", flush=True)
            quick = time.monotonic() - started < QUICK_DEATH_SECONDS
            pause = min(max(pause * 2, 0.1), LONGEST_PAUSE_SECONDS) if quick else 0.0
            await asyncio.sleep(pause)

    async def start(self, process: Process) -> asyncio.subprocess.Process:
        """Start one process with a small environment and its own log."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.files.state),
            "LANG": "C.UTF-8",
            # Go programs: a smaller heap costs a little processor time, which idles here.
            "GOGC": "75",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PYTHONUNBUFFERED": "1",
            **process.environment,
        }
        listeners = environment.get(LISTENERS_VARIABLE, "")
        descriptors = [int(pair.split(":")[1]) for pair in listeners.split(",") if pair]
        with (self.files.logs / f"{process.name}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *process.command,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                start_new_session=True,
                cwd=self.files.state,
            )

    async def watch_readiness(self, process: Process, session: aiohttp.ClientSession) -> None:
        """Note when the process is ready."""
        # Another process gets ready: nobody here could set an event for it.
        while process.ready and not await is_ready(process.ready, session):  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        state = self.states[process.name]
        state.phase = "ready"
        if not self.ready[process.name].is_set():
            state.ready_after_s = round(time.monotonic() - self.begun, 2)
            self.ready[process.name].set()
        self.publish()

    def publish(self) -> None:
        """Replace the status file."""
        status = {
            "ready": all(event.is_set() for event in self.ready.values())
            and all(state.phase == "ready" for state in self.states.values()),
            "uptime_s": round(time.monotonic() - self.begun, 2),
            "error": self.error,
            "processes": {name: asdict(state) for name, state in self.states.items()},
        }
        fresh = self.files.status.with_suffix(".new")
        fresh.write_text(json.dumps(status))
        fresh.replace(self.files.status)


async def is_ready(target: str, session: aiohttp.ClientSession) -> bool:
    """Whether ``tcp://host:port`` accepts, or an HTTP URL answers without error."""
    try:
        if target.startswith("tcp://"):
            host, port = target.removeprefix("tcp://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return True
        async with session.get(target, timeout=aiohttp.ClientTimeout(total=2)) as response:
            return response.status < 400  # noqa: PLR2004 - HTTP errors
    except (OSError, aiohttp.ClientError, TimeoutError):
        return False


def reap_orphans(own: set[int]) -> None:
    """Collect ended processes that lost their parent, without taking our own children's status."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid in own:
                # asyncio collects this one; come back when it has.
                asyncio.get_running_loop().call_later(POLL_SECONDS, reap_orphans, own)
                return
            os.waitpid(ended.si_pid, 0)


async def supervise(files: ClusterFiles) -> None:
    """Run the cluster until this process is killed, and all others with it."""
    supervisor = Supervisor(files, [make(files) for make in SPECIFICATIONS])
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, lambda: reap_orphans({state.pid for state in supervisor.states.values()}))
    await supervisor.run()


def main() -> int:
    """Command line: ``--root DIR``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(supervise(ClusterFiles(options.root)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
