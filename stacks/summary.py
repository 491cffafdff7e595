"""What a configuration comes to: pools with GPUs and prices, models with weights, KV cache and replicas."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from planner.catalog import gpus, instances
from stacks.config.models import EnvironmentConfig, MigSharing, ModelDeployment, MpsSharing, NodePool, TimeSlicing
from stacks.config.placement import engine_limits, shares_per_gpu
from stacks.config.warnings import warnings


@dataclass(frozen=True)
class PoolSummary:
    """A node pool, worked out.

    Prices are on-demand list prices in US dollars per hour, None where the catalogue has none.
    """

    name: str
    instance_type: str
    gpu: str
    gpus_per_node: int
    vcpu: int
    memory_gib: float
    sharing: str
    pods_per_gpu: int
    capacity_type: str
    nodes_min: int
    nodes_max: int
    price_per_hour: float | None
    hourly_min: float | None
    hourly_max: float | None
    region: str
    source: str
    as_of: str


@dataclass(frozen=True)
class ModelSummary:
    """A model deployment, worked out; sizes are None for a model that is not in the catalogue."""

    name: str
    model: str
    engine: str
    node_pool: str
    gpus_per_replica: int
    weights_gib: float | None
    kv_cache_tokens: int | None
    max_model_len: int | None
    max_num_seqs: int | None
    replicas_min: int
    replicas_max: int


@dataclass(frozen=True)
class Summary:
    """An environment, worked out."""

    stack: str
    cloud: str
    serving_stack: str
    pools: tuple[PoolSummary, ...]
    models: tuple[ModelSummary, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The summary as a JSON object."""
        return asdict(self)


def summarize(config: EnvironmentConfig, stack: str) -> Summary:
    """Work out what a checked configuration comes to."""
    pools = {pool.name: pool for pool in config.node_pools}
    return Summary(
        stack=stack,
        cloud=config.cloud.value,
        serving_stack=config.serving_stack.value,
        pools=tuple(_pool(pool) for pool in config.node_pools),
        models=tuple(_model(pools[item.node_pool], item) for item in config.model_deployments),
        warnings=tuple(warning.line() for warning in warnings(config)),
    )


def _sharing(pool: NodePool) -> str:
    sharing = pool.sharing
    if isinstance(sharing, MigSharing):
        return f"mig {sharing.profile}"
    if isinstance(sharing, (TimeSlicing, MpsSharing)):
        return f"{sharing.mode} x{sharing.replicas}"
    return sharing.mode.value


def _pool(pool: NodePool) -> PoolSummary:
    row = instances()[pool.instance_type]
    price = row.price_per_hour
    return PoolSummary(
        name=pool.name,
        instance_type=row.key,
        gpu=gpus()[row.gpu].name,
        gpus_per_node=row.gpus,
        vcpu=row.vcpu,
        memory_gib=row.memory_gib,
        sharing=_sharing(pool),
        pods_per_gpu=shares_per_gpu(pool),
        capacity_type=pool.capacity_type.value,
        nodes_min=pool.min_nodes,
        nodes_max=pool.max_nodes,
        price_per_hour=price,
        hourly_min=None if price is None else round(price * pool.min_nodes, 4),
        hourly_max=None if price is None else round(price * pool.max_nodes, 4),
        region=row.region,
        source=row.source,
        as_of=row.as_of.isoformat(),
    )


def _model(pool: NodePool, item: ModelDeployment) -> ModelSummary:
    limits = engine_limits(pool, item)
    return ModelSummary(
        name=item.name,
        model=item.source.hugging_face,
        engine=item.engine.name.value,
        node_pool=item.node_pool,
        gpus_per_replica=item.engine.tensor_parallel,
        weights_gib=None if limits is None else round(limits.weights_gib, 2),
        kv_cache_tokens=None if limits is None else limits.kv_cache_tokens,
        max_model_len=item.engine.max_model_len if limits is None else limits.max_model_len,
        max_num_seqs=item.engine.max_num_seqs if limits is None else limits.max_num_seqs,
        replicas_min=item.replica_bounds[0],
        replicas_max=item.replica_bounds[1],
    )
