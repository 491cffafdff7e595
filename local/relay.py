"""Relay of TCP connections, byte for byte, with back pressure and half-close."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import cast

# A pipe is paused while the other side has this much unsent.
HIGH_WATER_BYTES = 256 * 1024


class Pipe(asyncio.Protocol):
    """One end of a relayed connection; writes what it reads to its ``peer``."""

    def __init__(self) -> None:
        self.peer: Pipe | None = None
        self.transport: asyncio.Transport | None = None
        self.early: list[bytes] = []
        self.ended = False
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep small writes from waiting for acknowledgements: tokens are small writes."""
        # uvloop's transports are not subclasses of asyncio's, only equal in behaviour.
        stream = cast(asyncio.Transport, transport)
        self.transport = stream
        stream.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        endpoint = stream.get_extra_info("socket")
        if endpoint is not None and endpoint.family in (socket.AF_INET, socket.AF_INET6):
            endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Pass on, or keep until the other side is connected."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)
        else:
            self.early.append(data)

    def eof_received(self) -> bool:
        """Pass a half-close on, and keep our own direction open."""
        self.ended = True
        if self.peer is not None and self.peer.transport is not None and self.peer.transport.can_write_eof():
            self.peer.transport.write_eof()
        if self.peer is not None and self.peer.ended:
            # Both directions are over, and asyncio keeps half-closed transports open.
            self.peer.close()
            self.close()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """A connection that broke breaks the other one; one that ended ends it."""
        self.closed = True
        peer = self.peer.transport if self.peer is not None else None
        if peer is None:
            return
        if error is not None:
            peer.abort()
        else:
            peer.close()

    def pause_writing(self) -> None:
        """The other side must wait for us."""
        if self.peer is not None and self.peer.transport is not None:
            with contextlib.suppress(RuntimeError):
                self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """We have caught up."""
        if self.peer is not None and self.peer.transport is not None:
            with contextlib.suppress(RuntimeError):
                self.peer.transport.resume_reading()

    def close(self) -> None:
        """Close after what is still to be sent."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Break the connection, which tells the client that nobody answered."""
        if self.transport is not None:
            self.transport.abort()


def join(client: Pipe, upstream: Pipe) -> None:
    """Connect two ends; what the client sent early goes out first."""
    client.peer, upstream.peer = upstream, client
    if upstream.transport is None:
        return
    for data in client.early:
        upstream.transport.write(data)
    client.early.clear()
    if client.closed:
        upstream.transport.close()
    elif client.ended and upstream.transport.can_write_eof():
        upstream.transport.write_eof()


async def connect(client: Pipe, host: str, port: int) -> None:
    """Open the upstream connection of ``client`` and join both.

    Raises:
        OSError: nobody accepts there.
    """
    loop = asyncio.get_running_loop()
    _, upstream = await loop.create_connection(Pipe, host, port)
    join(client, upstream)
