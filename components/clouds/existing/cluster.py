"""Access to a cluster that somebody else made."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import Provider

from components.base import Component
from components.clouds.existing.kubeconfig import ensure_reachable, find_context
from components.clouds.existing.settings import ExistingSettings, PoolNodes
from components.cluster import Capability, ClusterHandle, GatewayExposure, NodeSelection, ServiceReference
from components.scheduling import Taint

INTERCEPTOR_PORT = 8080
SCALER_PORT = 9090


@dataclass(frozen=True, kw_only=True)
class ExistingClusterArgs:
    """Which cluster.

    Attributes:
        environment: that moves in.
        settings: how it is reached and what it brings.
    """

    environment: str
    settings: ExistingSettings


class ExistingCluster(Component):
    """The provider for a cluster that is there.

    Attributes:
        handle: for the layers above.

    Raises:
        ClusterUnreachableError: a kubeconfig is named and its cluster does not answer. A stack's output is not asked:
            it is not known before the engine has read it.
    """

    def __init__(self, name: str, args: ExistingClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("existing", name, opts)
        settings = args.settings
        kubeconfig, context = _from_stack(self, name, settings) if settings.stack else _from_file(settings)
        provider = Provider(f"{name}-provider", kubeconfig=kubeconfig, context=context, opts=self.child())
        keda = settings.keda_namespace
        self.handle = ClusterHandle(
            provider=provider,
            provides=frozenset(Capability(word) for word in settings.provides),
            simulated=False,
            kubeconfig=kubeconfig,
            gateway=GatewayExposure(
                url=settings.gateway_url,
                service_type=settings.gateway_service_type.value,
                annotations=settings.gateway_annotations,
            ),
            prometheus_address=settings.prometheus_address,
            interceptor=ServiceReference("keda-add-ons-http-interceptor-proxy", keda, INTERCEPTOR_PORT),
            external_scaler=ServiceReference("keda-add-ons-http-external-scaler", keda, SCALER_PORT),
            keda_namespace=keda,
            selections={nodes.name: selection(nodes) for nodes in settings.node_pools},
        )
        self.register_outputs({"kubeconfig": kubeconfig})


def selection(nodes: PoolNodes) -> NodeSelection:
    """How a pool's nodes are found, as the layers above want it."""
    taints = nodes.taints
    return NodeSelection(
        labels=nodes.node_selector,
        taints=None if taints is None else tuple(Taint(item.key, item.value, item.effect.value) for item in taints),
        resource=nodes.gpu_resource or "",
    )


def _from_stack(
    parent: Component, name: str, settings: ExistingSettings
) -> tuple[pulumi.Output[str], pulumi.Input[str] | None]:
    # The child's name is what the engine shows; which stack is read is in its inputs.
    # The reference's state has all outputs of that stack, which may export a kubeconfig without marking it.
    secret = pulumi.ResourceOptions(additional_secret_outputs=["outputs"])
    opts = pulumi.ResourceOptions.merge(parent.child(), secret)
    reference = pulumi.StackReference(f"{name}-stack", stack_name=settings.stack, opts=opts)
    contents = reference.require_output(settings.stack_output)
    return pulumi.Output.secret(contents), None


def _from_file(settings: ExistingSettings) -> tuple[str, str | None]:
    found = find_context(settings.kubeconfig, settings.context)
    ensure_reachable(found)
    # The path, not the contents: the client's key stays out of the state.
    return str(found.file), found.name or None
