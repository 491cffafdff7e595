"""Which instance serves a model and a target at least cost: all clouds, ranked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from planner.catalog import Gpu, Instance, Model, gpus, instances
from planner.cold_start import DEFAULT_STORAGE, cold_start
from planner.cost import per_million, split
from planner.latency import DEFAULT_ENGINE, Latency, predict
from planner.prices import OwnPrices, price
from planner.quotas import Quota, nodes_allowed
from planner.request import MEAN_INPUT_TOKENS, MEAN_OUTPUT_TOKENS
from planner.sizing import (
    DEFAULT_GPU_MEMORY_UTILIZATION,
    DoesNotFitError,
    computes,
    derive_engine_limits,
    tensor_parallel_choices,
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is asked of a placement; None means no limit.

    Attributes:
        input_tokens: of the mean prompt.
        output_tokens: of the mean answer.
        requests_per_s: to be served; sets the number of replicas.
        max_tpot_ms: longest time per output token.
        max_ttft_ms: longest time to first token, without queue.
        budget_per_hour: dollars.
        max_model_len: longest request to be held, tokens.
        utilization: share of full throughput that is planned for.
        capacity_type: how nodes are bought.
        quantization: how linear layers are stored.
        storage: where weights are read from.
        clouds: to choose from; default all.
        quotas: what a preflight found; instance types without an entry are not limited.
        engine: that serves.
    """

    input_tokens: float = MEAN_INPUT_TOKENS
    output_tokens: float = MEAN_OUTPUT_TOKENS
    requests_per_s: float | None = None
    max_tpot_ms: float | None = None
    max_ttft_ms: float | None = None
    budget_per_hour: float | None = None
    max_model_len: int | None = None
    utilization: float = 0.7
    capacity_type: str = "on-demand"
    quantization: str | None = None
    storage: str = DEFAULT_STORAGE
    clouds: frozenset[str] = frozenset({"aws", "azure", "gcp"})
    quotas: Sequence[Quota] = ()
    engine: str = DEFAULT_ENGINE


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """One way to serve the model; costs in US dollars. With pipeline stages a replica spans as many nodes."""

    instance_type: str
    cloud: str
    gpu: str
    tensor_parallel: int
    pipeline_parallel: int
    concurrency: int
    tpot_ms: float
    ttft_ms: float
    tokens_per_s: float
    latency_error: float
    estimate: bool
    replicas: int
    nodes: int
    hourly: float
    cost_per_million_output_tokens: float
    cold_start_s: float
    price_source: str
    price_as_of: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


BATCHES = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
MOST_STAGES = 4
"""Nodes that one replica may span; each stage is a whole node's tensor-parallel group."""


def rank(
    model: Model, target: Target | None = None, own_prices: OwnPrices | None = None, *, by_cold_start: bool = False
) -> tuple[Ranked, ...]:
    """All instances that meet the target: by cost per million output tokens, of equals the quicker start first.

    Args:
        model: the catalogue's row.
        target: what is asked; default: nothing but to fit.
        own_prices: a user's prices.
        by_cold_start: the quicker start first, of equals the less costly.
    """
    wanted = target or Target()
    found = [
        item
        for row in instances().values()
        if row.cloud in wanted.clouds
        for item in _ways(model, row, wanted, own_prices)
    ]

    def order(item: Ranked) -> tuple[float, float, int]:
        cost, start = item.cost_per_million_output_tokens, item.cold_start_s
        return (start, cost, item.nodes) if by_cold_start else (cost, start, item.nodes)

    return tuple(sorted(found, key=order))


def parallel_choices(model: Model, gpus_per_node: int, stages: int = MOST_STAGES) -> Iterator[tuple[int, int]]:
    """Tensor- and pipeline-parallel sizes, the least far-reaching first: one node, then whole nodes as stages."""
    sizes = list(tensor_parallel_choices(model, gpus_per_node))
    yield from ((size, 1) for size in sizes)
    yield from ((sizes[-1], count) for count in range(2, min(stages, model.layers) + 1))


def _ways(model: Model, row: Instance, target: Target, own: OwnPrices | None) -> Iterable[Ranked]:
    found = price(row, target.capacity_type, own)
    gpu = gpus()[row.gpu]
    if found.per_hour is None or not computes(gpu, model.dtype):
        return
    if target.capacity_type.startswith("spot") and not row.spot:
        return
    fitted = False
    for size, stages in parallel_choices(model, row.gpus):
        if stages > 1 and fitted:
            return  # a pipeline over nodes is for what no single node holds
        chosen = _batch(model, gpu, size, stages, target)
        if chosen is None:
            continue
        fitted = True
        batch, result, weights = chosen
        useful = result.tokens_per_s * target.utilization
        needed = (target.requests_per_s or 0.0) * target.output_tokens
        replicas = max(1, math.ceil(needed / useful))
        nodes = replicas * stages if stages > 1 else math.ceil(replicas / (row.gpus // size))
        hourly = nodes * found.per_hour
        if target.budget_per_hour is not None and hourly > target.budget_per_hour:
            continue
        allowed = nodes_allowed(row, target.quotas)
        if allowed is not None and nodes > allowed:
            continue
        # Without a rate the GPUs of the replica are paid for; with one, whole nodes and the tokens asked for.
        tokens = needed or useful
        paid = hourly if needed else found.per_hour * (stages if stages > 1 else size / row.gpus)
        _, cost = split(per_million(paid, tokens), target.input_tokens, target.output_tokens)
        yield Ranked(
            instance_type=row.key,
            cloud=row.cloud,
            gpu=gpu.key,
            tensor_parallel=size,
            pipeline_parallel=stages,
            concurrency=batch,
            tpot_ms=round(result.tpot_ms, 2),
            ttft_ms=round(result.ttft_ms, 1),
            tokens_per_s=round(result.tokens_per_s, 1),
            latency_error=result.error,
            estimate=result.estimate,
            replicas=replicas,
            nodes=nodes,
            hourly=round(hourly, 4),
            cost_per_million_output_tokens=round(cost, 4),
            cold_start_s=round(cold_start(row.cloud, weights, target.storage).total_s, 1),
            price_source=found.source,
            price_as_of=found.as_of,
        )


def _batch(model: Model, gpu: Gpu, size: int, stages: int, target: Target) -> tuple[int, Latency, float] | None:
    """The largest batch that fits and meets the latencies, with its prediction and the weights in GiB."""
    try:
        limits = derive_engine_limits(
            model,
            gpu,
            size,
            DEFAULT_GPU_MEMORY_UTILIZATION,
            target.max_model_len,
            pipeline_parallel=stages,
            quantization=target.quantization,
        )
    except DoesNotFitError:
        return None
    room = limits.kv_cache_tokens / (target.input_tokens + target.output_tokens / 2)
    for batch in BATCHES:
        if batch > max(1, min(limits.max_num_seqs, room)):
            continue
        result = predict(
            model,
            gpu,
            engine=target.engine,
            tensor_parallel=size,
            pipeline_parallel=stages,
            input_tokens=target.input_tokens,
            output_tokens=target.output_tokens,
            concurrency=batch,
            quantization=target.quantization,
        )
        if target.max_ttft_ms is not None and result.ttft_ms > target.max_ttft_ms:
            return None
        if target.max_tpot_ms is None or result.tpot_ms <= target.max_tpot_ms:
            return batch, result, limits.weights_gib
    return None
