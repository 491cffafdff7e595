"""GPU nodes that Karpenter makes: a NodePool and the EC2NodeClass of its machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.clouds.aws.gpu_node_pool import ACCELERATOR_LABEL, node_labels
from components.clouds.aws.launch_template import (
    BASE_IOPS,
    BASE_MIB_PER_SECOND,
    FAST_IOPS,
    FAST_MIB_PER_SECOND,
    ROOT_DEVICE,
    mime,
    node_config,
)
from components.cluster import NodePoolArgs
from components.scheduling import WHOLE_GPU

CAPACITY_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "on-demand": ("on-demand",),
    "spot": ("spot",),
    # Karpenter takes the cheapest, which is spot, and the other when EC2 says that it has none.
    "spot-with-fallback": ("spot", "on-demand"),
    "reserved": ("reserved",),
}

NODES_GONE: Final = "45m"
"""Longest wait for the machines of a node class to end; an engine's longest drain is an hour, of which destroys that
take the workloads away first see nothing."""


@dataclass(frozen=True, kw_only=True)
class KarpenterNodePoolArgs:
    """A GPU node pool that Karpenter makes.

    Attributes:
        pool: what is wanted; `provisioner` must be auto.
        subnets: private subnet of each zone of the network.
        security_group_id: of control plane and nodes.
        instance_profile: of the nodes.
        scale_down_minutes: a node without pods is given back after so long.
        tags: on machines and volumes.
    """

    pool: NodePoolArgs
    subnets: Mapping[str, pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    instance_profile: pulumi.Input[str]
    scale_down_minutes: int = 10
    tags: Mapping[str, str] = field(default_factory=dict)


class KarpenterNodePool(Component):
    """A NodePool and its EC2NodeClass, in the order in which they can go.

    On a destroy the NodePool goes first, and its machines with it; the class' finalizer holds until the last has
    ended; the controller, which ends them, goes after the class.

    Attributes:
        node_pool: workloads are made after it and go before it.
    """

    def __init__(
        self,
        name: str,
        args: KarpenterNodePoolArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("aws", name, opts, after)
        pool = args.pool
        node_class = CustomResource(
            f"{name}-class",
            api_version="karpenter.k8s.aws/v1",
            kind="EC2NodeClass",
            metadata=ObjectMetaArgs(name=pool.gpus.name),
            spec=node_class_spec(args),
            opts=pulumi.ResourceOptions.merge(
                self.child(), pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete=NODES_GONE))
            ),
        )
        self.node_pool = CustomResource(
            f"{name}-pool",
            api_version="karpenter.sh/v1",
            kind="NodePool",
            metadata=ObjectMetaArgs(
                name=pool.gpus.name, annotations={"pulumi.com/deletionPropagationPolicy": "foreground"}
            ),
            spec=node_pool_spec(args),
            opts=pulumi.ResourceOptions.merge(
                self.child(node_class), pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete=NODES_GONE))
            ),
        )
        self.register_outputs({"nodePool": pool.gpus.name})


def node_pool_spec(args: KarpenterNodePoolArgs) -> dict[str, Any]:
    """Spec of a NodePool (karpenter.sh/v1)."""
    pool = args.pool
    labels = {key: value for key, value in node_labels(pool).items() if key != ACCELERATOR_LABEL}
    requirements = [
        _requirement("node.kubernetes.io/instance-type", pool.instance_type),
        _requirement("karpenter.sh/capacity-type", *CAPACITY_TYPES[pool.capacity_type]),
        _requirement("kubernetes.io/arch", "amd64"),
        _requirement("kubernetes.io/os", "linux"),
    ]
    if pool.zones:
        requirements.append(_requirement("topology.kubernetes.io/zone", *pool.zones))
    return {
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": pool.gpus.name},
                "requirements": requirements,
                "taints": [
                    {"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in pool.gpus.taints
                ],
                # The default, 30 days, ends a machine with its loaded model whenever its time has come.
                "expireAfter": "Never",
            },
        },
        "limits": {WHOLE_GPU: str(pool.max_nodes * pool.gpus.gpus_per_node)},
        "disruption": {
            # Not WhenEmptyOrUnderutilized: it moves a loaded model, which takes minutes to load, to save cents.
            "consolidationPolicy": "WhenEmpty",
            "consolidateAfter": f"{args.scale_down_minutes}m",
            "budgets": [
                {"nodes": "100%", "reasons": ["Empty"]},
                # A new image or a changed class: machines with a model stay, new ones are of the new kind.
                {"nodes": "0", "reasons": ["Drifted", "Underutilized"]},
            ],
        },
    }


def node_class_spec(args: KarpenterNodePoolArgs) -> dict[str, Any]:
    """Spec of an EC2NodeClass (karpenter.k8s.aws/v1)."""
    pool = args.pool
    fast = pool.image_streaming and not pool.local_nvme
    # Local disks are a field of the class; nodeadm is told the rest.
    config = node_config(local_nvme=False, image_streaming=pool.image_streaming)
    spec: dict[str, Any] = {
        # For machines with GPUs this means the image with NVIDIA's driver.
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "instanceProfile": args.instance_profile,
        "subnetSelectorTerms": [{"id": args.subnets[zone]} for zone in (pool.zones or args.subnets)],
        "securityGroupSelectorTerms": [{"id": args.security_group_id}],
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
        "blockDeviceMappings": [
            {
                "deviceName": ROOT_DEVICE,
                "ebs": {
                    "volumeSize": f"{pool.disk_gib}Gi",
                    "volumeType": "gp3",
                    "iops": FAST_IOPS if fast else BASE_IOPS,
                    "throughput": FAST_MIB_PER_SECOND if fast else BASE_MIB_PER_SECOND,
                    "encrypted": True,
                    "deleteOnTermination": True,
                },
            }
        ],
        "tags": dict(args.tags),
    }
    if pool.local_nvme:
        spec["instanceStorePolicy"] = "RAID0"
    if pool.reservation_id:
        spec["capacityReservationSelectorTerms"] = [{"id": pool.reservation_id}]
    if config:
        spec["userData"] = mime(config)
    return spec


def _requirement(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}
