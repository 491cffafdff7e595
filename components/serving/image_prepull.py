"""Engine images on the nodes before the engines: an engine's image is about 10 GB and takes minutes to fetch.

It helps where nodes outlive engines: with `min_nodes` above 0, or when several models share a pool. A node that comes
for an engine fetches the image for both at the same time; there image streaming or a node image of one's own helps
(docs/weights.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes.apps.v1 import (
    DaemonSet,
    DaemonSetSpecArgs,
    DaemonSetUpdateStrategyArgs,
    RollingUpdateDaemonSetArgs,
)
from pulumi_kubernetes.core.v1 import ContainerArgs, LocalObjectReferenceArgs, PodSpecArgs, PodTemplateSpecArgs
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs

from components.base import Component
from components.images import pin_images
from components.labels import NODE_POOL, Workload
from components.pods import NOBODY, SKIP_AWAIT, confined
from components.scheduling import GpuPool, PodResources
from components.serving.base import ServingContext

RESOURCES: Final = PodResources(cpu="1m", memory="16Mi")
"""Of a container that sleeps."""


@dataclass(frozen=True, kw_only=True)
class ImagePrePullArgs:
    """Images for the nodes of a pool.

    Attributes:
        pool: whose nodes.
        images: with their tags; each has the program `sleep`.

    Raises:
        ValueError: no image.
    """

    pool: GpuPool
    images: Sequence[str]

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError(f"node pool {self.pool.name!r}: no image to fetch")


class ImagePrePull(Component):
    """A DaemonSet whose pods sleep in the images: a running container also keeps the kubelet from removing its image.

    It asks for no GPU. Autoscalers do not count pods of DaemonSets: an idle node goes all the same.
    """

    def __init__(
        self, name: str, context: ServingContext, args: ImagePrePullArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("serving", name, opts, context.after)
        pool = {NODE_POOL: args.pool.name}
        labels = {**context.labels.of(Workload.IMAGES), **pool}
        selector = {**context.labels.selector(Workload.IMAGES), **pool}
        pod = PodSpecArgs(
            automount_service_account_token=False,
            enable_service_links=False,
            image_pull_secrets=[LocalObjectReferenceArgs(name=item) for item in context.image_pull_secrets] or None,
            node_selector=args.pool.node_selector,
            tolerations=[taint.as_toleration() for taint in args.pool.taints],
            # There is nothing to finish.
            termination_grace_period_seconds=0,
            containers=[
                ContainerArgs(
                    name=f"image-{index}",
                    image=image,
                    command=["sleep", "infinity"],
                    resources=RESOURCES.as_requirements(),
                    security_context=confined(NOBODY),
                )
                for index, image in enumerate(dict.fromkeys(args.images))
            ],
        )
        self.daemon_set = DaemonSet(
            f"{name}-images",
            metadata=ObjectMetaArgs(
                name=f"{args.pool.name}-images",
                namespace=context.labels.namespace,
                labels=labels,
                # A node may take minutes to fetch its images, and nothing waits for them.
                annotations={**SKIP_AWAIT},
            ),
            spec=DaemonSetSpecArgs(
                selector=LabelSelectorArgs(match_labels=selector),
                # All nodes at once: while one fetches a new image, its engines go on with the old one.
                update_strategy=DaemonSetUpdateStrategyArgs(
                    type="RollingUpdate", rolling_update=RollingUpdateDaemonSetArgs(max_unavailable="100%")
                ),
                template=PodTemplateSpecArgs(
                    metadata=ObjectMetaArgs(labels=labels), spec=pin_images(pod, context.image_digests)
                ),
            ),
            opts=self.child(),
        )
        self.register_outputs({})
