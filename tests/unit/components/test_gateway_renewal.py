"""The script that gives HAProxy a renewed certificate: the real shell and the real HAProxy, looking more often.

Does not prove that the image has the shell and the tools, nor that a Secret's new contents reach the volume.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web

from components.gateway.haproxy import render
from components.gateway.renewal import CHECK_SECONDS, start_script
from local.certificates import Authority, Identity, issue, new_authority
from tests.unit.components.test_haproxy import CONFIG, DEADLINE_SECONDS, HAPROXY, accepting, free_port

pytestmark = pytest.mark.unit

QUICK = 0.05
PIECES = 400
LAST = f"piece {PIECES - 1}\n".encode()


@dataclass
class Gateway:
    """HAProxy that ends TLS, before an upstream that answers slowly.

    Attributes:
        port: for clients.
        folder: of the certificate and what says how it goes.
        authority: that signs the certificates.
        process: the script's shell.
    """

    port: int
    folder: Path
    authority: Authority
    process: asyncio.subprocess.Process

    def certificate(self) -> bytes:
        """On the disk, as it goes over the wire."""
        return ssl.PEM_cert_to_DER_cert((self.folder / "tls.crt").read_text())

    def renew(self, *, key: bool = True) -> bytes:
        """A new certificate, with its key or without."""
        issue(self.authority, self.folder / "new", Identity("gateway"), server=True)
        if key:
            (self.folder / "new.key").replace(self.folder / "tls.crt.key")
        (self.folder / "new.crt").replace(self.folder / "tls.crt")
        return self.certificate()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection whose certificate has been checked."""
        context = ssl.create_default_context(cafile=str(self.folder / "authority.crt"))
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context)

    async def presented(self) -> bytes:
        """The certificate that a new connection gets, after an answer over it."""
        reader, writer = await self.connect()
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return found

    async def until_presented(self, certificate: bytes) -> int:
        """Ask until a connection gets this certificate; every answer on the way must come. How many came."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            answers = 1
            while await self.presented() != certificate:
                answers += 1
            return answers


async def slowly(request: web.Request) -> web.StreamResponse:
    """An answer in pieces, for two seconds and more."""
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in range(PIECES):
        await response.write(f"piece {piece}\n".encode())
        await asyncio.sleep(0.005)
    return response


@asynccontextmanager
async def gateway(folder: Path, drain_seconds: int = 60) -> AsyncIterator[Gateway]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", slowly)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = replace(
        CONFIG,
        interceptor_port=runner.addresses[0][1],
        port=free_port(),
        metrics_port=free_port(),
        certificate='"${CERTIFICATE}"',
        drain_seconds=drain_seconds,
    )
    (folder / "haproxy.cfg").write_text(render(config))
    text = start_script("CERTIFICATE", drain_seconds)
    assert f"sleep {CHECK_SECONDS};" in text
    (folder / "start.sh").write_text(text.replace(f"sleep {CHECK_SECONDS};", f"sleep {QUICK};"))
    made = Gateway(config.port, folder, new_authority("authority", folder / "authority"), None)  # type: ignore[arg-type]
    made.renew()
    with (folder / "log").open("wb") as log:
        made.process = await asyncio.create_subprocess_exec(
            "sh",
            str(folder / "start.sh"),
            "-f",
            str(folder / "haproxy.cfg"),
            env={
                "PATH": f"{HAPROXY.parent}:{os.environ['PATH']}",
                "POD_IP": "127.0.0.1",
                "CERTIFICATE": str(folder / "tls.crt"),
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await accepting(config.port, made.process)
        yield made
    finally:
        with suppress(ProcessLookupError):
            os.killpg(made.process.pid, signal.SIGKILL)
        await made.process.wait()
        await runner.cleanup()


async def test_a_renewed_certificate_costs_no_request(tmp_path: Path) -> None:
    """Nor one that takes longer than the drain: no pod is going."""
    async with gateway(tmp_path, drain_seconds=1) as made:
        old = await made.presented()
        assert old == made.certificate()
        reader, writer = await made.connect()
        writer.write(b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n{"model":"chat"}')
        begun = await reader.readuntil(b"piece 0\n")
        new = made.renew()
        assert await made.until_presented(new) > 1, "requests were answered while the old certificate was there"
        assert not reader.at_eof(), "the answer is still on its way"
        rest = await reader.readuntil(LAST)
        assert begun.startswith(b"HTTP/1.1 200 ")
        assert rest.count(b"piece ") == PIECES - 1
        assert writer.get_extra_info("ssl_object").getpeercert(binary_form=True) == old
        writer.close()
        assert made.process.returncode is None
        assert (tmp_path / "log").read_bytes().count(b"has been renewed") == 1


async def test_a_certificate_without_its_key_is_left_alone(tmp_path: Path) -> None:
    """As it is between two writes, or by mistake: the old one goes on, and the watch looks again."""
    async with gateway(tmp_path) as made:
        old = await made.presented()
        broken = made.renew(key=False)
        log = tmp_path / "log"
        async with asyncio.timeout(DEADLINE_SECONDS):
            while log.read_bytes().count(b"inconsistencies between private key") < 2:
                assert await made.presented() == old
        assert broken != old
        assert b"has been renewed" not in log.read_bytes()
        await made.until_presented(made.renew())


@pytest.mark.parametrize(("stop", "status"), [(signal.SIGUSR1, {0}), (signal.SIGTERM, {0, 143})])
async def test_it_stops_as_the_image_does(tmp_path: Path, stop: signal.Signals, status: set[int]) -> None:
    """SIGUSR1 is the image's: what is in flight is finished first. Nothing stays behind."""
    async with gateway(tmp_path) as made:
        await made.presented()
        reader, writer = await made.connect()
        writer.write(b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n{"model":"chat"}')
        await reader.readuntil(b"piece 0\n")
        made.process.send_signal(stop)
        if stop is signal.SIGUSR1:
            assert await reader.readuntil(LAST)
        writer.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await made.process.wait() in status
            await nobody_left(made.process.pid)


async def test_what_takes_longer_than_the_drain_ends_with_the_pod(tmp_path: Path) -> None:
    async with gateway(tmp_path, drain_seconds=1) as made:
        reader, writer = await made.connect()
        writer.write(b'POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n{"model":"chat"}')
        await reader.readuntil(b"piece 0\n")
        made.process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(DEADLINE_SECONDS):
            rest = await reader.read()
            await made.process.wait()
            await nobody_left(made.process.pid)
        assert LAST not in rest
        writer.close()


async def nobody_left(group: int) -> None:
    """Wait until a group of processes has none."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(QUICK)
