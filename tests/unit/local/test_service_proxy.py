"""Which addresses the service proxy serves, and where it forwards to.

Objects are written by hand in the API's form; the embedded cluster's tests use real ones.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from local.service_proxy import Accepted, Endpoints, Proxy, ServicePort, service_ports

pytestmark = pytest.mark.unit


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "n", "name": "s"}, "spec": spec}


def slice_of(*addresses: str, port: int, ready: bool | None = True, name: str = "") -> dict[str, Any]:
    return {
        "metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
        "endpoints": [{"addresses": list(addresses), "conditions": {"ready": ready}}],
        "ports": [{"name": name, "port": port}],
    }


def test_every_tcp_port_of_a_cluster_ip_is_served() -> None:
    ports = [{"name": "a", "port": 80}, {"name": "u", "port": 53, "protocol": "UDP"}, {"port": 81}]
    assert service_ports(service(clusterIP="10.96.0.7", ports=ports)) == [
        ServicePort("n", "s", "10.96.0.7", 80, "a"),
        ServicePort("n", "s", "10.96.0.7", 81, ""),
    ]


@pytest.mark.parametrize(
    "spec", [{"clusterIP": "None"}, {"type": "ExternalName", "clusterIP": ""}, {}], ids=["headless", "external", "none"]
)
def test_services_without_an_address_of_their_own_are_left_alone(spec: dict[str, Any]) -> None:
    assert service_ports(service(ports=[{"port": 80}], **spec)) == []


def test_a_service_that_another_proxy_serves_is_left_alone() -> None:
    """CoreDNS binds its Service's address itself."""
    dns = service(clusterIP="10.96.0.10", ports=[{"port": 53}])
    dns["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "none"}
    assert service_ports(dns) == []


def test_only_ready_endpoints_of_the_port_of_the_same_name_count() -> None:
    endpoints = Endpoints(
        {
            "n/1": slice_of("10.0.0.1", port=8000, name="http"),
            "n/2": slice_of("10.0.0.2", port=8000, name="http", ready=False),
            # The API's "unknown" counts as ready.
            "n/3": slice_of("10.0.0.3", port=8001, name="http", ready=None),
            "n/4": slice_of("10.0.0.4", port=9000, name="metrics"),
        }
    )
    found = endpoints.ready(ServicePort("n", "s", "10.96.0.7", 80, "http"))
    assert found == [("10.0.0.1", 8000), ("10.0.0.3", 8001)]


async def test_a_connection_waits_for_an_endpoint_that_is_about_to_come() -> None:
    """Real sockets; the endpoint appears after the client connected and sent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(5))
        writer.close()

    backend = await asyncio.start_server(answer, "127.0.0.1", 0)
    proxy, port = Proxy(), ServicePort("n", "s", "127.0.0.1", 0, "")
    front = await asyncio.get_running_loop().create_server(lambda: Accepted(proxy, port), "127.0.0.1", 0)
    async with asyncio.timeout(4):
        reader, writer = await asyncio.open_connection(*front.sockets[0].getsockname())
        writer.write(b"hello")
        proxy.endpoints.slices["n/1"] = slice_of("127.0.0.1", port=backend.sockets[0].getsockname()[1])
        proxy.endpoints.notify()
        assert await reader.read(5) == b"hello"
    writer.close()
    front.close()
    backend.close()
