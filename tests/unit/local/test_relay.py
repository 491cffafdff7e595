"""The relay passes bytes, half-closes and failures on.

On loopback sockets of this process. Does not prove throughput, nor behaviour over a slow network.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from local.relay import Pipe, connect

pytestmark = pytest.mark.unit


class Front(Pipe):
    """Relays to a fixed port, after a moment in which the client may already send."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.task = asyncio.get_running_loop().create_task(self.forward())

    async def forward(self) -> None:
        try:
            await connect(self, "127.0.0.1", self.port)
        except OSError:
            self.abort()


@asynccontextmanager
async def relayed_to(handler: object) -> AsyncIterator[int]:
    """A relay in front of an asyncio stream handler; yields the relay's port."""
    backend = await asyncio.start_server(handler, "127.0.0.1", 0)  # type: ignore[arg-type]
    port = backend.sockets[0].getsockname()[1]
    front = await asyncio.get_running_loop().create_server(lambda: Front(port), "127.0.0.1", 0)
    try:
        yield front.sockets[0].getsockname()[1]
    finally:
        front.close()
        backend.close()


async def test_large_data_goes_both_ways_and_a_half_close_is_passed_on() -> None:
    """The back end sees the client's end of data, and can still answer after it."""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.read(-1)
        writer.write(str(len(received)).encode() + b"x" * 3_000_000)
        writer.close()

    async with relayed_to(count) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"y" * 5_000_000)
        writer.write_eof()
        answer = await reader.read(-1)
        writer.close()
    assert answer[:7] == b"5000000"
    assert len(answer) == 3_000_007


async def test_small_pieces_arrive_while_the_connection_is_open() -> None:
    """A token is passed on when it comes, not when a buffer is full."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100):
            writer.write(piece.upper())

    async with relayed_to(echo) as port, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (b"one", b"two", b"three"):
            writer.write(piece)
            assert await reader.readexactly(len(piece)) == piece.upper()
        writer.close()


async def test_a_client_is_cut_off_when_nobody_listens_behind() -> None:
    """No endpoint means a broken connection at once, not a silent one."""
    unused = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = unused.sockets[0].getsockname()[1]
    unused.close()
    await unused.wait_closed()
    front = await asyncio.get_running_loop().create_server(lambda: Front(port), "127.0.0.1", 0)
    async with asyncio.timeout(10):
        reader, _ = await asyncio.open_connection("127.0.0.1", front.sockets[0].getsockname()[1])
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read(10) == b""
    front.close()
