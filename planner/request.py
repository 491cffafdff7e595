"""What a plan is asked for: plain data, made from a configuration by `stacks/plan.py` or by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from planner.catalog import Model, models
from planner.cold_start import DEFAULT_STORAGE
from planner.lora import NO_LORA, LoraSlots
from planner.prices import OwnPrices
from planner.quotas import Quota
from planner.sizing import DEFAULT_GPU_MEMORY_UTILIZATION

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
class RoleRequest:
    """A kind of worker of a disaggregated model deployment: `prefill` or `decode`."""

    role: str
    min_replicas: int
    max_replicas: int


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """A model deployment as asked for; lengths are those of the mean request.

    Attributes:
        sleep_level: of vLLM's sleep mode, which an idle replica enters; None: it stays awake.
        sleep_after_seconds: how long it must have been idle.
        row: the model's architecture where it is not in the catalogue (`planner.checkpoint.read_model`).
        lora: room for adapters.
        roles: kinds of workers where there are several; `min_replicas` and `max_replicas` are then of all together.
    """

    name: str
    model: str
    pool: str
    engine: str = "vllm"
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
    sleep_level: int | None = None
    sleep_after_seconds: int = 300
    row: Model | None = None
    lora: LoraSlots = NO_LORA
    roles: Sequence[RoleRequest] = ()

    @property
    def architecture(self) -> Model | None:
        """The model's row, None if nobody has it."""
        return self.row or models().get(self.model)


@dataclass(frozen=True, kw_only=True)
class EnvironmentRequest:
    """An environment as asked for.

    Attributes:
        name: of the environment.
        cloud: `aws`, `azure`, `gcp`, `existing` or `local`.
        pools: node pools.
        models: model deployments.
        region: where it runs, in the cloud's words; empty if that is not known.
        storage: where weights are read from (`planner.cold_start.storages()`).
        utilization: share of a full batch, for prices per token.
        budget_per_hour: dollars per hour that `hourly_max` must not exceed; None for no gate.
        prices: a user's own prices.
        nodes_now: nodes that are there by pool, None where that is not known.
        traffic: requests per second by model deployment, one figure for each step of a profile that repeats (24 hours
            of a day, 168 of a week); empty for none.
        quotas: what a preflight found; empty for not looked at.
    """

    name: str
    cloud: str
    pools: Sequence[PoolRequest]
    models: Sequence[ModelRequest]
    region: str = ""
    storage: str = DEFAULT_STORAGE
    utilization: float = DEFAULT_UTILIZATION
    budget_per_hour: float | None = None
    prices: OwnPrices = field(default_factory=OwnPrices)
    nodes_now: Mapping[str, int] | None = None
    traffic: Mapping[str, Sequence[float]] = field(default_factory=dict)
    quotas: Sequence[Quota] = ()
