"""A model deployment of the plan: what a replica holds, how quick it is, how it starts, what its tokens cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from planner.catalog import Gpu, Instance, Model, gpus, instances
from planner.cold_start import ColdStart, cold_start, read_gib_s
from planner.cost import always_on_break_even_hours, break_even, per_million, scale_to_zero_savings, split
from planner.kv_transfer import BANDWIDTH_GB_S, RolePlan, plan_roles, prefill_per_decode, transfer_of
from planner.latency import Latency, predict
from planner.prices import managed_price, price
from planner.request import EnvironmentRequest, ModelRequest, PoolRequest
from planner.sizing import budget, derive_engine_limits, memory_of
from planner.sleep import PUBLISHED_RELOAD_GIB_S, estimate_sleep

BUSY_HOURS, WAKES = 8.0, 8.0
"""A working day, and a wake for each of its hours: what scaling to zero is weighed with where no traffic is given."""

ROUND_SECONDS = 60
DOWNLOAD, LONG_DOWNLOAD_SECONDS = "hugging-face", 60


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """A model deployment, worked out; sizes and times are null for a model whose architecture nobody gave."""

    name: str
    model: str
    pool: str
    engine: str
    instance_type: str
    gpu: str
    gpus_per_replica: int
    tensor_parallel: int
    replicas_min: int
    replicas_max: int
    weights_gib: float | None
    gpu_memory: Mapping[str, float] | None
    kv_cache_tokens: int | None
    max_model_len: int | None
    max_num_seqs: int | None
    tpot_ms: float | None
    ttft_ms: float | None
    tokens_per_s: float | None
    latency_error: float | None
    ttft_error: float | None
    estimate: bool
    cold_start_s: float | None
    cold_start: Mapping[str, float] | None
    startup_budget_s: int
    startup_budget_needed_s: int | None
    cooldown_s: int
    cooldown_needed_s: int | None
    price_per_replica_hour: float | None
    cost_per_million_input_tokens: float | None
    cost_per_million_output_tokens: float | None
    scale_to_zero_saving_per_month: float | None
    always_on_break_even_hours_per_day: float | None
    break_even_tokens_per_day: float | None
    kv_transfer_ms: float | None
    prefill_workers_per_decode_worker: float | None
    roles: tuple[RolePlan, ...]
    sleep: Mapping[str, float] | None
    notes: tuple[str, ...]


UNKNOWN = (
    *(
        "weights_gib",
        "gpu_memory",
        "kv_cache_tokens",
        "tpot_ms",
        "ttft_ms",
        "tokens_per_s",
        "latency_error",
        "ttft_error",
    ),
    *("sleep", "cold_start", "cold_start_s", "startup_budget_needed_s", "cooldown_needed_s"),
    *("cost_per_million_input_tokens", "cost_per_million_output_tokens", "scale_to_zero_saving_per_month"),
    *("always_on_break_even_hours_per_day", "break_even_tokens_per_day"),
    *("kv_transfer_ms", "prefill_workers_per_decode_worker"),
)
"""What is null for a model whose architecture nobody gave."""


def plan_model(item: ModelRequest, pool: PoolRequest, request: EnvironmentRequest) -> ModelPlan:
    """Work out a model deployment on its pool.

    Raises:
        KeyError: an instance type that the catalogue does not have.
        DoesNotFitError: the model does not fit.
        SizingError: a figure out of range.
    """
    instance = instances()[pool.instance_type]
    gpu, model = gpus()[instance.gpu], item.architecture
    hourly = _replica_price(item, pool, instance, request)
    common: dict[str, Any] = {
        "name": item.name,
        "model": item.model,
        "pool": item.pool,
        "engine": item.engine,
        "instance_type": instance.key,
        "gpu": gpu.name if pool.mig_profile is None else f"{gpu.name} ({pool.mig_profile})",
        "gpus_per_replica": item.tensor_parallel,
        "tensor_parallel": item.tensor_parallel,
        "replicas_min": item.min_replicas,
        "replicas_max": item.max_replicas,
        "startup_budget_s": item.startup_budget_seconds,
        "cooldown_s": item.cooldown_seconds,
        "price_per_replica_hour": hourly,
        "roles": plan_roles(item.roles, item.tensor_parallel, hourly),
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


def _worked_out(  # noqa: PLR0917 - what plan_model has at hand
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
        lora=item.lora,
    )

    def predicted(concurrency: float) -> Latency:
        return predict(
            model,
            _part_of(gpu, 1 / pool.slices_per_gpu),
            engine=item.engine,
            tensor_parallel=item.tensor_parallel,
            input_tokens=item.input_tokens,
            output_tokens=item.output_tokens,
            concurrency=concurrency,
            quantization=item.quantization,
            kv_cache_dtype=item.kv_cache_dtype,
            kv_cache_tokens=limits.kv_cache_tokens,
        )

    result = predicted(max(1.0, limits.max_num_seqs * request.utilization))
    transfer_ms = beside = None
    if item.roles:
        transfer_ms = 1000 * transfer_of(model, item.input_tokens, item.tensor_parallel, item.kv_cache_dtype)
        beside = prefill_per_decode(predicted(1.0).ttft_ms / 1000, result.tokens_per_s, item.output_tokens)
        # A decode worker's tokens cost what the prefill workers beside it cost, too.
        hourly = None if hourly is None else hourly * (1 + beside)
    start = cold_start(request.cloud, limits.weights_gib, request.storage)
    needed = math.ceil(start.high_s / ROUND_SECONDS) * ROUND_SECONDS
    return {
        "weights_gib": round(limits.weights_gib, 2),
        "gpu_memory": _memory(item, pool, model, gpu),
        "kv_cache_tokens": limits.kv_cache_tokens,
        "max_model_len": limits.max_model_len,
        "max_num_seqs": limits.max_num_seqs,
        "tpot_ms": round(result.tpot_ms, 2),
        "ttft_ms": round(result.ttft_ms + (transfer_ms or 0.0), 1),
        "tokens_per_s": round(result.tokens_per_s, 1),
        "latency_error": result.error,
        "ttft_error": result.ttft_error,
        "estimate": result.estimate or pool.slices_per_gpu > 1 or bool(item.roles),
        "cold_start_s": round(start.total_s, 1),
        "cold_start": {**asdict(start), "warm_node_s": round(start.warm_node_s, 1)},
        "startup_budget_needed_s": needed,
        # A replica that is still loading has no request yet: shorter, and it would be taken away.
        "cooldown_needed_s": needed if item.min_replicas == 0 else 0,
        "sleep": _sleep(item, pool, request, gpu, limits.weights_gib),
        "notes": (*(_notes(item, request, start, needed) if request.cloud != "local" else ()), *_estimates(item, pool)),
        "kv_transfer_ms": None if transfer_ms is None else round(transfer_ms, 1),
        "prefill_workers_per_decode_worker": None if beside is None else round(beside, 2),
        **_money(item, model, request, hourly, result.tokens_per_s, start),
    }


def _estimates(item: ModelRequest, pool: PoolRequest) -> Iterator[str]:
    """What makes the figures estimates, whatever rows were measured."""
    if pool.slices_per_gpu > 1:
        yield f"a share of 1/{pool.slices_per_gpu} of the GPU: latency is an estimate"
    if item.roles:
        yield f"prefill and decode apart: latency and cost are estimates, the transfer assumes {BANDWIDTH_GB_S:g} GB/s"


def _sleep(
    item: ModelRequest, pool: PoolRequest, request: EnvironmentRequest, gpu: Gpu, weights: float
) -> dict[str, float] | None:
    """What vLLM's sleep mode does to one replica; None where idle replicas stay awake."""
    if item.sleep_level is None:
        return None
    used = memory_of(gpu, pool.mig_profile) * item.gpu_memory_utilization
    # Weights that were downloaded are read from the pod's own disk.
    reload = PUBLISHED_RELOAD_GIB_S if request.storage == DOWNLOAD else read_gib_s(request.storage)
    found = estimate_sleep(item.sleep_level, weights, used, item.tensor_parallel, reload)
    figures = {name: round(value, 2) for name, value in asdict(found).items()}
    return {"level": item.sleep_level, "after_seconds": item.sleep_after_seconds, **figures}


def _memory(item: ModelRequest, pool: PoolRequest, model: Model, gpu: Gpu) -> dict[str, float]:
    """Where the memory of each GPU (or slice) goes, GiB."""
    whole = memory_of(gpu, pool.mig_profile)
    parts = budget(
        model,
        whole,
        item.tensor_parallel,
        item.gpu_memory_utilization,
        quantization=item.quantization,
        kv_cache_dtype=item.kv_cache_dtype,
        lora=item.lora,
    )
    return {
        "weights_gib": round(parts.weights_gib, 2),
        **({"adapters_gib": round(parts.adapters_gib, 2)} if item.lora.count else {}),
        "runtime_gib": round(parts.overhead_gib, 2),
        "kv_cache_gib": round(parts.kv_cache_gib, 2),
        "unused_gib": round(whole - parts.usable_gib, 2),
    }


def _part_of(gpu: Gpu, share: float) -> Gpu:
    if share == 1:
        return gpu
    scaled: dict[str, Any] = dict(vars(gpu))
    for name in ("bandwidth_gb_s", "bf16_tflops", "fp16_tflops", "fp8_tflops", "fp4_tflops"):
        scaled[name] = None if scaled[name] is None else scaled[name] * share
    return Gpu(**scaled)


def _money(  # noqa: PLR0917 - what _worked_out has at hand
    item: ModelRequest,
    model: Model,
    request: EnvironmentRequest,
    hourly: float | None,
    tokens_per_s: float,
    start: ColdStart,
) -> dict[str, Any]:
    found: dict[str, Any] = {"always_on_break_even_hours_per_day": None}
    if item.min_replicas == 0:
        hours = always_on_break_even_hours(item.cooldown_seconds, WAKES, start.total_s)
        found["always_on_break_even_hours_per_day"] = round(hours, 2)
    if hourly is None:
        names = ("cost_per_million_input_tokens", "cost_per_million_output_tokens")
        return found | dict.fromkeys((*names, "scale_to_zero_saving_per_month", "break_even_tokens_per_day"))
    cost_in, cost_out = split(per_million(hourly, tokens_per_s), item.input_tokens, item.output_tokens)
    managed = managed_price(model.key, request.prices)
    even = None
    if managed is not None and any(managed):
        ratio = item.input_tokens / item.output_tokens
        even = round(break_even(hourly, tokens_per_s, *managed, ratio).tokens_per_day)
    saving = 0.0
    if item.min_replicas == 0:
        saving = scale_to_zero_savings(hourly, BUSY_HOURS, item.cooldown_seconds, WAKES, start.total_s)
    return found | {
        "cost_per_million_input_tokens": round(cost_in, 4),
        "cost_per_million_output_tokens": round(cost_out, 4),
        "scale_to_zero_saving_per_month": round(saving, 2),
        "break_even_tokens_per_day": even,
    }


def _notes(item: ModelRequest, request: EnvironmentRequest, start: ColdStart, needed: int) -> tuple[str, ...]:
    budget = item.startup_budget_seconds
    notes = []
    if request.storage == DOWNLOAD and start.weights_s > LONG_DOWNLOAD_SECONDS:
        notes.append(
            f"each start downloads the weights ({start.weights_s:.0f} s): keep them in weights.store shared-files or "
            "object-store"
        )
    if start.total_s > budget:
        notes.append(
            f"the cold start on a new node ({start.total_s:.0f} s) exceeds the start-up budget of {budget} s; "
            f"set scaling.startup_budget_seconds to {needed}"
        )
    elif start.high_s > budget:
        notes.append(
            f"a slow cold start ({start.high_s:.0f} s) exceeds the start-up budget of {budget} s: "
            f"scaling.startup_budget_seconds {needed} would hold it"
        )
    if item.min_replicas == 0 and item.cooldown_seconds < start.total_s:
        notes.append(
            f"the cooldown of {item.cooldown_seconds} s is shorter than the cold start ({start.total_s:.0f} s): "
            "a replica that is still loading may be taken away"
        )
    return tuple(notes)
