"""Access to the embedded cluster, which runs already: KEDA, its HTTP add-on and Prometheus are part of it."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pulumi
import yaml
from pulumi_kubernetes import Provider

from components.base import Component
from components.clouds.unreadable import reason
from components.cluster import (
    Capability,
    ClusterHandle,
    ClusterUnreachableError,
    GatewayExposure,
)
from local.layout import ClusterFiles

KUBECONFIG_VARIABLE: Final = "INFERENCE_PLATFORM_KUBECONFIG"
CONNECT_SECONDS: Final = 2.0
HINT: Final = "run `make up`, which starts the embedded cluster"


@dataclass(frozen=True, kw_only=True)
class LocalClusterArgs:
    """Which embedded cluster.

    Attributes:
        environment: whose cluster it is.
        kubeconfig: the file that the cluster wrote.
        gateway_host_port: port of the host's 127.0.0.1 that the cluster forwards to the gateway.
    """

    environment: str
    kubeconfig: Path
    gateway_host_port: int


class LocalCluster(Component):
    """The provider for the embedded cluster.

    Attributes:
        handle: for the layers above.
    """

    def __init__(self, name: str, args: LocalClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("local", name, opts)
        provider = Provider(
            f"{name}-provider",
            # The path, not the contents: the client's key stays out of the state.
            kubeconfig=str(args.kubeconfig),
            # The API server's port may change between starts; it is the same cluster all the same.
            cluster_identifier=f"inference-platform-local-{args.environment}",
            opts=self.child(),
        )
        self.handle = ClusterHandle(
            provider=provider,
            provides=frozenset(Capability),
            simulated=True,
            kubeconfig=str(args.kubeconfig),
            gateway=GatewayExposure(url=f"http://127.0.0.1:{args.gateway_host_port}"),
        )
        self.register_outputs({"kubeconfig": self.handle.kubeconfig})


def kubeconfig_path(environment: str) -> Path:
    """The file that gives access: of the environment's own cluster, unless INFERENCE_PLATFORM_KUBECONFIG names one."""
    chosen = os.environ.get(KUBECONFIG_VARIABLE)
    return Path(chosen).absolute() if chosen else ClusterFiles.named(environment).kubeconfig


def ensure_reachable(kubeconfig: Path) -> None:
    """Find out in an instant what the provider would find out after minutes of retries.

    Raises:
        ClusterUnreachableError: no such file, not a kubeconfig, or nothing listens at its server's address.
    """
    host, port = _server(kubeconfig)
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterUnreachableError(
            f"the embedded cluster does not answer on {host}:{port} ({error.strerror or error}): {HINT}"
        ) from error


def _server(kubeconfig: Path) -> tuple[str, int]:
    try:
        document = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        server = urlsplit(str(document["clusters"][0]["cluster"]["server"]))
        host, port = server.hostname, server.port
    except FileNotFoundError:
        raise ClusterUnreachableError(f"there is no kubeconfig at {kubeconfig}: {HINT}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        raise ClusterUnreachableError(f"{kubeconfig} is not a kubeconfig ({reason(error)}): {HINT}") from error
    if not host or not port:
        raise ClusterUnreachableError(f"{kubeconfig} names no server with a port: {HINT}")
    return host, port
