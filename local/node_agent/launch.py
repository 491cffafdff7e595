"""From a container's description to the command line, environment and folder of a process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightkube.models.core_v1 import Container

from local.node_agent import files
from local.node_agent.container_env import container_environment
from local.node_agent.expansion import expand
from local.node_agent.fields import ContainerConfigError, PodFields, meta
from local.node_agent.images import PLACEHOLDERS, ImageProgram
from local.node_agent.kubernetes import ObjectReader
from local.node_agent.paths import PathMap
from local.node_agent.pod_folder import PodFolder
from local.node_agent.service_account import NO_CLUSTER, ApiEndpoint
from local.node_agent.volumes import Volumes

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Tells a process of ours from all others, even if the agent died before it could record it.
MARK = "NODE_AGENT_CONTAINER"


@dataclass(frozen=True)
class PodSetting:
    """Where and how the containers of one pod run.

    Attributes:
        fields: the pod, its address and its node's.
        volumes: of the pod.
        folder: of the pod.
        objects: where ConfigMaps and Secrets are read.
        endpoint: the API server, for the pod's kubeconfig.
        mark: prefix of the MARK of its processes, different for each state directory.
    """

    fields: PodFields
    volumes: Volumes
    folder: PodFolder
    objects: ObjectReader
    endpoint: ApiEndpoint
    mark: str


@dataclass(frozen=True)
class Launch:
    """A container as a process.

    Attributes:
        command: program and arguments on this machine.
        env: the whole environment.
        folder: working directory.
        paths: the container's mount paths, for commands that run later.
    """

    command: list[str]
    env: dict[str, str]
    folder: Path
    paths: PathMap


async def prepare(container: Container, program: ImageProgram, setting: PodSetting) -> Launch:
    """Work out how to start a container.

    Raises:
        ContainerConfigError: something that it refers to is missing. Any of the API's errors.
    """
    variables = await container_environment(container, setting.fields, setting.objects)
    paths = setting.volumes.paths(container, variables)
    words = program.command_line(
        [expand(word, variables) for word in container.command or []],
        [expand(word, variables) for word in container.args or []],
    )
    if not words:
        raise ContainerConfigError("no command specified, and the image has none")
    env = _base_environment(container, setting) | setting.fields.simulation_environment()
    env |= {name: paths.rewrite(value) for name, value in variables.items()}
    return Launch(
        program.on_this_machine([paths.rewrite(word) for word in words]),
        env,
        _working_directory(container, setting, paths),
        paths,
    )


def mark_of(setting: PodSetting, container_id: str) -> dict[str, str]:
    """The variable by which leftover processes are found again."""
    return {MARK: f"{setting.mark}{container_id}"}


def _base_environment(container: Container, setting: PodSetting) -> dict[str, str]:
    """What an image would bring; nothing of the agent's own environment."""
    return {
        "PATH": f"{PLACEHOLDERS['{scripts}']}:{SYSTEM_PATH}",
        "HOME": str(setting.folder.home),
        "HOSTNAME": meta(setting.fields.pod).name or "",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "KUBECONFIG": str(_kubeconfig(container, setting)),
        # Of exec probes and hooks; the container's own process gets its id instead.
        **mark_of(setting, "probe"),
    }


def _kubeconfig(container: Container, setting: PodSetting) -> Path:
    account = setting.volumes.service_account(container)
    if account is None:
        path = setting.folder.home / ".no-cluster"
        files.write(path, NO_CLUSTER)
        return path
    text = setting.endpoint.kubeconfig(account / "token", meta(setting.fields.pod).namespace or "default")
    files.write(setting.folder.kubeconfig, text)
    return setting.folder.kubeconfig


def _working_directory(container: Container, setting: PodSetting, paths: PathMap) -> Path:
    """The container's workingDir where it lies in a volume; else the pod's home, for there is no image."""
    wanted = container.workingDir
    if not wanted or paths.rewrite(wanted) == wanted:
        return setting.folder.home
    return Path(paths.rewrite(wanted))
