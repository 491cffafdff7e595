"""Sleep mode: what a pod has in addition when its idle engine sleeps instead of going away.

A sidecar, the sleeper (`sleeper.py`, docs/adr/0010), takes the pod's port; the engine listens on a Unix socket of the
pod. The sidecar is one of Kubernetes' own (an init container that is restarted): it listens before the engine starts,
and ends after the engine has drained, so that no answer is cut off on its way.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from pulumi_kubernetes.core.v1 import (
    ConfigMap,
    ConfigMapVolumeSourceArgs,
    ContainerArgs,
    ContainerPortArgs,
    EmptyDirVolumeSourceArgs,
    EnvVarArgs,
    ResourceRequirementsArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.labels import PREFIX, Workload
from components.pods import POD_IP, confined, http_probe, pod_ip
from components.serving.base import ModelDeploymentArgs, ServingContext, SleepArgs

SCRIPT: Final = (Path(__file__).parent / "sleeper.py").read_text(encoding="utf-8")
SCRIPT_DIGEST: Final = hashlib.sha256(SCRIPT.encode()).hexdigest()[:16]
SCRIPT_FOLDER: Final = "/etc/sleeper"
SCRIPT_FILE: Final = "sleeper.py"

SOCKET_FOLDER: Final = "/run/engine"
SOCKET: Final = "vllm.sock"

SIMULATED_DCGM: Final = "/simulated-dcgm"
"""What only a simulated engine has: the page of its GPU."""

CPU, MEMORY = "100m", "256Mi"


def sleeper_name(model: str) -> str:
    """Name of the ConfigMap with the sleeper."""
    return f"{model}-sleeper"


def engine_flags() -> list[str]:
    """Where an engine that can sleep listens, and that it can."""
    return [f"--uds={SOCKET_FOLDER}/{SOCKET}", "--enable-sleep-mode"]


def engine_variables() -> list[EnvVarArgs]:
    """Without it vLLM has neither /sleep nor /wake_up."""
    return [EnvVarArgs(name="VLLM_SERVER_DEV_MODE", value="1")]


def engine_mounts() -> list[VolumeMountArgs]:
    """Where the engine makes its socket."""
    return [VolumeMountArgs(name="socket", mount_path=SOCKET_FOLDER)]


def volumes(model: str) -> list[VolumeArgs]:
    """The socket's and the script's."""
    return [
        VolumeArgs(name="socket", empty_dir=EmptyDirVolumeSourceArgs()),
        VolumeArgs(name="sleeper", config_map=ConfigMapVolumeSourceArgs(name=sleeper_name(model))),
    ]


def pod_annotations() -> dict[str, str]:
    """Pods are replaced when the script changes."""
    return {f"{PREFIX}/sleeper": SCRIPT_DIGEST}


def sleeper(args: ModelDeploymentArgs, sleep: SleepArgs, image: str, port: int) -> ContainerArgs:
    """The sidecar.

    Args:
        args: what is served.
        sleep: when and how deep.
        image: the engine's, whose Python it runs on.
        port: the engine's, which it takes.
    """
    reads = [f"--read={SIMULATED_DCGM}"] if args.simulation is not None else []
    return ContainerArgs(
        name="sleeper",
        image=image,
        restart_policy="Always",
        command=["python3", "-I", f"{SCRIPT_FOLDER}/{SCRIPT_FILE}"],
        args=[
            f"--socket={SOCKET}",
            f"--host={POD_IP}",
            f"--port={port}",
            f"--model={args.name}",
            f"--level={sleep.level}",
            f"--after-seconds={sleep.after_seconds}",
            *reads,
        ],
        # The socket is named relative to its folder: the whole name of a socket is limited to 107 bytes.
        working_dir=SOCKET_FOLDER,
        env=[pod_ip()],
        ports=[ContainerPortArgs(name="http", container_port=port)],
        resources=ResourceRequirementsArgs(requests={"cpu": CPU, "memory": MEMORY}, limits={"memory": MEMORY}),
        # The same user as the engine's: others may not write to its socket.
        security_context=confined(),
        liveness_probe=http_probe("/sleeper", port, period=5),
        volume_mounts=[
            VolumeMountArgs(name="socket", mount_path=SOCKET_FOLDER),
            VolumeMountArgs(name="sleeper", mount_path=SCRIPT_FOLDER, read_only=True),
        ],
    )


def create_script(parent: Component, name: str, context: ServingContext, model: str) -> ConfigMap:
    """Make the ConfigMap that pods run the sleeper from.

    Args:
        parent: the model deployment's component.
        name: its logical name.
        context: where.
        model: name of the model deployment.
    """
    return ConfigMap(
        f"{name}-sleeper",
        metadata=ObjectMetaArgs(
            name=sleeper_name(model),
            namespace=context.labels.namespace,
            labels=context.labels.of(Workload.ENGINE, model),
        ),
        data={SCRIPT_FILE: SCRIPT},
        opts=parent.child(),
    )
