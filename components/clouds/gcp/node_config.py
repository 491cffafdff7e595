"""Parts of a node's configuration that CPU and GPU nodes have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from pulumi_gcp import container

from components.scheduling import Taint

OAUTH_SCOPES: Final = ["https://www.googleapis.com/auth/cloud-platform"]
"""Roles of the service account decide, as Google advises; scopes only ever narrow them."""

AUTOSCALER_OWNS: Final = ("nodeCount", "initialNodeCount")
"""Numbers of nodes that the cluster autoscaler sets; nobody else may put them back."""

EFFECTS: Final[Mapping[str, str]] = {
    "NoSchedule": "NO_SCHEDULE",
    "NoExecute": "NO_EXECUTE",
    "PreferNoSchedule": "PREFER_NO_SCHEDULE",
}
GOOGLES: Final = "cloud.google.com/"
KUBERNETES: Final = "kubernetes.io/"


def node_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels that a node pool may set: those of Kubernetes and of Google are theirs to write."""
    return {key: value for key, value in labels.items() if KUBERNETES not in key and not key.startswith(GOOGLES)}


def node_taints(taints: Iterable[Taint]) -> list[container.NodePoolNodeConfigTaintArgs]:
    """Taints that a node pool sets; Google's own are put there by GKE."""
    return [
        container.NodePoolNodeConfigTaintArgs(key=taint.key, value=taint.value, effect=EFFECTS[taint.effect])
        for taint in taints
        if not taint.key.startswith(GOOGLES)
    ]


def shielded() -> container.NodePoolNodeConfigShieldedInstanceConfigArgs:
    """Signed boot loader, kernel and drivers only."""
    return container.NodePoolNodeConfigShieldedInstanceConfigArgs(
        enable_secure_boot=True, enable_integrity_monitoring=True
    )


def gke_metadata() -> container.NodePoolNodeConfigWorkloadMetadataConfigArgs:
    """Pods get identities of their own, never the node's."""
    return container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA")
