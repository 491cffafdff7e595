"""What the layers above a cluster may know of it, and what a cloud has to offer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import pulumi
from pulumi_kubernetes import Provider

from components.accelerators.node_images import NodeImage
from components.clouds.rules import CloudSettings
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL, GpuPool, Taint


class Capability(StrEnum):
    """Something that a cluster may bring already; the layers above install what it does not."""

    DEVICE_PLUGIN = "device-plugin"
    DCGM_EXPORTER = "dcgm-exporter"
    PROMETHEUS = "prometheus"
    GRAFANA = "grafana"
    KEDA = "keda"
    KEDA_HTTP_ADD_ON = "keda-http-add-on"
    CERT_MANAGER = "cert-manager"
    PROMETHEUS_OPERATOR = "prometheus-operator"
    """The cluster's Prometheus acts on the Prometheus operator's objects, PrometheusRule and ServiceMonitor."""


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
        url: where; without a trailing slash. None: at the address that the cloud gives to the gateway's Service.
        service_type: of the gateway's Service.
        annotations: of the gateway's Service.
    """

    url: pulumi.Input[str] | None = None
    service_type: str = "ClusterIP"
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WeightsVolume:
    """How pods mount the place where a cloud keeps model weights.

    Attributes:
        storage_class: for a claim that is provisioned; "" for a volume that is there.
        volume_name: PersistentVolume that is there; "" for one that is provisioned.
        access_mode: of the claim, ReadWriteMany or ReadOnlyMany.
        capacity: asked for; stores without a size ignore it.
        pod_annotations: of pods that mount it, e.g. for a mounting container that the cloud puts beside them.
        whole_files: it takes new files from the first byte to the last, and knows no rename and no links: a bucket.
        after: what brings the store; a claim is made after it and destroyed before it.
    """

    storage_class: str
    volume_name: str = ""
    access_mode: str = "ReadWriteMany"
    capacity: str = "500Gi"
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    whole_files: bool = False
    after: Sequence[pulumi.Resource] = ()


@dataclass(frozen=True, kw_only=True)
class NodeSelection:
    """How the nodes of a pool are found that somebody else made.

    Attributes:
        labels: that its nodes carry; empty: `inference.platform/node-pool: <pool>`.
        taints: that its nodes carry; None: those that nodes of our own would have.
        resource: extended resource that its device plugin registers; "": the name that ours would give.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] | None = None
    resource: str = ""


@dataclass(frozen=True, kw_only=True)
class ClusterHandle:
    """A cluster, as everything above it sees it.

    Attributes:
        provider: for all objects in it.
        provides: what is there already.
        simulated: engines are processes without a GPU; they are told how to pretend.
        kubeconfig: what gives access: the path of a file where there is one, else the contents, as a secret.
        prometheus_address: URL inside the cluster.
        interceptor: the KEDA HTTP add-on's proxy.
        external_scaler: the KEDA HTTP add-on's scaler.
        keda_namespace: where KEDA runs.
        runtime_class: RuntimeClass that pods with a GPU need; "" where there is none.
        gateway: how clients reach the gateway.
        autoscaling: resources that bring KEDA and its CRDs where they are installed by us or by the cloud; custom
            resources are created after them and destroyed before them.
        selections: by name of a pool (`system`: the CPU nodes), where nodes are told otherwise than by our label.
        installed: everything that was installed above the nodes; the environment's namespace comes after it and goes
            before it.
        node_image: operating system image of the GPU nodes; says what of the accelerator runtime is missing.

    What a cloud needs of its own cluster later (identifiers of networks and roles) is in a subclass of its own.
    """

    provider: Provider
    provides: frozenset[Capability]
    simulated: bool
    kubeconfig: pulumi.Input[str]
    gateway: GatewayExposure
    prometheus_address: str = "http://prometheus-operated.monitoring.svc:9090"
    interceptor: ServiceReference = ServiceReference("keda-add-ons-http-interceptor-proxy", "keda", 8080)
    external_scaler: ServiceReference = ServiceReference("keda-add-ons-http-external-scaler", "keda", 9090)
    keda_namespace: str = "keda"
    runtime_class: str = ""
    autoscaling: Sequence[pulumi.Resource] = ()
    selections: Mapping[str, NodeSelection] = field(default_factory=dict)
    installed: Sequence[pulumi.Resource] = ()
    node_image: NodeImage = NodeImage.WITH_DRIVER

    @property
    def system_nodes(self) -> Mapping[str, str]:
        """Selects the CPU nodes: gateway, routers, operators."""
        found = self.selections.get(SYSTEM_POOL)
        return dict(found.labels) if found and found.labels else {NODE_POOL: SYSTEM_POOL}

    def placed(self, pool: GpuPool) -> GpuPool:
        """The pool with the labels, taints and resource name that its nodes have in this cluster."""
        found = self.selections.get(pool.name)
        if found is None:
            return pool
        return replace(
            pool,
            selector=found.labels,
            taints=pool.taints if found.taints is None else found.taints,
            resource=found.resource or pool.resource,
        )


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What every cloud is told about a cluster.

    Attributes:
        environment: name of the environment, which is the stack's.
        gateway_host_port: port on the user's own machine (local cloud only).
        region: "" for the cloud's default.
        kubernetes_version: minor version, e.g. "1.34"; "" for the one that the cloud's package was tested with.
        private_endpoint: the API server has no public address.
        authorized_networks: CIDRs that may reach the API server's public address; empty: nobody is kept out.
        audit_logs: keep the API server's audit log in the cloud's log store.
        deletion_protection: the cloud refuses to delete the cluster.
        weights_store: where model weights are kept: node-disk, shared-files or object-store.
        provisioners: who makes the nodes of its pools: node-group, auto or both.
        tags: on everything that the cloud bills.
        settings: what only this cloud can be told; None: all defaults.
    """

    environment: str
    gateway_host_port: int
    region: str = ""
    kubernetes_version: str = ""
    private_endpoint: bool = False
    authorized_networks: Sequence[str] = ()
    audit_logs: bool = True
    deletion_protection: bool = False
    weights_store: str = "node-disk"
    provisioners: frozenset[str] = frozenset({"node-group"})
    tags: Mapping[str, str] = field(default_factory=dict)
    settings: CloudSettings | None = None


@dataclass(frozen=True, kw_only=True)
class NodePoolArgs:
    """A pool of GPU nodes.

    Attributes:
        gpus: what its nodes offer.
        instance_type: the cloud's name of the machine.
        capacity_type: how nodes are bought: on-demand, spot, spot-with-fallback or reserved.
        min_nodes: fewest.
        max_nodes: most.
        accelerator: key of the GPU in the catalogue.
        reservation_kind: capacity-block, reservation, queued or flex-start; "" unless reserved.
        reservation_id: the cloud's id of what was reserved; "" if it needs none.
        provisioner: node-group (a group with an autoscaler) or auto (the cloud makes nodes that fit the pods).
        zones: empty: the cloud's choice.
        disk_gib: of a node.
        local_nvme: use the machine's own disks for images and weights.
        image_streaming: start containers before their image is whole.
        tags: on everything that the cloud bills.

    Raises:
        ValueError: min_nodes above max_nodes, or negative.
    """

    gpus: GpuPool
    instance_type: str
    capacity_type: str
    min_nodes: int
    max_nodes: int
    accelerator: str = ""
    reservation_kind: str = ""
    reservation_id: str = ""
    provisioner: str = "node-group"
    zones: Sequence[str] = ()
    disk_gib: int = 200
    local_nvme: bool = False
    image_streaming: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)

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

    def create_weights(self, name: str, args: ClusterArgs, cluster: ClusterHandle) -> WeightsVolume | None:
        """Make the place where model weights are kept.

        Args:
            name: prefix of the components' logical names.
            args: as given to `create_cluster`; `weights_store` says which place.
            cluster: where.

        Returns:
            How pods mount it; None where each pod keeps its own copy (node-disk).
        """
        ...


class ClusterUnreachableError(Exception):
    """The cluster cannot be reached; the message says why and what to do."""
