"""Model weights in a place that outlives pods: the claim that all engines mount.

Without such a place (node-disk) each pod downloads its own copy and it is not made.
"""

from __future__ import annotations

from typing import Final

import pulumi
from pulumi_kubernetes.core.v1 import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpecArgs,
    VolumeResourceRequirementsArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.cluster import ClusterHandle, WeightsVolume
from components.labels import EnvironmentLabels
from components.pods import SKIP_AWAIT

CLAIM: Final = "weights"
MOUNT: Final = "/weights"
"""Where the claim is mounted, and Hugging Face's home (HF_HOME) in every pod that mounts it."""

HUB: Final = f"{MOUNT}/hub"
"""The part of it with the models (HF_HUB_CACHE)."""


class WeightsClaim(Component):
    """The claim of an environment's namespace.

    Attributes:
        claim: its name.
        resource: the claim itself.
    """

    def __init__(
        self,
        name: str,
        labels: EnvironmentLabels,
        volume: WeightsVolume,
        cluster: ClusterHandle,
        after: tuple[pulumi.Resource, ...] = (),
    ) -> None:
        opts = pulumi.ResourceOptions(provider=cluster.provider)
        super().__init__("serving", name, opts, (*after, *volume.after))
        self.claim = CLAIM
        self.resource = PersistentVolumeClaim(
            f"{name}-claim",
            # A class that binds at the first pod would be waited for in vain while every model is at zero.
            metadata=ObjectMetaArgs(
                name=CLAIM, namespace=labels.namespace, labels=labels.shared, annotations={**SKIP_AWAIT}
            ),
            spec=PersistentVolumeClaimSpecArgs(
                access_modes=[volume.access_mode],
                storage_class_name=volume.storage_class,
                volume_name=volume.volume_name or None,
                resources=VolumeResourceRequirementsArgs(requests={"storage": volume.capacity}),
            ),
            opts=self.child(),
        )
        self.register_outputs({"claim": self.claim})
