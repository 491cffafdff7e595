"""What an engine's pod has beside the engine: a sidecar that takes its port, files, and what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pulumi_kubernetes.core.v1 import ContainerArgs, EnvVarArgs, VolumeArgs, VolumeMountArgs

from components.serving import sleep
from components.serving.base import ModelDeploymentArgs
from components.serving.engines import files, health_front
from components.serving.engines.base import HEALTH, POD_PORT, EngineProgram

PORT_BEHIND_FRONT: Final = 8001
"""Of an engine with a front in its pod."""


@dataclass(frozen=True, kw_only=True)
class PodParts:
    """What is added to a pod.

    Attributes:
        sidecars: that take the pod's port.
        volumes: of the pod.
        mounts: of the engine.
        variables: of the engine.
        annotations: of the pod.
    """

    sidecars: Sequence[ContainerArgs] = ()
    volumes: Sequence[VolumeArgs] = ()
    mounts: Sequence[VolumeMountArgs] = ()
    variables: Sequence[EnvVarArgs] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def own_port(program: EngineProgram) -> int:
    """Where the engine itself listens: behind a front where it has no /health of its own."""
    return POD_PORT if program.health_path == HEALTH else PORT_BEHIND_FRONT


def pod_files(program: EngineProgram, model: str) -> dict[str, str]:
    """All files that the platform writes for a pod, by their path in its volume."""
    texts = dict(program.files(model))
    if own_port(program) != POD_PORT:
        texts[health_front.FILE] = health_front.configuration(program.health_path, POD_PORT, own_port(program))
    return texts


def parts_of(program: EngineProgram, args: ModelDeploymentArgs) -> PodParts:
    """What the engine's pod needs: a sleeper, a front and files, or nothing."""
    if args.sleep is not None:
        return PodParts(
            sidecars=[sleep.sleeper(args, args.sleep, program.image, POD_PORT)],
            volumes=sleep.volumes(args.name),
            mounts=sleep.engine_mounts(),
            variables=sleep.engine_variables(),
            annotations=sleep.pod_annotations(),
        )
    texts = pod_files(program, args.name)
    if not texts:
        return PodParts()
    return PodParts(
        sidecars=[health_front.front(POD_PORT, files.VOLUME)] if own_port(program) != POD_PORT else (),
        volumes=[files.volume(args.name, texts)],
        mounts=[files.mount()] if program.files(args.name) else (),
        annotations=files.pod_annotations(texts),
    )
