"""The configuration of an environment as types.

One JSON-able object under `inference-platform:environment` in `Pulumi.<stack>.yaml`. Unknown keys are errors,
nothing is coerced (a quoted number is not a number), and no secret belongs in it. Every default gives its
unit and its source. Checks that need more than one field are in `stacks/config/checks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, Strict, StringConstraints
from pydantic_core import PydanticCustomError

from stacks.config.vocabulary import (
    CapacityType,
    Cloud,
    EngineName,
    RouterPolicy,
    ServingStack,
    SharingMode,
    TopologyKind,
)

Int = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40)]
HuggingFaceId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$", max_length=200)]
MigProfileName = Annotated[str, StringConstraints(pattern=r"^[1-9]g\.[0-9]+gb$")]
FlagName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$", max_length=80)]

DEFAULT_COOLDOWN_SECONDS = 300


def _scalar(value: object) -> str | int | float | bool:
    if isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and abs(value) != float("inf") and value == value:  # noqa: PLR0124 - NaN
        return value
    raise PydanticCustomError("scalar_type", "must be a text, a number, true or false")


FlagValue = Annotated[
    str | int | float | bool, PlainValidator(_scalar, json_schema_input_type=str | int | float | bool)
]


class Strictly(BaseModel):
    """Base of all: no unknown keys, no changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class NoSharing(Strictly):
    """Each pod gets whole GPUs."""

    mode: Literal[SharingMode.NONE] = Field(description="Whole GPUs.")


class MigSharing(Strictly):
    """NVIDIA Multi-Instance GPU: slices with memory and compute of their own (A100, H100, H200, B200)."""

    mode: Literal[SharingMode.MIG] = Field(description="Hardware slices.")
    profile: MigProfileName = Field(
        description="NVIDIA's name of the slice, e.g. 1g.10gb. Every GPU of the pool is cut into slices of this kind."
    )


class TimeSlicing(Strictly):
    """Pods take turns on a GPU, without isolation of memory or faults: for development and batch."""

    mode: Literal[SharingMode.TIME_SLICING] = Field(description="Taking turns.")
    replicas: Int = Field(ge=2, le=48, description="Pods per GPU, 2 to 48: the limit of GKE, taken for all clouds.")


class MpsSharing(Strictly):
    """NVIDIA Multi-Process Service: pods share a GPU at the same time."""

    mode: Literal[SharingMode.MPS] = Field(description="Sharing at the same time.")
    replicas: Int = Field(ge=2, le=48, description="Pods per GPU, 2 to 48: the limit of GKE, taken for all clouds.")


Sharing = Annotated[NoSharing | MigSharing | TimeSlicing | MpsSharing, Field(discriminator="mode")]


class NodePool(Strictly):
    """A group of equal GPU nodes."""

    name: Name = Field(description="DNS label of at most 40 characters; `system` is taken by the CPU nodes.")
    instance_type: str = Field(
        max_length=100,
        description="A row of planner/catalog/instances.toml, e.g. g6.12xlarge (4 x L4). On the local cloud "
        "the node "
        "has the CPUs, memory and GPUs of this type, simulated.",
    )
    capacity_type: CapacityType = Field(
        default=CapacityType.ON_DEMAND,
        description="How nodes are bought. spot-with-fallback takes spot first and on-demand when there is "
        "none; "
        "reserved is capacity blocks, reservations and flex-start.",
    )
    sharing: Sharing = Field(
        default_factory=lambda: NoSharing(mode=SharingMode.NONE),
        description="How one GPU is split between pods.",
        json_schema_extra={"default_text": "{mode: none}"},
    )
    min_nodes: Int = Field(default=0, ge=0, le=1000, description="Fewest nodes. 0 lets an idle pool cost nothing.")
    max_nodes: Int = Field(ge=1, le=1000, description="Most nodes.")


class ModelSource(Strictly):
    """Where the weights come from."""

    hugging_face: HuggingFaceId = Field(description="organisation/model on Hugging Face.")


class Engine(Strictly):
    """The server in the pod and what it is told."""

    name: EngineName = Field(default=EngineName.VLLM, description="The server in the pod.")
    max_model_len: Int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Longest prompt plus answer, tokens.",
        json_schema_extra={"default_text": "the model's longest context, or what the KV cache holds if that is less"},
    )
    max_num_seqs: Int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Most requests in one batch.",
        json_schema_extra={
            "default_text": "as many requests of 1,366 tokens (the mean of the Azure LLM inference trace "
            "2023, "
            "conversation) as the KV cache holds, 1 to 256"
        },
    )
    gpu_memory_utilization: Number = Field(
        default=0.85,
        gt=0,
        le=1,
        description="Share of the GPU's memory that the engine takes. The practitioners' guides recommend "
        "0.85; "
        "vLLM's own default is 0.92.",
    )
    tensor_parallel: Int = Field(default=1, ge=1, le=64, description="GPUs per replica.")
    extra_args: Mapping[FlagName, FlagValue] = Field(
        default_factory=dict,
        description="Further flags of the engine, without the leading dashes. true gives the flag alone. "
        "Flags that "
        "the platform derives itself (--port, --max-model-len, ...) are refused.",
        json_schema_extra={"default_text": "{}"},
    )


class Aggregated(Strictly):
    """Every replica does prefill and decode."""

    kind: Literal[TopologyKind.AGGREGATED] = Field(description="Every replica does prefill and decode.")


class Disaggregated(Strictly):
    """Prefill and decode workers, each with their own replicas."""

    kind: Literal[TopologyKind.DISAGGREGATED] = Field(description="Two kinds of workers.")
    prefill_replicas: Int = Field(default=1, ge=1, le=1000, description="Prefill workers.")
    decode_replicas: Int = Field(default=1, ge=1, le=1000, description="Decode workers.")


Topology = Annotated[Aggregated | Disaggregated, Field(discriminator="kind")]


def _cooldown(data: dict[str, Any]) -> int:
    return max(DEFAULT_COOLDOWN_SECONDS, int(data["startup_budget_seconds"]))


class Scaling(Strictly):
    """How many replicas, and when that changes."""

    min_replicas: Int = Field(
        default=0, ge=0, le=1000, description="Fewest replicas; 0 lets an idle model cost nothing."
    )
    max_replicas: Int = Field(default=5, ge=1, le=1000, description="Most replicas (the talk of the guides: 0 to 5).")
    queue_depth: Int = Field(
        default=5,
        ge=1,
        le=10_000,
        description="Waiting requests per replica above which a replica is added (guides: 5, EKS and AKS production).",
    )
    concurrency: Int = Field(
        default=32,
        ge=1,
        le=100_000,
        description="Requests in flight per replica, counted at the front, above which a replica is added. "
        "A starting "
        "point: set it from a load test.",
    )
    polling_interval_seconds: Int = Field(
        default=10,
        ge=1,
        le=300,
        description="How often KEDA looks, seconds (guides: 10; KEDA's own default is 30).",
    )
    startup_budget_seconds: Int = Field(
        default=600,
        ge=1,
        le=7200,
        description="Longest time that a new replica may take until it answers, seconds. Start-up probes "
        "and the "
        "cooldown follow it (guides: 5 to 20 minutes with big models).",
    )
    cooldown_seconds: Int = Field(
        default_factory=_cooldown,
        ge=1,
        le=86_400,
        description="Time without a request until the last replica goes, seconds. Not shorter than the "
        "start-up "
        "budget: a replica that is still loading would be taken away. Only used when min_replicas is 0.",
        json_schema_extra={"default_text": "the start-up budget, at least 300 (KEDA's default)"},
    )
    scale_down_stabilization_seconds: Int = Field(
        default=300,
        ge=0,
        le=3600,
        description="How long a lower number of replicas must hold before it is acted on, seconds "
        "(Kubernetes: "
        "default 300, at most 3600).",
    )
    drain_seconds: Int = Field(
        default=300,
        ge=0,
        le=3600,
        description="Time that a replica gets to finish its requests when it is taken away, seconds. Longer "
        "than the longest answer, or a scale-down cuts it off; a replica without requests ends at once.",
    )


class Simulation(Strictly):
    """The simulated engine of the local cloud."""

    startup_seconds: Number = Field(
        default=3.0, ge=0, le=3600, description="How long a simulated engine takes to start, seconds."
    )
    speedup: Number = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="How many times faster than the real GPU the simulated one computes.",
    )


class ModelDeployment(Strictly):
    """One served model."""

    name: Name = Field(description="DNS label of at most 40 characters; clients send it as `model`.")
    source: ModelSource = Field(description="Where the weights come from.")
    engine: Engine = Field(
        default_factory=Engine,
        description="The server in the pod.",
        json_schema_extra={"default_text": "{name: vllm}"},
    )
    topology: Topology = Field(
        default_factory=lambda: Aggregated(kind=TopologyKind.AGGREGATED),
        description="One kind of worker or two.",
        json_schema_extra={"default_text": "{kind: aggregated}"},
    )
    node_pool: Name = Field(description="Name of the pool whose GPUs serve it.")
    router_policy: RouterPolicy = Field(
        default=RouterPolicy.CACHE_AWARE, description="How the router picks a replica (vLLM's router)."
    )
    scaling: Scaling = Field(
        default_factory=Scaling,
        description="How many replicas, and when.",
        json_schema_extra={"default_text": "{}"},
    )
    simulation: Simulation | None = Field(
        default=None,
        description="The simulated engine; local cloud only.",
        json_schema_extra={"default_text": "none; on the local cloud the defaults of its fields"},
    )


class Gateway(Strictly):
    """The one address that all models answer on."""

    host_port: Int = Field(
        default=8080, ge=1, le=65_535, description="Port on 127.0.0.1 of the host; local cloud only."
    )


def _serving_stack(data: dict[str, Any]) -> ServingStack:
    return ServingStack.MANIFESTS if data["cloud"] is Cloud.LOCAL else ServingStack.PRODUCTION_STACK


class EnvironmentConfig(Strictly):
    """One environment: a cluster and all that runs on it."""

    cloud: Cloud = Field(description="Where the cluster runs.")
    serving_stack: ServingStack = Field(
        default_factory=_serving_stack,
        description="What turns model deployments into workloads.",
        json_schema_extra={"default_text": "manifests on local, production-stack elsewhere"},
    )
    node_pools: tuple[NodePool, ...] = Field(min_length=1, description="The GPU nodes.")
    model_deployments: tuple[ModelDeployment, ...] = Field(min_length=1, description="The served models.")
    gateway: Gateway = Field(
        default_factory=Gateway,
        description="The address.",
        json_schema_extra={"default_text": "{host_port: 8080}"},
    )
