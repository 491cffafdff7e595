"""What probes and lifecycle hooks do: an HTTP request, a TCP connection, a command, a pause."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import aiohttp
from lightkube.models.core_v1 import (
    Container,
    ExecAction,
    HTTPGetAction,
    LifecycleHandler,
    Probe,
    TCPSocketAction,
)
from yarl import URL

from local.node_agent.expansion import expand
from local.node_agent.fields import ContainerConfigError
from local.node_agent.images import ImageProgram
from local.node_agent.launch import Launch
from local.node_agent.probes import ContainerProbe, Outcome, ProbeKind, ProbeTiming
from local.node_agent.processes import Process

FIRST_BAD_STATUS = 400
FIRST_GOOD_STATUS = 200
# The kubelet keeps 10 KiB of a probe's output; the start of it is what a person reads.
MESSAGE_BYTES = 1024
HEADERS = {"User-Agent": "kube-probe/node-agent", "Accept": "*/*"}


def http_client() -> aiohttp.ClientSession:
    """A client for probes: a fresh connection each time, certificates not checked, as the kubelet does."""
    connector = aiohttp.TCPConnector(force_close=True, ssl=False, limit=0)
    return aiohttp.ClientSession(connector=connector, headers=HEADERS, trust_env=False)


class Actions:
    """Runs the actions of one start of a container."""

    def __init__(
        self,
        container: Container,
        program: ImageProgram,
        launch: Launch,
        pod_ip: str,
        http: aiohttp.ClientSession,
    ) -> None:
        self._container = container
        self._program = program
        self._launch = launch
        self._pod_ip = pod_ip
        self._http = http
        # Only literal values: the kubelet expands no more in a probe (ExpandContainerCommandOnlyStatic).
        self._literals = {variable.name: variable.value or "" for variable in container.env or []}

    def probes(self) -> dict[ProbeKind, ContainerProbe]:
        """The container's probes, ready to run."""
        described = {
            ProbeKind.STARTUP: self._container.startupProbe,
            ProbeKind.LIVENESS: self._container.livenessProbe,
            ProbeKind.READINESS: self._container.readinessProbe,
        }
        return {kind: self._probe(probe) for kind, probe in described.items() if probe is not None}

    async def run_hook(self, handler: LifecycleHandler) -> Outcome:
        """Run a lifecycle hook to its end; there is no timeout but the caller's."""
        if handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
            return Outcome(True)
        if handler.exec is not None:
            return await self._execute(handler.exec.command or [])
        try:
            return await self._ask(handler)
        except ContainerConfigError as error:
            return Outcome(False, str(error))

    def _probe(self, probe: Probe) -> ContainerProbe:
        timing = ProbeTiming.of(probe)

        async def check() -> Outcome:
            try:
                async with asyncio.timeout(timing.timeout):
                    return await self._attempt(probe)
            except TimeoutError:
                return Outcome(False, f"no answer within {timing.timeout:g} s")
            except ContainerConfigError as error:
                return Outcome(False, str(error))

        return ContainerProbe(timing, check)

    async def _attempt(self, probe: Probe) -> Outcome:
        if probe.exec is not None:
            command = [expand(word, self._literals) for word in probe.exec.command or []]
            return await self._execute(command)
        return await self._ask(probe)

    async def _ask(self, handler: Probe | LifecycleHandler) -> Outcome:
        if handler.httpGet is not None:
            return await self._get(handler.httpGet)
        if handler.tcpSocket is not None:
            return await self._connect(handler.tcpSocket)
        return Outcome(False, "no action that is built on the local cloud")

    async def _get(self, action: HTTPGetAction) -> Outcome:
        host = action.host or self._pod_ip
        address = f"{(action.scheme or 'HTTP').lower()}://{host}:{self._port(action.port)}"
        path = action.path or "/"
        url = URL(address + (path if path.startswith("/") else f"/{path}"), encoded=True)
        headers = {header.name: header.value for header in action.httpHeaders or []}
        try:
            async with self._http.get(url, headers=headers, allow_redirects=False) as response:
                if FIRST_GOOD_STATUS <= response.status < FIRST_BAD_STATUS:
                    return Outcome(True)
                text = await response.content.read(MESSAGE_BYTES)
        except (aiohttp.ClientError, OSError) as error:
            return Outcome(False, f'Get "{url}": {error}')
        return Outcome(False, f"HTTP status {response.status}: {text.decode(errors='replace').strip()}")

    async def _connect(self, action: TCPSocketAction) -> Outcome:
        host, port = action.host or self._pod_ip, self._port(action.port)
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError as error:
            return Outcome(False, f"dial tcp {host}:{port}: {error}")
        writer.close()
        return Outcome(True)

    async def _execute(self, command: Sequence[str]) -> Outcome:
        """Run a command as the container would see it; it is killed when the caller gives up."""
        words = self._program.on_this_machine([self._launch.paths.rewrite(word) for word in command])
        output = os.memfd_create("output")
        try:
            process = Process.spawn(words, self._launch.env, self._launch.folder, output)
            try:
                code = await process.wait()
            finally:
                process.kill()
            text = os.pread(output, MESSAGE_BYTES, 0).decode(errors="replace").strip()
        except OSError as error:
            return Outcome(False, str(error))
        finally:
            os.close(output)
        return Outcome(True) if code == 0 else Outcome(False, f"exit code {code}: {text}")

    def _port(self, port: int | str) -> int:
        """A port by number, or by the name that the container gives it."""
        if str(port).isdigit():
            return int(port)
        for named in self._container.ports or []:
            if named.name == port:
                return named.containerPort
        raise ContainerConfigError(f"couldn't find port {port} of container {self._container.name}")


def reject_unbuilt(container: Container) -> None:
    """Refuse what would otherwise be ignored without a word.

    Raises:
        ContainerConfigError: the container asks for an action that is not built.
    """
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe: Probe | None = getattr(container, name)
        if probe is not None and not _built(probe.exec, probe.httpGet, probe.tcpSocket):
            raise ContainerConfigError(f"{name}: only exec, httpGet and tcpSocket are built on the local cloud")


def _built(*actions: ExecAction | HTTPGetAction | TCPSocketAction | None) -> bool:
    return any(action is not None for action in actions)
