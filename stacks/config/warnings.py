"""What is allowed but probably not meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from components.clouds import load_rules
from components.timing import PRE_STOP_SECONDS
from planner.catalog import models
from planner.sizing import EngineLimits
from stacks.config.models import EnvironmentConfig, ModelDeployment, NodePool
from stacks.config.placement import engine_limits, extra_argument, instance_of, shares_per_gpu
from stacks.config.vocabulary import SIMULATED_ENGINES, CapacityType, Cloud, EngineName, Rollout, RouterPolicy


@dataclass(frozen=True)
class Warn:
    """One thing to think about.

    Attributes:
        path: where.
        message: what and why.
    """

    path: str
    message: str

    def line(self) -> str:
        """The warning in one line."""
        return f"{self.path}: {self.message}."


def warnings(config: EnvironmentConfig) -> Iterator[Warn]:
    """Everything that is allowed but probably not meant.

    Args:
        config: a checked configuration.
    """
    for index, pool in enumerate(config.node_pools):
        yield from _pool_too_small(config, pool, f"node_pools[{index}]")
    pools = {pool.name: pool for pool in config.node_pools}
    for index, deployment in enumerate(config.model_deployments):
        path = f"model_deployments[{index}]"
        if deployment.source.hugging_face not in models():
            message = f"{deployment.source.hugging_face} is not in planner/catalog/models.toml"
            yield Warn(f"{path}.source.hugging_face", f"{message}: whether it fits was not checked")
        yield from _no_room_to_surge(pools[deployment.node_pool], config, deployment, path)
        yield from _prefixes_nobody_keeps(deployment, path)
        yield from _answers_cut_off_by_spot(config, pools[deployment.node_pool], deployment, path)
        yield from _not_simulated(config, deployment, path)
        yield from _offload_that_is_not_simulated(config, deployment, path)
        yield from _unpinned_download(config, deployment, path)
        limits = engine_limits(pools[deployment.node_pool], deployment)
        if limits is not None:
            yield from _queue_in_engine(limits, deployment.scaling.concurrency, path)


def _not_simulated(config: EnvironmentConfig, deployment: ModelDeployment, path: str) -> Iterator[Warn]:
    if config.cloud is Cloud.LOCAL and deployment.engine.name not in SIMULATED_ENGINES:
        yield Warn(
            f"{path}.engine.name",
            f"{deployment.engine.name} is not simulated on the local cloud: its objects are made and checked, its pods "
            f"answer nothing (simulated: {', '.join(sorted(SIMULATED_ENGINES))})",
        )


def _offload_that_is_not_simulated(config: EnvironmentConfig, deployment: ModelDeployment, path: str) -> Iterator[Warn]:
    if config.cloud is Cloud.LOCAL and deployment.engine.kv_offload is not None:
        yield Warn(
            f"{path}.engine.kv_offload",
            "the simulated engine has no KV offload and no LMCache: it takes the flags, and is as fast as without",
        )


def _unpinned_download(config: EnvironmentConfig, deployment: ModelDeployment, path: str) -> Iterator[Warn]:
    """Triton cannot be given a revision (checks_weights.py): its user has nothing to mend."""
    pinnable = deployment.engine.name is not EngineName.TRITON
    if config.weights.preload and deployment.source.revision is None and pinnable:
        yield Warn(
            f"{path}.source.revision",
            f"weights.preload takes {deployment.source.hugging_face} at the default branch as it is on that day: the "
            "next store may get other files than those that were tested. Set it to a commit (40 hexadecimal digits, "
            "on the model's page under Files and versions)",
        )


def _prefixes_nobody_keeps(deployment: ModelDeployment, path: str) -> Iterator[Warn]:
    """The default policy, and prefix caching off: an error only where the policy was asked for."""
    off = extra_argument(deployment.engine, "enable-prefix-caching") is False
    if off and deployment.router_policy is RouterPolicy.CACHE_AWARE:
        message = "cache_aware sends prompts to where their prefix is cached, and prefix caching is off"
        yield Warn(f"{path}.router_policy", f"{message}: power_of_two would spread the load better")


def _answers_cut_off_by_spot(
    config: EnvironmentConfig, pool: NodePool, deployment: ModelDeployment, path: str
) -> Iterator[Warn]:
    """Draining takes longer than the cloud waits: what is then unfinished is lost."""
    rules = load_rules(config.cloud.value)
    grace = None if rules is None else rules.spot_grace_seconds
    if grace is None or pool.capacity_type not in {CapacityType.SPOT, CapacityType.SPOT_WITH_FALLBACK}:
        return
    left = grace - PRE_STOP_SECONDS
    if deployment.scaling.drain_seconds > left:
        yield Warn(
            f"{path}.scaling.drain_seconds",
            f"{deployment.scaling.drain_seconds} s to finish answers, but {config.cloud.value} kills pods {grace} s "
            f"after it takes back a spot node: answers that need more than {left} s are then cut off, and clients must "
            "ask again",
        )


def _users(config: EnvironmentConfig, pool: NodePool) -> list[ModelDeployment]:
    return [item for item in config.model_deployments if item.node_pool == pool.name]


def _most_wanted(config: EnvironmentConfig, pool: NodePool) -> int:
    """GPUs or slices that the pool's models take with all at max_replicas."""
    return sum(item.replica_bounds[1] * item.engine.tensor_parallel for item in _users(config, pool))


def _most_there(pool: NodePool) -> int | None:
    """GPUs or slices of the pool at its largest; None if its instance type is unknown."""
    instance = instance_of(pool)
    return None if instance is None else pool.max_nodes * instance.gpus * shares_per_gpu(pool)


def _pool_too_small(config: EnvironmentConfig, pool: NodePool, path: str) -> Iterator[Warn]:
    users = _users(config, pool)
    if not users:
        yield Warn(path, f"no model deployment uses the pool {pool.name}")
    wanted, there = _most_wanted(config, pool), _most_there(pool)
    if there is not None and wanted > there:
        names = ", ".join(item.name for item in users)
        yield Warn(
            f"{path}.max_nodes",
            f"{names} at max_replicas need {wanted} GPUs or slices, and {pool.max_nodes} nodes have "
            f"{there}: the last "
            "replicas would wait for a place",
        )


def _no_room_to_surge(pool: NodePool, config: EnvironmentConfig, item: ModelDeployment, path: str) -> Iterator[Warn]:
    there = _most_there(pool)
    if there is None or item.rollout is not Rollout.SURGE:
        return
    if _most_wanted(config, pool) + item.engine.tensor_parallel > there:
        yield Warn(
            f"{path}.rollout",
            f"with all models at max_replicas the pool {pool.name} has no {item.engine.tensor_parallel} GPUs or slices "
            "left for a successor: a rollout then waits until a replica goes",
        )


def _queue_in_engine(limits: EngineLimits, concurrency: int, path: str) -> Iterator[Warn]:
    if concurrency > limits.max_num_seqs:
        yield Warn(
            f"{path}.scaling.concurrency",
            f"{concurrency} requests per replica are more than the {limits.max_num_seqs} that one replica "
            f"batches: the "
            "rest waits in the engine",
        )
