"""Values of NVIDIA's charts: device plugin, GPU Operator, DCGM exporter.

Sources: values and templates of the charts named in `components.versions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from components.charts import Toleration, Values
from components.pods import scraped

DCGM_PORT: Final = 9400
GPU_NODES: Final[Mapping[str, str]] = {"nvidia.com/gpu.present": "true"}
SCRAPE_INTERVAL: Final = "15s"


class Switch(Values):
    """A part that is on or off."""

    enabled: bool


class Variable(Values):
    """An environment variable of a container."""

    name: str
    value: str


class PluginConfig(Values):
    """Configurations of the device plugin by name; a node's label chooses, else the default holds."""

    map: Mapping[str, str]
    default: str


class DiscoveryWorker(Values):
    """Node feature discovery's DaemonSet."""

    tolerations: Sequence[Toleration]


class DiscoveryMaster(Values):
    """Node feature discovery's Deployment."""

    node_selector: Mapping[str, str]


class Discovery(Values):
    """Node feature discovery, which GPU feature discovery writes its labels through."""

    worker: DiscoveryWorker
    master: DiscoveryMaster


class DevicePluginValues(Values):
    """Values of the chart `nvidia-device-plugin`, with GPU feature discovery."""

    config: PluginConfig
    tolerations: Sequence[Toleration]
    nfd: Discovery
    gfd: Switch = Switch(enabled=True)
    runtime_class_name: str | None = None


class OperatorPluginConfig(Values):
    """The same configurations, as the GPU Operator takes them."""

    create: bool
    name: str
    default: str
    data: Mapping[str, str]


class OperatorDevicePlugin(Values):
    """The operator's device plugin."""

    config: OperatorPluginConfig
    env: Sequence[Variable] | None = None


class MigManager(Values):
    """Partitions the GPUs of a node as its label says."""

    enabled: bool
    config: OperatorPluginConfig | None = None


class MigStrategy(Values):
    """How MIG devices are named: `mixed`, by profile."""

    strategy: str = "mixed"


class OperatorItself(Values):
    """The operator's Deployment."""

    node_selector: Mapping[str, str]
    runtime_class: str | None = None


class Toolkit(Values):
    """The container toolkit."""

    enabled: bool
    install_dir: str | None = None
    env: Sequence[Variable] | None = None


class HostPaths(Values):
    """Where things are on the host."""

    driver_install_dir: str


class DaemonSets(Values):
    """What all DaemonSets of the operator have in common."""

    tolerations: Sequence[Toleration]


class ServiceMonitor(Values):
    """How Prometheus finds the exporter.

    `honor_labels`: namespace and pod in the exporter's series are those that use the GPU, not the exporter's own.
    """

    enabled: bool
    interval: str = SCRAPE_INTERVAL
    honor_labels: bool = True
    relabelings: Sequence[Mapping[str, Any]] = Field(
        default_factory=lambda: [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}]
    )


class OperatorExporter(Values):
    """The operator's DCGM exporter."""

    enabled: bool
    service_monitor: ServiceMonitor | None = None


class ValidatorPlugin(Values):
    """The chart's template breaks on an empty list."""

    env: Sequence[Variable] = Field(default_factory=lambda: [Variable(name="WITH_WORKLOAD", value="false")])


class Validator(Values):
    """Checks each node."""

    plugin: ValidatorPlugin = ValidatorPlugin()


class GpuOperatorValues(Values):
    """Values of the chart `gpu-operator`."""

    driver: Switch
    toolkit: Toolkit
    device_plugin: OperatorDevicePlugin
    mig_manager: MigManager
    dcgm_exporter: OperatorExporter
    daemonsets: DaemonSets
    node_feature_discovery: Discovery = Field(serialization_alias="node-feature-discovery")
    operator: OperatorItself
    mig: MigStrategy = MigStrategy()
    host_paths: HostPaths | None = None
    validator: Validator = Validator()


class HostVolume(Values):
    """A folder of the host."""

    name: str
    host_path: str


class VolumeMount(Values):
    """Of the exporter's container."""

    name: str
    mount_path: str
    sub_path: str | None = None


class DcgmExporterValues(Values):
    """Values of the chart `dcgm-exporter`."""

    tolerations: Sequence[Toleration]
    service_monitor: ServiceMonitor
    node_selector: Mapping[str, str] = Field(default_factory=lambda: dict(GPU_NODES))
    pod_annotations: Mapping[str, str] | None = None
    runtime_class_name: str | None = None
    extra_host_volumes: Sequence[HostVolume] | None = None
    extra_volume_mounts: Sequence[VolumeMount] | None = None
    extra_env: Sequence[Variable] | None = None


def dcgm_exporter_values(
    tolerations: Sequence[Toleration], *, monitors: bool, runtime_class: str, driver_root: str
) -> DcgmExporterValues:
    """Of the exporter by itself.

    Args:
        tolerations: of the GPU pools.
        monitors: the cluster knows ServiceMonitors; else the pod's annotations say that it can be scraped. Never both:
            each GPU would count twice.
        runtime_class: "" for the default.
        driver_root: folder of the host with the driver, where it is not in the usual place.
    """
    volume = "nvidia-driver"
    # Setting the list of mounts replaces the chart's own, which has the list of counters.
    counters = VolumeMount(
        name="exporter-metrics-volume",
        mount_path="/etc/dcgm-exporter/default-counters.csv",
        sub_path="default-counters.csv",
    )
    return DcgmExporterValues(
        tolerations=tolerations,
        service_monitor=ServiceMonitor(enabled=monitors),
        pod_annotations=None if monitors else scraped(DCGM_PORT),
        runtime_class_name=runtime_class or None,
        extra_host_volumes=[HostVolume(name=volume, host_path=driver_root)] if driver_root else None,
        extra_volume_mounts=[counters, VolumeMount(name=volume, mount_path="/usr/local/nvidia")]
        if driver_root
        else None,
        extra_env=[Variable(name="LD_LIBRARY_PATH", value="/usr/local/nvidia/lib64")] if driver_root else None,
    )
