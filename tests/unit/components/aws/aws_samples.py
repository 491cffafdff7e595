"""Pools and clusters of AWS for tests: complete, small, changed by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.cluster import ClusterArgs, NodePoolArgs
from components.scheduling import GpuPool, Sharing, SharingMode

L4 = GpuPool(name="l4", product="NVIDIA-L4", gpus_per_node=4, vcpu=48, memory_gib=192)
H100 = GpuPool(name="h100", product="NVIDIA-H100-80GB-SXM", gpus_per_node=8, vcpu=192, memory_gib=2048)

POOL = NodePoolArgs(gpus=L4, instance_type="g6.12xlarge", capacity_type="on-demand", min_nodes=0, max_nodes=3)

CLUSTER = ClusterArgs(environment="prod", gateway_host_port=8080, region="us-east-1", tags={"team": "ml"})

TAGS = {"inference.platform/environment": "prod", "team": "ml"}


def pool(**changes: Any) -> NodePoolArgs:
    """The sample pool, changed."""
    return replace(POOL, **changes)


def shared(mode: SharingMode, slices: int, profile: str = "") -> GpuPool:
    """The GPUs of an H100 machine, split."""
    return replace(H100, sharing=Sharing(mode, slices, profile))
