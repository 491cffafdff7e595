"""What the layers above a cluster may know of it, and what a cloud has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import pulumi
from pulumi_kubernetes import Provider

from components.scheduling import GpuPool


class Capability(StrEnum):
    """Something that a cluster may bring already; the layers above install what it does not."""

    DEVICE_PLUGIN = "device-plugin"
    PROMETHEUS = "prometheus"
    KEDA = "keda"
    KEDA_HTTP_ADD_ON = "keda-http-add-on"


@dataclass(frozen=True)
class ServiceReference:
    """A port of a Service.

    Attributes:
        name: of the Service.
        namespace: of the Service.
        port: of the Service.
        cluster_domain: the cluster's DNS domain.
    """

    name: str
    namespace: str
    port: int
    cluster_domain: str = "cluster.local"

    @property
    def host(self) -> str:
        """The full DNS name, which needs no search list."""
        return f"{self.name}.{self.namespace}.svc.{self.cluster_domain}"

    @property
    def address(self) -> str:
        """Name and port as clients inside the cluster dial them."""
        return f"{self.name}.{self.namespace}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class GatewayExposure:
    """How clients reach the gateway.

    Attributes:
        url: where; without a trailing slash.
        service_type: of the gateway's Service.
        annotations: of the gateway's Service.
    """

    url: pulumi.Input[str]
    service_type: str = "ClusterIP"
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ClusterHandle:
    """A cluster, as everything above it sees it.

    Attributes:
        provider: for all objects in it.
        provides: what is there already.
        simulated: engines are processes without a GPU; they are told how to pretend.
        kubeconfig: path of the file that gives access; never its contents.
        prometheus_address: URL inside the cluster.
        interceptor: the KEDA HTTP add-on's proxy.
        external_scaler: the KEDA HTTP add-on's scaler.
        keda_namespace: where KEDA runs.
        gateway: how clients reach the gateway.
        autoscaling: resources that bring KEDA and its CRDs where the cloud installs them; custom resources are
            created after them and destroyed before them.
    """

    provider: Provider
    provides: frozenset[Capability]
    simulated: bool
    kubeconfig: str
    prometheus_address: str
    interceptor: ServiceReference
    external_scaler: ServiceReference
    keda_namespace: str
    gateway: GatewayExposure
    autoscaling: Sequence[pulumi.Resource] = ()


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What every cloud is told about a cluster.

    Attributes:
        environment: name of the environment, which is the stack's.
        gateway_host_port: port on the user's own machine (local cloud only).
    """

    environment: str
    gateway_host_port: int


@dataclass(frozen=True, kw_only=True)
class NodePoolArgs:
    """A pool of GPU nodes.

    Attributes:
        gpus: what its nodes offer.
        instance_type: the cloud's name of the machine.
        capacity_type: how nodes are bought.
        min_nodes: fewest.
        max_nodes: most.

    Raises:
        ValueError: min_nodes above max_nodes, or negative.
    """

    gpus: GpuPool
    instance_type: str
    capacity_type: str
    min_nodes: int
    max_nodes: int

    def __post_init__(self) -> None:
        if not 0 <= self.min_nodes <= self.max_nodes:
            raise ValueError(
                f"node pool {self.gpus.name!r}: min_nodes {self.min_nodes} and max_nodes {self.max_nodes} "
                "must be 0 <= min_nodes <= max_nodes"
            )


class Cloud(Protocol):
    """Makes clusters and node pools. One object per cloud, registered in `components.clouds`."""

    def create_cluster(self, name: str, args: ClusterArgs) -> ClusterHandle:
        """Make or join a cluster.

        Args:
            name: logical name of the component.
            args: what is wanted.

        Raises:
            ClusterUnreachableError: a cluster that should exist cannot be reached.
        """
        ...

    def create_node_pools(
        self, name: str, pools: Sequence[NodePoolArgs], cluster: ClusterHandle
    ) -> Sequence[pulumi.Resource]:
        """Make the GPU node pools and, where the cluster does not bring one, the system pool.

        Args:
            name: prefix of the components' logical names.
            pools: the GPU pools.
            cluster: where.

        Returns:
            Resources that workloads are created after and destroyed before.
        """
        ...


class ClusterUnreachableError(Exception):
    """The cluster cannot be reached; the message says why and what to do."""
