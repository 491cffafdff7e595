"""The command lines that the environments of the repository give to engines and routers, without a Pulumi engine."""

from __future__ import annotations

from dataclasses import dataclass

from components.labels import EnvironmentLabels
from components.serving.engine import engine_arguments
from components.serving.router import router_arguments
from components.versions import VLLM_ENGINE, VLLM_ROUTER
from local.layout import REPOSITORY
from stacks.config import EnvironmentConfig, load_stack_file
from stacks.environment import gpu_pool, model_deployment_args


@dataclass(frozen=True)
class CommandLine:
    """What a container is told.

    Attributes:
        environment: the stack.
        workload: the model deployment, and `engine` or `router`.
        engine: name of the catalogue of flags.
        version: of the program, as the image's tag has it.
        words: without the program's name.
    """

    environment: str
    workload: str
    engine: str
    version: str
    words: tuple[str, ...]


def environments() -> list[str]:
    """The stacks of the repository: `Pulumi.<stack>.yaml`."""
    return sorted(path.name.split(".")[1] for path in REPOSITORY.glob("Pulumi.*.yaml"))


def command_lines(config: EnvironmentConfig, environment: str) -> list[CommandLine]:
    """Everything that the containers of an environment are told that have flags in the catalogue."""
    pools = {pool.name: pool for pool in config.node_pools}
    gpus = {name: gpu_pool(pool, None) for name, pool in pools.items()}
    labels = EnvironmentLabels(environment)
    found = []
    for deployment in config.model_deployments:
        args = model_deployment_args(deployment, pools[deployment.node_pool], gpus, simulated=False)
        engine = engine_arguments(args.engine, args.name, args.timing.drain_seconds)
        router = router_arguments(labels, args.name, args.router_policy, args.timing)
        for name, image, words in (("vllm", VLLM_ENGINE, engine), ("vllm-router", VLLM_ROUTER, router)):
            workload = f"{args.name} {'engine' if name == 'vllm' else 'router'}"
            found.append(CommandLine(environment, workload, name, image.rpartition(":")[2], tuple(words)))
    return found


def all_command_lines() -> list[CommandLine]:
    """Those of all environments of the repository."""
    return [line for name in environments() for line in command_lines(load_stack_file(name, REPOSITORY), name)]
