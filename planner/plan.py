"""The plan of an environment: what it needs, costs and will do, worked out without touching anything.

Inputs are plain data (`PoolRequest`, `ModelRequest`); `stacks/plan.py` makes them from a configuration.
`EnvironmentPlan.to_json` is the documented form (docs/plan-schema.md); it holds plain numbers only, so that a stack
output and a file are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from planner.catalog import Gpu, Instance, Model, gpus, instances, models
from planner.cold_start import DEFAULT_STORAGE, ColdStart, cold_start
from planner.cost import break_even, market, per_million, price, scale_to_zero_savings, split
from planner.latency import predict
from planner.sizing import DEFAULT_GPU_MEMORY_UTILIZATION, derive_engine_limits

SCHEMA_VERSION = 1
MEAN_INPUT_TOKENS = 1155.0
MEAN_OUTPUT_TOKENS = 211.0
"""Means of the Azure LLM inference trace 2023, conversation (CC-BY 4.0): 1154.7 and 211.1 tokens."""

DEFAULT_UTILIZATION = 0.5
"""Share of a replica's full batch that is used, for prices per token: between the 60 to 80 % that the guides aim at and
the nights of a chat service."""


@dataclass(frozen=True, kw_only=True)
class PoolRequest:
    """A node pool as asked for; `slices_per_gpu` above 1 with MIG, time-slicing or MPS."""

    name: str
    instance_type: str
    capacity_type: str = "on-demand"
    min_nodes: int = 0
    max_nodes: int = 1
    sharing: str = "none"
    mig_profile: str | None = None
    slices_per_gpu: int = 1


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A model deployment as asked for; lengths are those of the mean request."""

    name: str
    model: str
    pool: str
    tensor_parallel: int = 1
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    min_replicas: int = 0
    max_replicas: int = 1
    cooldown_seconds: int = 300
    startup_budget_seconds: int = 600
    input_tokens: float = MEAN_INPUT_TOKENS
    output_tokens: float = MEAN_OUTPUT_TOKENS


@dataclass(frozen=True, kw_only=True)
class EnvironmentRequest:
    """An environment as asked for.

    Attributes:
        name: of the environment.
        cloud: `aws`, `azure`, `gcp`, `existing` or `local`.
        pools: node pools.
        models: model deployments.
        storage: where weights are read from (`planner.cold_start.storages()`).
        utilization: share of a full batch, for prices per token.
        budget_per_hour: dollars per hour that `hourly_max` must not exceed; None for no gate.
        prices: a user's own prices by instance type.
    """

    name: str
    cloud: str
    pools: Sequence[PoolRequest]
    models: Sequence[ModelRequest]
    storage: str = DEFAULT_STORAGE
    utilization: float = DEFAULT_UTILIZATION
    budget_per_hour: float | None = None
    prices: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """A node pool, worked out; prices in US dollars per hour, null where no source has them."""

    name: str
    instance_type: str
    gpu: str
    gpus_per_node: int
    sharing: str
    capacity_type: str
    nodes_min: int
    nodes_max: int
    price_per_hour: float | None
    price_is_estimate: bool
    hourly_min: float | None
    hourly_max: float | None
    region: str
    source: str
    as_of: str
    spot_saving_per_hour: float | None
    spot_note: str


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """A model deployment, worked out; sizes and times are null for a model that is not in the catalogue."""

    name: str
    model: str
    pool: str
    instance_type: str
    gpu: str
    gpus_per_replica: int
    tensor_parallel: int
    replicas_min: int
    replicas_max: int
    weights_gib: float | None
    kv_cache_tokens: int | None
    max_model_len: int | None
    max_num_seqs: int | None
    tpot_ms: float | None
    ttft_ms: float | None
    tokens_per_s: float | None
    latency_error: float | None
    estimate: bool
    cold_start_s: float | None
    cold_start: Mapping[str, float] | None
    price_per_replica_hour: float | None
    cost_per_million_input_tokens: float | None
    cost_per_million_output_tokens: float | None
    scale_to_zero_saving_per_month: float | None
    break_even_tokens_per_day: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EnvironmentPlan:
    """What an environment needs, costs and will do.

    Attributes:
        hourly_now: dollars per hour of what runs now; the plan knows only a configuration, so it is hourly_min.
    """

    environment: str
    cloud: str
    models: tuple[ModelPlan, ...]
    pools: tuple[PoolPlan, ...]
    hourly_min: float
    hourly_max: float
    hourly_now: float
    monthly_min: float
    monthly_max: float
    utilization: float
    budget_per_hour: float | None
    within_budget: bool
    unpriced_pools: tuple[str, ...]
    simulated: bool
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """Plain data: what `json.dumps` writes and `json.loads` gives back unchanged."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def lines(self) -> list[str]:
        """The summary in a few lines, for the preview."""
        first = f"{self.environment}: ${self.hourly_min:.2f} to ${self.hourly_max:.2f} per hour (list prices)"
        shown = [first + (", simulated here" if self.simulated else "")]
        for item in self.models:
            if item.tpot_ms is None or item.tokens_per_s is None or item.cold_start_s is None:
                shown.append(f"{item.name}: {item.model} is not in the catalogue, so its size is unknown")
                continue
            cost = item.cost_per_million_output_tokens
            shown.append(
                f"{item.name}: {item.gpus_per_replica} x {item.gpu}, {item.kv_cache_tokens:,} KV tokens, "
                f"{item.tpot_ms:.1f} ms per token (+-{(item.latency_error or 0) * 100:.0f} %"
                f"{', estimate' if item.estimate else ''}), cold start {item.cold_start_s:.0f} s"
                + ("" if cost is None else f", ${cost:.2f} per million output tokens")
            )
        return shown


UNKNOWN = (
    *("weights_gib", "kv_cache_tokens", "tpot_ms", "ttft_ms", "tokens_per_s", "latency_error", "cold_start"),
    *("cold_start_s", "cost_per_million_input_tokens", "cost_per_million_output_tokens"),
    *("scale_to_zero_saving_per_month", "break_even_tokens_per_day"),
)
"""What is null for a model that is not in the catalogue."""


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def plan_environment(request: EnvironmentRequest) -> EnvironmentPlan:
    """Work out the plan.

    Raises:
        KeyError: a pool or an instance type that does not exist.
        DoesNotFitError: a model does not fit its pool.
        ValueError: a figure out of range.
    """
    rows = {pool.name: pool for pool in request.pools}
    pools = tuple(_pool(pool, request) for pool in request.pools)
    low = sum(pool.hourly_min or 0.0 for pool in pools)
    high = sum(pool.hourly_max or 0.0 for pool in pools)
    return EnvironmentPlan(
        environment=request.name,
        cloud=request.cloud,
        models=tuple(_model(item, rows[item.pool], request) for item in request.models),
        pools=pools,
        hourly_min=round(low, 4),
        hourly_max=round(high, 4),
        hourly_now=round(low, 4),
        monthly_min=round(low * 730, 2),
        monthly_max=round(high * 730, 2),
        utilization=request.utilization,
        budget_per_hour=request.budget_per_hour,
        within_budget=request.budget_per_hour is None or high <= request.budget_per_hour,
        unpriced_pools=tuple(pool.name for pool in pools if pool.price_per_hour is None),
        simulated=request.cloud == "local",
    )


def _pool(pool: PoolRequest, request: EnvironmentRequest) -> PoolPlan:
    row = instances()[pool.instance_type]
    found = price(row, pool.capacity_type, request.prices)
    saving, note = _spot(row, pool, request)
    return PoolPlan(
        name=pool.name,
        instance_type=row.key,
        gpu=gpus()[row.gpu].name,
        gpus_per_node=row.gpus,
        sharing=pool.sharing,
        capacity_type=pool.capacity_type,
        nodes_min=pool.min_nodes,
        nodes_max=pool.max_nodes,
        price_per_hour=found.per_hour,
        price_is_estimate=found.estimate,
        hourly_min=None if found.per_hour is None else round(found.per_hour * pool.min_nodes, 4),
        hourly_max=None if found.per_hour is None else round(found.per_hour * pool.max_nodes, 4),
        region=row.region,
        source=found.source,
        as_of=found.as_of,
        spot_saving_per_hour=saving,
        spot_note=note,
    )


def _spot(row: Instance, pool: PoolRequest, request: EnvironmentRequest) -> tuple[float | None, str]:
    if not row.spot:
        return None, "not to be had as spot"
    full, spot = price(row, "on-demand", request.prices).per_hour, price(row, "spot").per_hour
    if full is None or spot is None:
        return None, "no price"
    table = market()["spot"]
    notice = table["notice_seconds"].get(row.cloud, 30)
    note = (
        f"taken away with {notice} s notice; public traces: available {table['availability_low'] * 100:.0f} to "
        f"{table['availability_high'] * 100:.0f} % of the time"
    )
    return round((full - spot) * pool.max_nodes, 4), note


def _model(item: ModelRequest, pool: PoolRequest, request: EnvironmentRequest) -> ModelPlan:
    instance = instances()[pool.instance_type]
    gpu, model = gpus()[instance.gpu], models().get(item.model)
    hourly = _replica_price(item, pool, instance, request)
    common: dict[str, Any] = {
        "name": item.name,
        "model": item.model,
        "pool": item.pool,
        "instance_type": instance.key,
        "gpu": gpu.name,
        "gpus_per_replica": item.tensor_parallel,
        "tensor_parallel": item.tensor_parallel,
        "replicas_min": item.min_replicas,
        "replicas_max": item.max_replicas,
        "price_per_replica_hour": hourly,
    }
    if model is None:
        unknown: dict[str, Any] = dict.fromkeys(UNKNOWN)
        unknown |= {"max_model_len": item.max_model_len, "max_num_seqs": item.max_num_seqs}
        unknown |= {"estimate": True, "notes": ("the model is not in the catalogue",)}
        return ModelPlan(**common, **unknown)
    return ModelPlan(**common, **_worked_out(item, pool, request, model, gpu, hourly))


def _replica_price(
    item: ModelRequest, pool: PoolRequest, instance: Instance, request: EnvironmentRequest
) -> float | None:
    found = price(instance, pool.capacity_type, request.prices).per_hour
    return None if found is None else round(found * item.tensor_parallel / instance.gpus / pool.slices_per_gpu, 4)


def _worked_out(  # noqa: PLR0917 - what _model has at hand
    item: ModelRequest, pool: PoolRequest, request: EnvironmentRequest, model: Model, gpu: Gpu, hourly: float | None
) -> dict[str, Any]:
    limits = derive_engine_limits(
        model,
        gpu,
        item.tensor_parallel,
        item.gpu_memory_utilization,
        item.max_model_len,
        item.max_num_seqs,
        mig_profile=pool.mig_profile,
        quantization=item.quantization,
        kv_cache_dtype=item.kv_cache_dtype,
    )
    slice_share = 1 / pool.slices_per_gpu
    result = predict(
        model,
        _part_of(gpu, slice_share),
        tensor_parallel=item.tensor_parallel,
        input_tokens=item.input_tokens,
        output_tokens=item.output_tokens,
        concurrency=max(1.0, limits.max_num_seqs * request.utilization),
        quantization=item.quantization,
        kv_cache_dtype=item.kv_cache_dtype,
        kv_cache_tokens=limits.kv_cache_tokens,
    )
    start = cold_start(request.cloud, limits.weights_gib, request.storage)
    notes = () if request.cloud == "local" else _notes(item, start)
    if pool.slices_per_gpu > 1:
        notes = (*notes, f"a share of 1/{pool.slices_per_gpu} of the GPU: latency is an estimate")
    return {
        "weights_gib": round(limits.weights_gib, 2),
        "kv_cache_tokens": limits.kv_cache_tokens,
        "max_model_len": limits.max_model_len,
        "max_num_seqs": limits.max_num_seqs,
        "tpot_ms": round(result.tpot_ms, 2),
        "ttft_ms": round(result.ttft_ms, 1),
        "tokens_per_s": round(result.tokens_per_s, 1),
        "latency_error": result.error,
        "estimate": result.estimate or pool.slices_per_gpu > 1,
        "cold_start_s": round(start.total_s, 1),
        "cold_start": {**asdict(start), "warm_node_s": round(start.warm_node_s, 1)},
        "notes": notes,
        **_money(item, model, hourly, result.tokens_per_s),
    }


def _part_of(gpu: Gpu, share: float) -> Gpu:
    if share == 1:
        return gpu
    scaled: dict[str, Any] = dict(vars(gpu))
    for name in ("bandwidth_gb_s", "bf16_tflops", "fp16_tflops", "fp8_tflops", "fp4_tflops"):
        scaled[name] = None if scaled[name] is None else scaled[name] * share
    return Gpu(**scaled)


def _money(item: ModelRequest, model: Model, hourly: float | None, tokens_per_s: float) -> dict[str, Any]:
    if hourly is None:
        names = ("cost_per_million_input_tokens", "cost_per_million_output_tokens")
        return dict.fromkeys((*names, "scale_to_zero_saving_per_month", "break_even_tokens_per_day"))
    cost_in, cost_out = split(per_million(hourly, tokens_per_s), item.input_tokens, item.output_tokens)
    managed = market()["managed"].get(model.key)
    even = None
    if managed is not None:
        ratio = item.input_tokens / item.output_tokens
        even = round(break_even(hourly, tokens_per_s, managed["input"], managed["output"], ratio).tokens_per_day)
    saving = scale_to_zero_savings(hourly, 8, item.cooldown_seconds, 8) if item.min_replicas == 0 else 0.0
    return {
        "cost_per_million_input_tokens": round(cost_in, 4),
        "cost_per_million_output_tokens": round(cost_out, 4),
        "scale_to_zero_saving_per_month": round(saving, 2),
        "break_even_tokens_per_day": even,
    }


def _notes(item: ModelRequest, start: ColdStart) -> tuple[str, ...]:
    notes = []
    if start.high_s > item.startup_budget_seconds >= start.total_s:
        notes.append(f"a slow cold start ({start.high_s:.0f} s) exceeds the start-up budget")
    if start.total_s > item.startup_budget_seconds:
        notes.append(f"the cold start exceeds the start-up budget of {item.startup_budget_seconds} s")
    return tuple(notes)
