"""What kube-proxy does, in user space: accept on each ClusterIP, forward to a ready endpoint.

A connection that finds no ready endpoint waits for one up to WAIT_SECONDS: a pod may
have become ready a moment ago. The endpoint is chosen at random, as kube-proxy's
iptables mode does.

Limits: TCP only; no NodePort, external IPs, session affinity or topology hints. A
connection lives as long as this process: if the process dies, its connections break
(a kernel proxy's would not).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from local.api import ApiAccess, watch
from local.relay import Pipe, connect

WAIT_SECONDS = 5.0
CONNECT_ATTEMPTS = 3
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
log = logging.getLogger("service-proxy")


@dataclass(frozen=True)
class ServicePort:
    """One port of one Service. ``name`` links it to the port of the same name in the EndpointSlices."""

    namespace: str
    service: str
    address: str
    port: int
    name: str


@dataclass
class Endpoints:
    """Ready endpoints of all Services, from their EndpointSlices."""

    slices: dict[str, dict[str, Any]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def notify(self) -> None:
        """Wake every connection that waits for an endpoint."""
        self.changed.set()
        self.changed = asyncio.Event()

    def ready(self, port: ServicePort) -> list[tuple[str, int]]:
        """Addresses and ports that may be connected to."""
        return [
            (address, number["port"])
            for item in self.slices.values()
            if item["metadata"]["namespace"] == port.namespace
            and item["metadata"].get("labels", {}).get("kubernetes.io/service-name") == port.service
            for number in item.get("ports") or []
            if (number.get("name") or "") == port.name
            for endpoint in item.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False
            for address in endpoint["addresses"]
        ]


def service_ports(service: dict[str, Any]) -> list[ServicePort]:
    """The ports that this proxy serves; none for headless and external Services."""
    spec, metadata = service["spec"], service["metadata"]
    address = spec.get("clusterIP")
    served_elsewhere = PROXY_NAME_LABEL in metadata.get("labels", {})
    if spec.get("type") == "ExternalName" or not address or address == "None" or served_elsewhere:
        return []
    return [
        ServicePort(metadata["namespace"], metadata["name"], address, port["port"], port.get("name", ""))
        for port in spec.get("ports", [])
        if port.get("protocol", "TCP") == "TCP"
    ]


class Proxy:
    """Listeners for all Services, kept equal to what the API server says."""

    def __init__(self) -> None:
        self.endpoints = Endpoints()
        self.listeners: dict[ServicePort, asyncio.Server] = {}
        self.by_service: dict[str, list[ServicePort]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def follow_services(self, access: ApiAccess) -> None:
        """Open and close listeners as Services come and go."""
        async with access.session() as session:
            async for kind, payload in watch(session, "/api/v1/services"):
                if kind == "SYNC":
                    self.by_service = {key(item): service_ports(item) for item in payload}
                elif kind == "DELETED":
                    self.by_service.pop(key(payload), None)
                else:
                    self.by_service[key(payload)] = service_ports(payload)
                await self.reconcile({port for ports in self.by_service.values() for port in ports})

    async def follow_endpoints(self, access: ApiAccess) -> None:
        """Keep the table of endpoints."""
        async with access.session() as session:
            async for kind, payload in watch(session, "/apis/discovery.k8s.io/v1/endpointslices"):
                if kind == "SYNC":
                    self.endpoints.slices = {key(item): item for item in payload}
                elif kind == "DELETED":
                    self.endpoints.slices.pop(key(payload), None)
                else:
                    self.endpoints.slices[key(payload)] = payload
                self.endpoints.notify()

    async def reconcile(self, wanted: Iterable[ServicePort]) -> None:
        """Make the listeners equal to ``wanted``."""
        wanted = set(wanted)
        for port in set(self.listeners) - wanted:
            self.listeners.pop(port).close()
        for port in wanted - set(self.listeners):
            try:
                self.listeners[port] = await asyncio.get_running_loop().create_server(
                    functools.partial(Accepted, self, port), port.address, port.port, backlog=1024
                )
            except OSError as error:
                log.warning(
                    "%s/%s: cannot listen on %s:%s: %s", port.namespace, port.service, port.address, port.port, error
                )

    async def forward(self, client: Pipe, port: ServicePort) -> None:
        """Connect a client to a ready endpoint, waiting for one if need be."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        tried: set[tuple[str, int]] = set()
        while len(tried) < CONNECT_ATTEMPTS and not client.closed:
            changed = self.endpoints.changed
            candidates = [endpoint for endpoint in self.endpoints.ready(port) if endpoint not in tried]
            if not candidates:
                remaining = deadline - asyncio.get_running_loop().time()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), max(remaining, 0))
                if asyncio.get_running_loop().time() >= deadline:
                    break
                continue
            endpoint = random.choice(candidates)  # noqa: S311 - load balancing
            tried.add(endpoint)
            try:
                await connect(client, *endpoint)
            except OSError as error:
                log.info("%s/%s: %s:%s: %s", port.namespace, port.service, *endpoint, error)
            else:
                return
        client.abort()


class Accepted(Pipe):
    """A connection to a Service."""

    def __init__(self, proxy: Proxy, port: ServicePort) -> None:
        super().__init__()
        self.proxy, self.port = proxy, port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to look for an endpoint."""
        super().connection_made(transport)
        task = asyncio.get_running_loop().create_task(self.proxy.forward(self, self.port))
        # The loop itself keeps only weak references to tasks.
        self.proxy.tasks.add(task)
        task.add_done_callback(self.proxy.tasks.discard)


def key(item: dict[str, Any]) -> str:
    """Namespace and name."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


async def serve(kubeconfig: Path) -> None:
    """Run until killed."""
    access = ApiAccess.from_kubeconfig(kubeconfig)
    proxy = Proxy()
    await asyncio.gather(proxy.follow_services(access), proxy.follow_endpoints(access))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvloop.run(serve(options.kubeconfig))


if __name__ == "__main__":
    main()
