"""What a cluster does not bring by itself, installed: observability, accelerator runtime, autoscaling; in this order.

Prometheus comes first since its CRDs are what the others describe their metrics with. A component and the SDK's Helm
are imported where they are needed: a tenth of the start of a preview where the cluster brings all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pulumi

from components.cluster import Capability, ClusterHandle
from components.labels import EnvironmentLabels
from components.scheduling import GpuPool
from components.secrets import SecretArgs


def install_missing(
    name: str,
    cluster: ClusterHandle,
    nodes: Sequence[pulumi.Resource],
    pools: Sequence[GpuPool],
    *,
    certificates: bool = False,
    grafana_admin: SecretArgs | None = None,
) -> ClusterHandle:
    """Install what is needed and not there.

    Args:
        name: prefix of the components' logical names; the environment's.
        cluster: with what it brings.
        nodes: the node pools; what is installed comes after them and goes before them.
        pools: GPUs of the pools.
        certificates: cert-manager has to make one.
        grafana_admin: name and password of Grafana's administrator; None: the chart makes them.

    Returns:
        The cluster with everything that is needed, and with the resources that brought it.
    """
    cluster = _observability(name, cluster, nodes, grafana_admin)
    cluster = _accelerators(name, cluster, nodes, pools)
    if certificates:
        cluster = _certificates(name, cluster, nodes)
    return _autoscaling(name, cluster, nodes)


def _observability(
    name: str, cluster: ClusterHandle, nodes: Sequence[pulumi.Resource], grafana_admin: SecretArgs | None
) -> ClusterHandle:
    if Capability.PROMETHEUS in cluster.provides:
        if Capability.GRAFANA not in cluster.provides:
            pulumi.info("the cluster brings Prometheus and no Grafana: nobody shows the dashboards")
        if Capability.PROMETHEUS_OPERATOR not in cluster.provides:
            pulumi.info("the cluster's Prometheus takes no PrometheusRule: there are no recording rules and no alerts")
        return cluster
    from components.observability.prometheus import PrometheusStack, PrometheusStackArgs

    grafana = Capability.GRAFANA not in cluster.provides
    made = PrometheusStack(
        f"{name}-monitoring",
        PrometheusStackArgs(
            grafana=grafana,
            grafana_admin=grafana_admin if grafana else None,
            system_nodes=cluster.system_nodes,
            labels=EnvironmentLabels(name).shared,
        ),
        pulumi.ResourceOptions(provider=cluster.provider),
        after=nodes,
    )
    return replace(
        cluster,
        provides=cluster.provides | {Capability.PROMETHEUS, Capability.PROMETHEUS_OPERATOR, Capability.GRAFANA},
        prometheus_address=made.address,
        installed=(*cluster.installed, made.release),
    )


def _accelerators(
    name: str, cluster: ClusterHandle, nodes: Sequence[pulumi.Resource], pools: Sequence[GpuPool]
) -> ClusterHandle:
    wanted = {Capability.DEVICE_PLUGIN, Capability.DCGM_EXPORTER}
    if wanted <= cluster.provides:
        return cluster
    from components.accelerators.runtime import AcceleratorRuntime, AcceleratorRuntimeArgs

    made = AcceleratorRuntime(
        f"{name}-accelerators",
        AcceleratorRuntimeArgs(
            pools=pools,
            node_image=cluster.node_image,
            device_plugin=Capability.DEVICE_PLUGIN not in cluster.provides,
            dcgm_exporter=Capability.DCGM_EXPORTER not in cluster.provides,
            monitors=Capability.PROMETHEUS_OPERATOR in cluster.provides,
            runtime_class=cluster.runtime_class,
            system_nodes=cluster.system_nodes,
            labels=EnvironmentLabels(name).shared,
        ),
        pulumi.ResourceOptions(provider=cluster.provider),
        after=(*nodes, *cluster.installed),
    )
    return replace(cluster, provides=cluster.provides | wanted, installed=(*cluster.installed, *made.releases))


def _certificates(name: str, cluster: ClusterHandle, nodes: Sequence[pulumi.Resource]) -> ClusterHandle:
    if Capability.CERT_MANAGER in cluster.provides:
        return cluster
    from components.certificates.cert_manager import CertManager, CertManagerArgs

    made = CertManager(
        f"{name}-certificates",
        CertManagerArgs(system_nodes=cluster.system_nodes, labels=EnvironmentLabels(name).shared),
        pulumi.ResourceOptions(provider=cluster.provider),
        after=(*nodes, *cluster.installed),
    )
    return replace(
        cluster,
        provides=cluster.provides | {Capability.CERT_MANAGER},
        installed=(*cluster.installed, made.release),
    )


def _autoscaling(name: str, cluster: ClusterHandle, nodes: Sequence[pulumi.Resource]) -> ClusterHandle:
    wanted = {Capability.KEDA, Capability.KEDA_HTTP_ADD_ON}
    if wanted <= cluster.provides:
        return cluster
    from components.autoscaling.keda import KEDA, Keda, KedaArgs

    keda = Capability.KEDA not in cluster.provides
    http_add_on = Capability.KEDA_HTTP_ADD_ON not in cluster.provides
    made = Keda(
        f"{name}-keda",
        KedaArgs(
            keda=keda, http_add_on=http_add_on, system_nodes=cluster.system_nodes, labels=EnvironmentLabels(name).shared
        ),
        pulumi.ResourceOptions(provider=cluster.provider),
        # The add-on makes a ScaledObject, so KEDA must be there, whoever brings it.
        after=(*nodes, *cluster.autoscaling),
    )
    return replace(
        cluster,
        provides=cluster.provides | wanted,
        interceptor=made.interceptor if http_add_on else cluster.interceptor,
        external_scaler=made.external_scaler if http_add_on else cluster.external_scaler,
        keda_namespace=KEDA if keda else cluster.keda_namespace,
        autoscaling=(*cluster.autoscaling, *made.releases),
        installed=(*cluster.installed, *made.releases),
    )
