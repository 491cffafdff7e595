"""The plan of a configured environment: a translation for `planner/plan.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.plan import EnvironmentPlan, EnvironmentRequest, ModelRequest, PoolRequest, plan_environment
from planner.prices import OwnPrices
from planner.quotas import Quota
from planner.request import RoleRequest
from stacks.config.models import EnvironmentConfig, MigSharing, ModelDeployment, NodePool
from stacks.config.models_deployment import SleepWhenIdle
from stacks.config.placement import kv_cache_dtype, lora_slots, quantization, shares_per_gpu
from stacks.config.vocabulary import WeightsStore

STORAGES = {
    WeightsStore.NODE_DISK: "hugging-face",
    WeightsStore.SHARED_FILES: "shared-files",
    WeightsStore.OBJECT_STORE: "object-store",
}
"""Where a replica's weights come from when it starts: with node-disk each pod downloads its own."""


def plan_config(
    config: EnvironmentConfig,
    environment: str,
    *,
    prices: OwnPrices | None = None,
    budget_per_hour: float | None = None,
    nodes_now: Mapping[str, int] | None = None,
    traffic: Mapping[str, Sequence[float]] | None = None,
    quotas: Sequence[Quota] = (),
) -> EnvironmentPlan:
    """The plan of a checked configuration.

    Args:
        config: from `load_environment`, which has checked it.
        environment: its name, which is the stack's.
        prices: a user's own prices.
        budget_per_hour: dollars per hour that the environment may cost at most; default: the configuration's.
        nodes_now: nodes that are there, by pool.
        traffic: requests per second by model deployment, hour by hour.
        quotas: what a preflight found.

    Raises:
        TrafficError: traffic for a deployment that does not exist.
    """
    return plan_environment(
        EnvironmentRequest(
            name=environment,
            cloud=config.cloud.value,
            pools=[_pool(pool) for pool in config.node_pools],
            models=[_model(item) for item in config.model_deployments],
            prices=prices or OwnPrices(),
            storage=STORAGES[config.weights.store],
            region=config.region or "",
            budget_per_hour=config.budget_per_hour if budget_per_hour is None else budget_per_hour,
            nodes_now=nodes_now,
            traffic=traffic or {},
            quotas=quotas,
        )
    )


def _pool(pool: NodePool) -> PoolRequest:
    return PoolRequest(
        name=pool.name,
        instance_type=pool.instance_type,
        capacity_type=pool.capacity_type.value,
        min_nodes=pool.min_nodes,
        max_nodes=pool.max_nodes,
        sharing=pool.sharing.mode.value,
        mig_profile=pool.sharing.profile if isinstance(pool.sharing, MigSharing) else None,
        slices_per_gpu=shares_per_gpu(pool),
    )


def _model(item: ModelDeployment) -> ModelRequest:
    engine, idle = item.engine, item.scaling.idle
    fewest, most = item.replica_bounds
    return ModelRequest(
        name=item.name,
        model=item.source.hugging_face,
        pool=item.node_pool,
        engine=engine.name.value,
        tensor_parallel=engine.tensor_parallel,
        gpu_memory_utilization=engine.gpu_memory_utilization,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        quantization=quantization(engine),
        kv_cache_dtype=kv_cache_dtype(engine),
        min_replicas=fewest,
        max_replicas=most,
        cooldown_seconds=item.scaling.cooldown_seconds,
        startup_budget_seconds=item.scaling.startup_budget_seconds,
        lora=lora_slots(engine),
        roles=[
            RoleRequest(role=role, min_replicas=scaling.min_replicas, max_replicas=scaling.max_replicas)
            for role, scaling in item.scalings.items()
            if role
        ],
        sleep_level=idle.level if isinstance(idle, SleepWhenIdle) else None,
        sleep_after_seconds=idle.after_seconds if isinstance(idle, SleepWhenIdle) else 0,
    )
