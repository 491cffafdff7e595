"""The accelerator runtime: what a cluster lacks to schedule, split and watch GPUs; nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import pulumi
from pulumi_kubernetes.core.v1 import (
    Namespace,
    ResourceQuota,
    ResourceQuotaSpecArgs,
    ScopedResourceSelectorRequirementArgs,
    ScopeSelectorArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.accelerators.node_images import NODE_IMAGES, NodeImage, NodeImageFacts, Runtime, choose_runtime
from components.accelerators.sharing import MIG_DISABLED, WHOLE, device_plugin_configs, mig_config
from components.accelerators.values import (
    DaemonSets,
    DevicePluginValues,
    Discovery,
    DiscoveryMaster,
    DiscoveryWorker,
    GpuOperatorValues,
    HostPaths,
    MigManager,
    OperatorDevicePlugin,
    OperatorExporter,
    OperatorItself,
    OperatorPluginConfig,
    PluginConfig,
    ServiceMonitor,
    Switch,
    Toolkit,
    Variable,
    dcgm_exporter_values,
)
from components.base import Component
from components.charts import SYSTEM_NODES, Toleration, create_namespace, install
from components.scheduling import GpuPool
from components.versions import DCGM_EXPORTER_CHART, DEVICE_PLUGIN_CHART, GPU_OPERATOR_CHART

ACCELERATORS: Final = "accelerators"
"""Namespace."""

INSTALL_SECONDS: Final = 900
"""The operator waits for its own Deployment only; nodes get their drivers as they come."""

MOST_SYSTEM_PODS: Final = "1G"
"""Of the quota that lets pods with a system priority class in: as good as no limit, as on GKE's own namespaces."""


@dataclass(frozen=True, kw_only=True)
class AcceleratorRuntimeArgs:
    """What is there and what is missing.

    Attributes:
        pools: all GPU pools; their taints are tolerated, their ways of sharing configured.
        node_image: operating system image of their nodes.
        device_plugin: install what makes GPUs schedulable.
        dcgm_exporter: install what shows their metrics.
        monitors: the cluster knows ServiceMonitors.
        runtime_class: that pods with a GPU must name in this cluster; "": as the node image has it.
        system_nodes: selects the nodes of operators.
        labels: of the namespace.
    """

    pools: Sequence[GpuPool]
    node_image: NodeImage
    device_plugin: bool = True
    dcgm_exporter: bool = True
    monitors: bool = True
    runtime_class: str = ""
    system_nodes: Mapping[str, str] = field(default_factory=lambda: dict(SYSTEM_NODES))
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def facts(self) -> NodeImageFacts:
        """Of the image, in this cluster."""
        known = NODE_IMAGES[self.node_image]
        return replace(known, runtime_class=self.runtime_class) if self.runtime_class else known

    @property
    def runtime(self) -> Runtime | None:
        """What is installed to make GPUs schedulable; None where the cluster brings it."""
        mig = any(pool.sharing.mig_config for pool in self.pools)
        return choose_runtime(self.node_image, mig=mig) if self.device_plugin else None

    def tolerations(self) -> list[Toleration]:
        """Of every DaemonSet on GPU nodes: those of the pools' taints, each once."""
        taints = dict.fromkeys(taint for pool in self.pools for taint in pool.taints)
        return [Toleration.of(taint) for taint in taints]

    def discovery(self) -> Discovery:
        """Node feature discovery: its DaemonSet on GPU nodes, its Deployment on the CPU nodes."""
        return Discovery(
            worker=DiscoveryWorker(tolerations=self.tolerations()),
            master=DiscoveryMaster(node_selector=dict(self.system_nodes)),
        )


def device_plugin_values(args: AcceleratorRuntimeArgs) -> DevicePluginValues:
    """The device plugin with GPU feature discovery."""
    tolerations = args.tolerations()
    return DevicePluginValues(
        config=PluginConfig(map=device_plugin_configs(args.pools), default=WHOLE),
        tolerations=tolerations,
        nfd=args.discovery(),
        runtime_class_name=args.facts.runtime_class or None,
    )


def gpu_operator_values(args: AcceleratorRuntimeArgs) -> GpuOperatorValues:
    """The GPU Operator, without what the node image brings and with its exporter only where there is none."""
    facts, tolerations = args.facts, args.tolerations()
    root = facts.driver_root
    mig = any(pool.sharing.mig_config for pool in args.pools) and not facts.mig_by_cloud
    return GpuOperatorValues(
        driver=Switch(enabled=not facts.driver),
        toolkit=Toolkit(
            enabled=not facts.toolkit,
            install_dir=root or None,
            # COS keeps containerd's configuration where the toolkit cannot ask for it by command.
            env=[Variable(name="RUNTIME_CONFIG_SOURCE", value="file")] if root else None,
        ),
        device_plugin=OperatorDevicePlugin(
            config=OperatorPluginConfig(
                create=True, name="device-plugin-config", default=WHOLE, data=device_plugin_configs(args.pools)
            ),
            env=[Variable(name="DEVICE_LIST_STRATEGY", value="cdi-cri,cdi-annotations,volume-mounts")]
            if root
            else None,
        ),
        mig_manager=MigManager(
            enabled=mig,
            config=OperatorPluginConfig(
                create=True, name="mig-config", default=MIG_DISABLED, data={"config.yaml": mig_config(args.pools)}
            )
            if mig
            else None,
        ),
        dcgm_exporter=OperatorExporter(
            enabled=args.dcgm_exporter,
            service_monitor=ServiceMonitor(enabled=args.monitors) if args.dcgm_exporter else None,
        ),
        daemonsets=DaemonSets(tolerations=tolerations),
        node_feature_discovery=args.discovery(),
        operator=OperatorItself(node_selector=dict(args.system_nodes), runtime_class=facts.runtime_class or None),
        host_paths=HostPaths(driver_install_dir=root) if root else None,
    )


class AcceleratorRuntime(Component):
    """Device plugin or GPU Operator, and the DCGM exporter.

    Attributes:
        releases: what was installed.
    """

    def __init__(
        self,
        name: str,
        args: AcceleratorRuntimeArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("accelerators", name, opts, after)
        # All of it works on the host: devices, driver, kubelet's sockets.
        namespace = create_namespace(
            self, f"{name}-namespace", ACCELERATORS, pod_security="privileged", labels=args.labels
        )
        quota = [self._priority_quota(name, namespace)] if args.facts.priority_quota else []
        releases: list[pulumi.Resource] = []
        match args.runtime:
            case Runtime.DEVICE_PLUGIN:
                releases.append(
                    install(
                        self,
                        f"{name}-device-plugin",
                        DEVICE_PLUGIN_CHART,
                        device_plugin_values(args),
                        namespace=namespace,
                        timeout_seconds=INSTALL_SECONDS,
                        after=quota,
                    )
                )
            case Runtime.GPU_OPERATOR:
                releases.append(
                    install(
                        self,
                        f"{name}-gpu-operator",
                        GPU_OPERATOR_CHART,
                        gpu_operator_values(args),
                        namespace=namespace,
                        timeout_seconds=INSTALL_SECONDS,
                        after=quota,
                    )
                )
            case None:
                pass
        # The operator brings an exporter of its own.
        if args.dcgm_exporter and args.runtime is not Runtime.GPU_OPERATOR:
            values = dcgm_exporter_values(
                args.tolerations(),
                monitors=args.monitors,
                runtime_class=args.facts.runtime_class,
                driver_root=args.facts.driver_root,
            )
            releases.append(
                install(
                    self,
                    f"{name}-dcgm-exporter",
                    DCGM_EXPORTER_CHART,
                    values,
                    namespace=namespace,
                    timeout_seconds=INSTALL_SECONDS,
                    after=quota,
                )
            )
        self.releases: tuple[pulumi.Resource, ...] = tuple(releases)
        self.register_outputs({"runtime": str(args.runtime) if args.runtime else ""})

    def _priority_quota(self, name: str, namespace: Namespace) -> ResourceQuota:
        """Lets pods with a system priority class into the namespace."""
        classes = ScopedResourceSelectorRequirementArgs(
            operator="In", scope_name="PriorityClass", values=["system-node-critical", "system-cluster-critical"]
        )
        return ResourceQuota(
            f"{name}-priority-quota",
            metadata=ObjectMetaArgs(name="system-priority-classes", namespace=ACCELERATORS),
            spec=ResourceQuotaSpecArgs(
                hard={"pods": MOST_SYSTEM_PODS}, scope_selector=ScopeSelectorArgs(match_expressions=[classes])
            ),
            opts=self.child(namespace),
        )
