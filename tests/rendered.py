"""The command lines that the environments of the repository give to engines and routers, without a Pulumi engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from components.labels import EnvironmentLabels
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.engine import engine_arguments
from components.serving.production_stack.render import chart_values
from components.serving.router import router_arguments
from components.serving.shared_router import shared_router_words
from components.versions import VLLM_ENGINE, VLLM_ROUTER
from local.layout import REPOSITORY
from stacks.config import EnvironmentConfig, load_stack_file
from stacks.config.vocabulary import RouterKind, ServingStack
from stacks.environment import model_deployment_args
from stacks.node_pools import gpu_pool

CHART_FLAGS = {
    "maxModelLen": "--max-model-len",
    "dtype": "--dtype",
    "tensorParallelSize": "--tensor-parallel-size",
    "maxNumSeqs": "--max-num-seqs",
    "gpuMemoryUtilization": "--gpu_memory_utilization",
    "maxLoras": "--max_loras",
}
"""What the chart's template makes of values of `vllmConfig`, in its order."""


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
    found: list[CommandLine] = []
    deployments = [
        model_deployment_args(deployment, pools[deployment.node_pool], gpus, simulated=False)
        for deployment in config.model_deployments
    ]

    def add(workload: str, name: str, image: str, words: Sequence[str]) -> None:
        found.append(CommandLine(environment, workload, name, image.rpartition(":")[2], tuple(words)))

    for args in deployments:
        engine = engine_arguments(args.engine, args.name, args.timing.drain_seconds)
        charts = chart_engines(labels, args) if config.serving_stack is ServingStack.PRODUCTION_STACK else {}
        for workers in args.workers:
            words = charts.get(workers.kind, [*engine, *workers.arguments])
            add(f"{args.name} {workers.kind}", "vllm", VLLM_ENGINE, words)
        if config.router is not RouterKind.SHARED:
            discovery = args.topology.discovery(labels, args.name)
            words = router_arguments(labels, args.router_policy, args.timing, discovery)
            add(f"{args.name} router", "vllm-router", VLLM_ROUTER, words)
    if config.router is RouterKind.SHARED:
        shared = shared_router_words(labels, deployments)
        add("router", "vllm-router", VLLM_ROUTER, shared)
    return found


def chart_engines(labels: EnvironmentLabels, args: ModelDeploymentArgs) -> dict[str, list[str]]:
    """What the chart vllm-stack tells the engines of a model deployment, by the kind of its workers."""
    # The values of a command line come from no cluster.
    context = ServingContext(cluster=cast("Any", None), labels=labels, gateway_host="")
    values = chart_values(context, args, runtime_class="", extra=args.chart_values).render()
    return {spec["name"]: chart_words(spec) for spec in values["servingEngineSpec"]["modelSpec"]}


def chart_words(spec: Mapping[str, Any]) -> list[str]:
    """The arguments of `vllm serve` as deployment-vllm-multi.yaml of the chart 0.1.12 writes them.

    Without its ``--host 0.0.0.0``, which a later one of ours overrides.
    """
    config = spec["vllmConfig"]
    words = [spec["modelURL"], "--port", "8000"]
    words += ["--enable-lora"] if spec.get("enableLoRA") else []
    words += ["--enable-auto-tool-choice"] if spec.get("enableTool") else []
    words += ["--tool-call-parser", spec["toolCallParser"]] if spec.get("toolCallParser") else []
    words += ["--enable-prefix-caching" if config["enablePrefixCaching"] else "--no-enable-prefix-caching"]
    for key, flag in CHART_FLAGS.items():
        if key in config:
            words += [flag, str(config[key])]
    return [*words, *config["extraArgs"]]


def all_command_lines() -> list[CommandLine]:
    """Those of all environments of the repository."""
    return [line for name in environments() for line in command_lines(load_stack_file(name, REPOSITORY), name)]
