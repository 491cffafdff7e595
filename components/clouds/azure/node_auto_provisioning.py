"""Pools whose nodes AKS makes for the pods that wait: node auto-provisioning, which is Karpenter run by AKS.

Only empty nodes go: consolidation never moves a model that took minutes to load. Nodes do not expire; a new node image
comes to the nodes that are made after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.clouds.azure.gpu_node_pool import RESERVED_LABELS
from components.clouds.azure.handle import AzureClusterHandle
from components.clouds.azure.settings import AzureSettings, OperatingSystem, SystemPool
from components.cluster import NodePoolArgs
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL, WHOLE_GPU

NODE_CLASS_API: Final = "karpenter.azure.com/v1beta1"
NODE_POOL_API: Final = "karpenter.sh/v1"

IMAGE_FAMILIES: Final = {OperatingSystem.UBUNTU: "Ubuntu", OperatingSystem.AZURE_LINUX: "AzureLinux"}

CAPACITIES: Final[Mapping[str, tuple[str, ...]]] = {
    "on-demand": ("on-demand",),
    "spot": ("spot",),
    # Karpenter takes the cheapest that it gets: spot as long as there is some.
    "spot-with-fallback": ("spot", "on-demand"),
}

EMPTY_BEFORE_REMOVAL: Final = "5m"
"""How long a node stays empty before it goes: a new replica within that time starts on a node with its image."""

SYSTEM_DISK_GIB: Final = 128


class AutoNodePool(Component):
    """A Karpenter NodePool with an AKSNodeClass of its own.

    Attributes:
        objects: both; workloads are created after them and destroyed before them.
    """

    def __init__(
        self,
        name: str,
        pool: str,
        node_class: Mapping[str, Any],
        node_pool: Mapping[str, Any],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make both objects.

        Args:
            name: logical name.
            pool: name of the objects in the cluster.
            node_class: spec of the AKSNodeClass.
            node_pool: spec of the NodePool.
            opts: of the component.
        """
        super().__init__("azure", name, opts)
        made = CustomResource(
            f"{name}-class",
            api_version=NODE_CLASS_API,
            kind="AKSNodeClass",
            metadata=ObjectMetaArgs(name=pool),
            spec=node_class,
            opts=self.child(),
        )
        # Its finalizer waits until its nodes are gone, which takes the node class.
        nodes = CustomResource(
            f"{name}-pool",
            api_version=NODE_POOL_API,
            kind="NodePool",
            metadata=ObjectMetaArgs(name=pool),
            spec=node_pool,
            opts=self.child(made),
        )
        self.objects = (made, nodes)
        self.register_outputs({"nodePool": pool})


def gpu_pool(name: str, args: NodePoolArgs, cluster: AzureClusterHandle, opts: pulumi.ResourceOptions) -> AutoNodePool:
    """A pool of GPU nodes that are made for pods."""
    return AutoNodePool(
        name,
        args.gpus.name,
        node_class(cluster.settings, args.disk_gib, {**cluster.tags, **args.tags}),
        gpu_node_pool(args, cluster.location),
        opts,
    )


def system_pool(name: str, cluster: AzureClusterHandle, opts: pulumi.ResourceOptions) -> AutoNodePool:
    """Further CPU nodes beside the cluster's own, of which there is a fixed number with node auto-provisioning."""
    return AutoNodePool(
        name,
        SYSTEM_POOL,
        node_class(cluster.settings, SYSTEM_DISK_GIB, cluster.tags),
        system_node_pool(cluster.settings.system_pool, cluster.location),
        opts,
    )


def node_class(settings: AzureSettings, disk_gib: int, tags: Mapping[str, str]) -> dict[str, Any]:
    """Spec of an AKSNodeClass."""
    return {
        "imageFamily": IMAGE_FAMILIES[settings.os],
        "osDiskSizeGB": disk_gib,
        **({"tags": dict(tags)} if tags else {}),
        **({"security": {"encryptionAtHost": True}} if settings.encryption_at_host else {}),
        **({} if settings.install_gpu_driver else {"gpu": {"mode": "None"}}),
    }


def gpu_node_pool(args: NodePoolArgs, location: str) -> dict[str, Any]:
    """Spec of the NodePool of a GPU pool."""
    gpus = args.gpus
    labels = gpus.node_labels(args.instance_type, args.capacity_type)
    spec = {
        "requirements": [
            *_machines([args.instance_type], CAPACITIES[args.capacity_type]),
            *_zones(args.zones, location),
        ],
        "taints": [{"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in gpus.taints],
    }
    return _node_pool(
        gpus.name,
        {key: value for key, value in labels.items() if key not in RESERVED_LABELS},
        spec,
        {WHOLE_GPU: str(args.max_nodes * gpus.gpus_per_node)},
    )


def system_node_pool(pool: SystemPool, location: str) -> dict[str, Any]:
    """Spec of the NodePool of further CPU nodes; the machines beyond the fixed ones."""
    spec = {"requirements": [*_machines([pool.vm_size], ("on-demand",)), *_zones(pool.zones, location)]}
    return _node_pool(SYSTEM_POOL, {NODE_POOL: SYSTEM_POOL}, spec, {"nodes": str(pool.max_nodes - pool.min_nodes)})


def _node_pool(
    name: str, labels: Mapping[str, str], spec: Mapping[str, Any], limits: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "template": {
            "metadata": {"labels": dict(labels)},
            "spec": {
                "nodeClassRef": {"group": "karpenter.azure.com", "kind": "AKSNodeClass", "name": name},
                "expireAfter": "Never",
                **spec,
            },
        },
        "limits": dict(limits),
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": EMPTY_BEFORE_REMOVAL},
    }


def _machines(vm_sizes: Sequence[str], capacities: Sequence[str]) -> list[dict[str, Any]]:
    return [
        _in("node.kubernetes.io/instance-type", vm_sizes),
        _in("karpenter.sh/capacity-type", capacities),
        _in("kubernetes.io/arch", ["amd64"]),
        _in("kubernetes.io/os", ["linux"]),
    ]


def _zones(zones: Sequence[str], location: str) -> list[dict[str, Any]]:
    return [_in("topology.kubernetes.io/zone", [f"{location}-{zone}" for zone in zones])] if zones else []


def _in(key: str, values: Sequence[str]) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}
