"""Brings connections to the host's 127.0.0.1 into the cluster's namespace.

The listening sockets were bound on the host, outside the namespace, and are
inherited: they stay open over a restart of this process, so a client meanwhile
waits in the backlog instead of being refused. Targets: the API server,
Prometheus, and the Service of the gateway, wherever it is.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from local.api import ApiAccess, watch
from local.layout import API_PORT, NODE_ADDRESS, PROMETHEUS_PORT
from local.relay import Pipe, connect

LISTENERS_VARIABLE = "INFERENCE_PLATFORM_LISTENERS"
WAIT_SECONDS = 5.0
RETRY_SECONDS = 0.05
GATEWAY_SELECTOR = "inference.platform/component=gateway"
log = logging.getLogger("forwarder")


@dataclass
class Targets:
    """Where each listener leads. The gateway's is known once its Service exists."""

    addresses: dict[str, tuple[str, int]] = field(
        default_factory=lambda: {
            "api": (NODE_ADDRESS, API_PORT),
            "prometheus": (NODE_ADDRESS, PROMETHEUS_PORT),
        }
    )
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def follow_gateway(self, access: ApiAccess) -> None:
        """Keep the address of the environment's gateway."""
        async with access.session() as session:
            async for kind, payload in watch(session, "/api/v1/services", labelSelector=GATEWAY_SELECTOR):
                services = payload if kind == "SYNC" else [payload]
                if kind == "DELETED" or not services:
                    self.addresses.pop("gateway", None)
                for service in services if kind != "DELETED" else []:
                    port = next(p["port"] for p in service["spec"]["ports"] if p.get("name") in {"http", "https"})
                    self.addresses["gateway"] = (service["spec"]["clusterIP"], port)


class Arrived(Pipe):
    """A connection from the host."""

    def __init__(self, targets: Targets, name: str) -> None:
        super().__init__()
        self.targets, self.name = targets, name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to connect to the listener's target."""
        super().connection_made(transport)
        task = asyncio.get_running_loop().create_task(self.forward())
        self.targets.tasks.add(task)
        task.add_done_callback(self.targets.tasks.discard)

    async def forward(self) -> None:
        """Join with the target.

        It may be restarting, or this process may be and not know the gateway yet: nothing is lost
        while nobody has accepted, so that is waited for.
        """
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while not self.closed:
            try:
                await connect(self, *self.targets.addresses[self.name])
            except (OSError, KeyError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    log.info("%s: nothing to connect to: %r", self.name, error)
                    break
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
        self.abort()


def inherited_listeners() -> dict[str, socket.socket]:
    """The sockets that the guard bound: ``name:descriptor`` pairs in the environment."""
    pairs = [pair.split(":") for pair in os.environ[LISTENERS_VARIABLE].split(",")]
    return {name: socket.socket(fileno=int(descriptor)) for name, descriptor in pairs}


async def serve(kubeconfig: Path) -> None:
    """Run until killed."""
    loop = asyncio.get_running_loop()
    targets = Targets()
    for name, listener in inherited_listeners().items():
        listener.setblocking(False)
        await loop.create_server(functools.partial(Arrived, targets, name), sock=listener, backlog=1024)
    await targets.follow_gateway(ApiAccess.from_kubeconfig(kubeconfig))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvloop.run(serve(options.kubeconfig))


if __name__ == "__main__":
    main()
