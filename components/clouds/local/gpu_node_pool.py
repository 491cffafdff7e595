"""Nodes that are not there: Node objects whose life KWOK simulates and whose pods the node agent runs.

Simulated: there is no machine, no GPU, no device plugin and no cluster autoscaler. A pool is therefore at its
largest from the start, and `min_nodes` has no effect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import pulumi
from pulumi_kubernetes.core.v1 import Node, NodeSpecArgs
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.cluster import NodePoolArgs
from components.labels import NODE_POOL
from components.scheduling import SYSTEM_POOL, Taint

CAPACITY_ANNOTATION: Final = "inference.platform/capacity"
"""JSON of allocatable; the cluster's KWOK stage turns it into the node's status, which is not ours to apply."""

SIMULATED_NODE: Final[Mapping[str, str]] = {"kwok.x-k8s.io/node": "fake"}

PODS_PER_NODE: Final = 110
"""The kubelet's default."""

SYSTEM_NODE_CAPACITY: Final[Mapping[str, str]] = {"cpu": "32", "memory": "128Gi", "pods": "250"}
"""Room for the routers of well over a hundred model deployments; nothing real is reserved."""

OWNED_BY_CONTROLLERS: Final = ("spec.podCIDR", "spec.podCIDRs", "spec.taints", "spec.unschedulable")
"""Written by IPAM, node lifecycle and `kubectl cordon`. The price: a changed taint reaches new nodes only."""


class GpuNodePool(Component):
    """A pool of simulated GPU nodes.

    Attributes:
        nodes: its Node objects, `<pool>-0` and so on.
    """

    def __init__(self, name: str, args: NodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("local", name, opts)
        gpus = args.gpus
        labels = gpus.node_labels(args.instance_type, args.capacity_type)
        self.nodes = tuple(
            _node(self, name, f"{gpus.name}-{i}", labels, gpus.node_capacity(PODS_PER_NODE), gpus.taints)
            for i in range(args.max_nodes)
        )
        self.register_outputs({"nodes": [f"{gpus.name}-{i}" for i in range(args.max_nodes)]})


class SystemNodePool(Component):
    """One simulated node without GPU and taint: gateway and routers run there.

    Attributes:
        nodes: its one Node object.
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("local", name, opts)
        labels = {NODE_POOL: SYSTEM_POOL, "node.kubernetes.io/instance-type": "simulated"}
        self.nodes = (_node(self, name, f"{SYSTEM_POOL}-0", labels, SYSTEM_NODE_CAPACITY, ()),)
        self.register_outputs({"nodes": [f"{SYSTEM_POOL}-0"]})


def _node(  # noqa: PLR0917 - each is another part of the object
    parent: Component,
    prefix: str,
    node: str,
    labels: Mapping[str, str],
    capacity: Mapping[str, str],
    taints: tuple[Taint, ...],
) -> Node:
    standard = {
        "kubernetes.io/hostname": node,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    }
    return Node(
        f"{prefix}-{node.rpartition('-')[2]}",
        metadata=ObjectMetaArgs(
            name=node,
            labels={**standard, **labels},
            annotations={**SIMULATED_NODE, CAPACITY_ANNOTATION: json.dumps(capacity)},
        ),
        spec=NodeSpecArgs(
            provider_id=f"local:///{node}",
            taints=[taint.as_taint() for taint in taints] or None,
        ),
        opts=parent.child(ignore_changes=OWNED_BY_CONTROLLERS),
    )
