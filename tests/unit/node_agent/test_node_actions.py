"""What probes and hooks do: HTTP, TCP, commands.

Not proven here: HTTPS probes, and behaviour under a kubelet.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from lightkube.models.core_v1 import LifecycleHandler

from local.node_agent.actions import Actions, http_client, reject_unbuilt
from local.node_agent.fields import ContainerConfigError, spec
from local.node_agent.launch import Launch
from local.node_agent.paths import PathMap
from local.node_agent.probes import Outcome, ProbeKind
from local.node_agent.processes import ProcessIdentity
from tests.unit.node_agent.node_doubles import TABLE, eventually, make_pod, parsed

pytestmark = pytest.mark.unit

POD_IP = "127.77.0.9"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with http_client() as client:
        yield client


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """A server on the pod's address: /ok, /bad, /away, /slow, /headers; gives its port."""

    async def slow(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    async def headers(request: web.Request) -> web.Response:
        good = request.headers.get("X-Probe") == "yes" and request.query_string == "full=1"
        return web.Response(status=200 if good else 400)

    async def fixed(request: web.Request) -> web.Response:
        status, text = {"/ok": (200, "fine"), "/bad": (503, "not yet"), "/away": (302, "")}[request.path]
        return web.Response(status=status, text=text)

    app = web.Application()
    for path in ("/ok", "/bad", "/away"):
        app.router.add_get(path, fixed)
    app.router.add_get("/slow", slow)
    app.router.add_get("/headers", headers)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, POD_IP, 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def actions(http: aiohttp.ClientSession, folder: Path, **container: Any) -> Actions:
    program = TABLE.images["test/program"]
    env = {"PATH": os.environ["PATH"], "POD_IP": POD_IP}
    launch = Launch(["true"], env, folder, PathMap({"/etc/app": folder}))
    return Actions(spec(make_pod(container=container)).containers[0], program, launch, POD_IP, http)


async def attempt(http: aiohttp.ClientSession, folder: Path, probe: dict[str, Any], **container: Any) -> Outcome:
    """One attempt of a readiness probe."""
    probes = actions(http, folder, readinessProbe=probe, **container).probes()
    assert list(probes) == [ProbeKind.READINESS]
    return await probes[ProbeKind.READINESS].check()


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/ok", Outcome(True)),
        ("/away", Outcome(True)),
        ("/bad", Outcome(False, "HTTP status 503: not yet")),
        ("/slow", Outcome(False, "no answer within 1 s")),
    ],
)
async def test_http(http: aiohttp.ClientSession, tmp_path: Path, server: int, path: str, outcome: Outcome) -> None:
    assert await attempt(http, tmp_path, {"httpGet": {"path": path, "port": server}}) == outcome


async def test_http_with_a_named_port_headers_and_a_query(
    http: aiohttp.ClientSession, tmp_path: Path, server: int
) -> None:
    action = {"path": "/headers?full=1", "port": "web", "httpHeaders": [{"name": "X-Probe", "value": "yes"}]}
    ports = [{"name": "web", "containerPort": server}]
    assert await attempt(http, tmp_path, {"httpGet": action}, ports=ports) == Outcome(True)
    failed = await attempt(http, tmp_path, {"httpGet": action})
    assert failed == Outcome(False, "couldn't find port web of container main")


async def test_tcp(http: aiohttp.ClientSession, tmp_path: Path, server: int) -> None:
    assert await attempt(http, tmp_path, {"tcpSocket": {"port": server}}) == Outcome(True)
    refused = await attempt(http, tmp_path, {"tcpSocket": {"port": 1}})
    assert not refused.ok
    assert refused.message.startswith(f"dial tcp {POD_IP}:1: ")
    refused = await attempt(http, tmp_path, {"httpGet": {"path": "/", "port": 1}})
    assert not refused.ok
    assert refused.message.startswith(f'Get "http://{POD_IP}:1/": ')


async def test_a_command_has_the_containers_environment_programs_and_paths(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    (tmp_path / "here").touch()
    for command in (
        ["sh", "-c", f'test "$POD_IP" = {POD_IP}'],
        ["test", "-e", "/etc/app/here"],
        ["python3", "-c", f"import sys; raise SystemExit(sys.executable != {sys.executable!r})"],
    ):
        assert await attempt(http, tmp_path, {"exec": {"command": command}}) == Outcome(True)
    failed = await attempt(http, tmp_path, {"exec": {"command": ["sh", "-c", "echo out; echo err >&2; exit 4"]}})
    assert failed == Outcome(False, "exit code 4: out\nerr")
    missing = await attempt(http, tmp_path, {"exec": {"command": ["no-such-program"]}})
    assert missing == Outcome(False, 'exec: "no-such-program": executable file not found in $PATH')


async def test_a_probes_command_sees_literal_values_only(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    env = [
        {"name": "LITERAL", "value": "1"},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    command = ["sh", "-c", 'test "$0/$1/$2" = "1//\\$(NONE)"', "$(LITERAL)", "$(POD_IP)", "$(NONE)"]
    assert await attempt(http, tmp_path, {"exec": {"command": command}}, env=env) == Outcome(True)


async def test_a_command_that_takes_too_long_is_killed_with_its_children(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    command = ["sh", "-c", "sleep 1000 & echo $! > /etc/app/child; wait"]
    assert await attempt(http, tmp_path, {"exec": {"command": command}}) == Outcome(False, "no answer within 1 s")
    child = int((tmp_path / "child").read_text())
    await eventually(lambda: ProcessIdentity.of(child) is None, "the end of the child")


async def test_hooks(http: aiohttp.ClientSession, tmp_path: Path) -> None:
    def hook(**handler: Any) -> LifecycleHandler:
        return parsed(LifecycleHandler, handler)

    run = actions(http, tmp_path).run_hook
    assert await run(hook(sleep={"seconds": 0})) == Outcome(True)
    # Unlike a probe's, a hook's command is not expanded at all.
    assert await run(hook(exec={"command": ["test", "$(A)", "=", "$(A)"]})) == Outcome(True)
    assert await run(hook(httpGet={"port": "none"})) == Outcome(False, "couldn't find port none of container main")


def test_what_is_not_built_is_refused() -> None:
    container = spec(make_pod(container={"livenessProbe": {"grpc": {"port": 1}}})).containers[0]
    message = "^livenessProbe: only exec, httpGet and tcpSocket are built on the local cloud$"
    with pytest.raises(ContainerConfigError, match=message):
        reject_unbuilt(container)
