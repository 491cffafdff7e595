"""What all pods of one agent share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from local.node_agent.addresses import PodAddresses
from local.node_agent.images import ImageTable
from local.node_agent.kubernetes import KubernetesApi
from local.node_agent.service_account import ApiEndpoint


@dataclass(frozen=True)
class Surroundings:
    """What all pods share.

    Attributes:
        api: the Kubernetes API.
        table: which image is which program.
        addresses: of all pods.
        state: the agent's state directory.
        endpoint: the API server, for the pods.
        http: for probes.
        initial_backoff: seconds before the second restart of a container.
    """

    api: KubernetesApi
    table: ImageTable
    addresses: PodAddresses
    state: Path
    endpoint: ApiEndpoint
    http: aiohttp.ClientSession
    initial_backoff: float

    @property
    def pods(self) -> Path:
        """Folder of the pods' folders."""
        return self.state / "pods"

    @property
    def claims(self) -> Path:
        """Folder of the PersistentVolumeClaims' folders."""
        return self.state / "claims"

    @property
    def mark(self) -> str:
        """Prefix of the mark of all processes that were started with this state directory."""
        return f"{self.state}#"


@dataclass(frozen=True)
class NodeFacts:
    """What a pod is told about its node.

    Attributes:
        address: hostIP.
        allocatable: stands in for limits that a container does not set.
    """

    address: str
    allocatable: Mapping[str, str] = field(default_factory=dict)
