"""Files that the platform writes for an engine's pod: a ConfigMap, and where it lies in the pod."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    KeyToPathArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.labels import PREFIX, Workload
from components.serving.base import ServingContext
from components.serving.engines.base import FILES_FOLDER

VOLUME: Final = "engine-files"


def config_map_name(model: str) -> str:
    """Name of the ConfigMap."""
    return f"{model}-{VOLUME}"


def key_of(path: str) -> str:
    """A path as the key of a ConfigMap, which takes no slashes."""
    return path.replace("/", "__")


def volume(model: str, texts: Mapping[str, str]) -> VolumeArgs:
    """The ConfigMap with each file at its path."""
    items = [KeyToPathArgs(key=key_of(path), path=path) for path in sorted(texts)]
    return VolumeArgs(name=VOLUME, config_map=ConfigMapVolumeSourceArgs(name=config_map_name(model), items=items))


def mount() -> VolumeMountArgs:
    """Where the engine finds them."""
    return VolumeMountArgs(name=VOLUME, mount_path=FILES_FOLDER, read_only=True)


def pod_annotations(texts: Mapping[str, str]) -> dict[str, str]:
    """Pods are replaced when a file changes."""
    digest = hashlib.sha256(json.dumps(dict(texts), sort_keys=True).encode()).hexdigest()[:16]
    return {f"{PREFIX}/engine-files": digest}


def create(parent: Component, name: str, context: ServingContext, model: str, texts: Mapping[str, str]) -> ConfigMap:
    """Make the ConfigMap.

    Args:
        parent: the model deployment's component.
        name: its logical name.
        context: where.
        model: name of the model deployment.
        texts: files by path.
    """
    return ConfigMap(
        f"{name}-{VOLUME}",
        metadata=ObjectMetaArgs(
            name=config_map_name(model),
            namespace=context.labels.namespace,
            labels=context.labels.of(Workload.ENGINE, model),
        ),
        data={key_of(path): text for path, text in texts.items()},
        opts=parent.child(),
    )
