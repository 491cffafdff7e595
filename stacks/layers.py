"""What a cluster does not bring by itself, installed: accelerator runtime, observability, autoscaling."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.cluster import Capability, ClusterHandle

NEEDED = frozenset({Capability.DEVICE_PLUGIN, Capability.PROMETHEUS, Capability.KEDA, Capability.KEDA_HTTP_ADD_ON})
"""What gateway and serving build on."""


def install_missing(
    name: str,  # noqa: ARG001
    cluster: ClusterHandle,
    nodes: Sequence[pulumi.Resource],  # noqa: ARG001
) -> ClusterHandle:
    """Install what is needed and not there.

    Args:
        name: prefix of the components' logical names.
        cluster: with what it brings.
        nodes: the node pools; what is installed comes after them and goes before them.

    Returns:
        The cluster with everything that is needed.

    Raises:
        ValueError: something is needed that nobody installs yet.
    """
    missing = NEEDED - cluster.provides
    if missing:
        raise ValueError(f"the cluster does not bring {', '.join(sorted(missing))}, and installing it is not built yet")
    return cluster
