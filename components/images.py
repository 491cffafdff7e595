"""Images with the digests that an environment pins them to: a tag can be moved to another image, a digest cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pulumi_kubernetes.core.v1 import ContainerArgs, PodSpecArgs


def pinned(image: str, digests: Mapping[str, str]) -> str:
    """An image as a pod names it: with its tag, for people, and with its digest, which is what is fetched.

    Args:
        image: with its tag.
        digests: ``sha256:...`` by image; one that has none there stays as it is.
    """
    digest = digests.get(image)
    return f"{image}@{digest}" if digest else image


def pin_images(pod: PodSpecArgs, digests: Mapping[str, str]) -> PodSpecArgs:
    """The same pod, the images of all its containers with their digests.

    Args:
        pod: with containers of ours: `ContainerArgs`, whose images are texts.
        digests: as in `pinned`.

    Raises:
        TypeError: a container that is no `ContainerArgs`, or whose image is an output.
    """
    for containers in (pod.init_containers, pod.containers):
        for container in containers if isinstance(containers, Sequence) else ():
            if not (isinstance(container, ContainerArgs) and isinstance(container.image, str)):
                raise TypeError("only containers of ours can be pinned, whose images are texts")
            container.image = pinned(container.image, digests)
    return pod
