"""Model deployments: source, engine, topology and scaling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from components.weights_files import MODEL_FILES, OTHER_FORMATS
from stacks.config.base import (
    FilePattern,
    FlagName,
    FlagValues,
    HuggingFaceId,
    ImageReference,
    Int,
    Name,
    Number,
    Revision,
    Strictly,
    UrlPath,
    VariableName,
)
from stacks.config.models_kv_offload import KvOffload
from stacks.config.models_secrets import ObjectName, SecretReference
from stacks.config.models_slo import ServiceLevel
from stacks.config.models_topology import Aggregated, Disaggregated, LoraAdapter, Topology
from stacks.config.models_traces import Traces
from stacks.config.shares import DEFAULT_UTILIZATION
from stacks.config.vocabulary import EngineName, IdleKind, Rollout, RouterPolicy, TopologyKind, TritonBackend

DEFAULT_COOLDOWN_SECONDS = 300


class ModelSource(Strictly):
    """Where the weights come from."""

    hugging_face: HuggingFaceId = Field(description="organisation/model on Hugging Face.")
    config_file: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The model's config.json, or the folder of its checkpoint, beside the stack's file: the plan and "
        "the checks then know a model that is not in the catalogue.",
        json_schema_extra={"default_text": "the catalogue's row, if it has one"},
    )
    token: SecretReference | None = Field(
        default=None,
        description="Where the Hugging Face token lies that a gated model needs.",
        json_schema_extra={"default_text": "no token"},
    )
    revision: Revision | None = Field(
        default=None,
        description="Commit (40 hexadecimal digits), tag or branch. A commit never changes: what was tested is what is "
        "served, on every node.",
        json_schema_extra={"default_text": "the default branch, as it is when the weights are fetched"},
    )
    allow_patterns: tuple[FilePattern, ...] = Field(
        default=MODEL_FILES,
        min_length=1,
        description="Files that weights.preload fetches, by their path in the repository; * stands for any text, with "
        "/ too. Weights in one format, configuration and tokenizer are enough.",
        json_schema_extra={"default_text": json.dumps(MODEL_FILES)},
    )
    ignore_patterns: tuple[FilePattern, ...] = Field(
        default=OTHER_FORMATS,
        description="Of those, files that it leaves out.",
        json_schema_extra={"default_text": json.dumps(OTHER_FORMATS)},
    )


class TritonEngine(Strictly):
    """What only Triton is told."""

    backend: TritonBackend = Field(
        default=TritonBackend.VLLM, description="What runs the model: vLLM, or engines that TensorRT-LLM has built."
    )
    model_repository: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Triton's model repository: a path on the weights claim (below /weights), or a bucket's URL. "
        "Required for tensorrt-llm.",
        json_schema_extra={"default_text": "the platform writes one; backend vllm only"},
    )


class CustomEngine(Strictly):
    """An image that the platform does not know and that answers the OpenAI API below /v1."""

    image: ImageReference = Field(description="With its tag or digest.")
    command: tuple[str, ...] = Field(
        default=(), description="Instead of the image's entry point.", json_schema_extra={"default_text": "[]"}
    )
    args: tuple[str, ...] = Field(
        default=(),
        description="Command line. {model}, {revision}, {name}, {address}, {port}, {gpus} and {drain_seconds} stand "
        "for what the platform knows; it must listen on {address}:{port}.",
        json_schema_extra={"default_text": "[]"},
    )
    env: Mapping[VariableName, str] = Field(
        default_factory=dict,
        description="Environment variables; no secrets.",
        json_schema_extra={"default_text": "{}"},
    )
    health_path: UrlPath = Field(default="/health", description="GET answers 200 when the model answers.")
    metrics_path: UrlPath | None = Field(
        default="/metrics", description="Of its metrics, on the same port; null: it has none."
    )
    waiting_metric: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="Series (PromQL, with its selector) of the requests that wait in a replica, for example "
        'my_queue{namespace="{namespace}",pod=~"{pods}"}. {namespace}, {name} and {pods} stand for what the '
        "platform knows.",
        json_schema_extra={"default_text": "none: it is scaled by requests in flight alone"},
    )


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
        default=DEFAULT_UTILIZATION,
        gt=0,
        le=1,
        description="Share of the GPU's memory that the engine takes. The practitioners' guides recommend "
        "0.85; "
        "vLLM's own default is 0.92.",
        json_schema_extra={
            "default_text": "0.85; where pods take turns on a GPU (time-slicing, mps), 0.85 divided by their number"
        },
    )
    tensor_parallel: Int = Field(default=1, ge=1, le=64, description="GPUs per replica.")
    lora_adapters: tuple[LoraAdapter, ...] = Field(
        default=(),
        description="Adapters that are served beside the model, under names of their own.",
        json_schema_extra={"default_text": "[]"},
    )
    max_loras: Int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Adapters that one batch may use; memory for so many is taken when the engine starts.",
        json_schema_extra={"default_text": "all of lora_adapters"},
    )
    kv_offload: KvOffload | None = Field(
        default=None,
        description="A second home for keys and values of past prompts, beside the GPU. Engine vllm.",
        json_schema_extra={"default_text": "none: what leaves the GPU is computed again"},
    )
    traces: Traces | None = Field(
        default=None,
        description="OpenTelemetry traces of its requests. Engine vllm.",
        json_schema_extra={"default_text": "none"},
    )
    extra_args: Mapping[FlagName, FlagValues] = Field(
        default_factory=dict,
        description="Further flags of the engine, without the leading dashes. true gives the flag alone. "
        "A list gives a "
        "flag that takes several all of its values. Flags that "
        "the platform derives itself (--port, --max-model-len, ...) are refused.",
        json_schema_extra={"default_text": "{}"},
    )
    triton: TritonEngine | None = Field(
        default=None,
        description="Of the engine triton.",
        json_schema_extra={"default_text": "{backend: vllm} with the engine triton"},
    )
    custom: CustomEngine | None = Field(default=None, description="Of the engine custom; required there.")


def _cooldown(data: dict[str, Any]) -> int:
    return max(DEFAULT_COOLDOWN_SECONDS, int(data["startup_budget_seconds"]))


class ScaleWhenIdle(Strictly):
    """The autoscaler takes idle replicas away, down to min_replicas; those that stay are awake."""

    kind: Literal[IdleKind.SCALE] = Field(description="Replicas go, down to min_replicas; those that stay are awake.")


class SleepWhenIdle(Strictly):
    """An idle replica stays and frees its GPU's memory: vLLM's sleep mode."""

    kind: Literal[IdleKind.SLEEP] = Field(
        description="A replica without requests stays and frees its GPU's memory; a request wakes it, waits for it and "
        "is answered. Engine vllm on manifests, min_replicas 1 or more."
    )
    level: Int = Field(
        default=1,
        ge=1,
        le=2,
        description="1: the weights wait in the pod's memory, waking takes tenths of a second. 2: they are read again, "
        "waking takes seconds and no memory of the pod.",
    )
    after_seconds: Int = Field(
        default=300, ge=1, le=86_400, description="Time without a request until a replica sleeps, seconds."
    )


Idle = Annotated[ScaleWhenIdle | SleepWhenIdle, Field(discriminator="kind")]


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
    idle: Idle = Field(
        default_factory=lambda: ScaleWhenIdle(kind=IdleKind.SCALE),
        description="What a replica does that nobody asks anything.",
        json_schema_extra={"default_text": "{kind: scale}"},
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
    priority_class: ObjectName | None = Field(
        default=None,
        description="PriorityClass of its engines, which must be in the cluster: where GPUs are short, engines of a "
        "higher class take the place of those of a lower one.",
        json_schema_extra={"default_text": "the cluster's default"},
    )
    rollout: Rollout = Field(
        default=Rollout.ROLLING,
        description="How a new version takes the old one's place. rolling: one replica goes, drained, before its "
        "successor comes; needs no spare GPU, and a model with one replica holds requests meanwhile. surge: the "
        "successor comes first; needs a replica's GPUs free. recreate: all go, then all come.",
    )
    slo: ServiceLevel = Field(
        default_factory=ServiceLevel,
        description="What it promises; alerts say when it does not keep it.",
        json_schema_extra={"default_text": "{preset: chat}"},
    )
    chart_values: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Further values of the chart vllm-stack, keys as the chart has them, `modelSpec` as a mapping of "
        "the one model; serving stack production-stack only. Unknown keys are errors, as are values that the platform "
        "writes itself.",
        json_schema_extra={"default_text": "{}"},
    )
    simulation: Simulation | None = Field(
        default=None,
        description="The simulated engine; local cloud only.",
        json_schema_extra={"default_text": "none; on the local cloud the defaults of its fields"},
    )

    @property
    def scalings(self) -> Mapping[str, Scaling]:
        """The scaling of each kind of workers, by its role; "" where there is one kind only."""
        topology = self.topology
        if not isinstance(topology, Disaggregated):
            return {"": self.scaling}
        roles = {"prefill": topology.prefill, "decode": topology.decode}
        given = {role: item.model_dump(exclude_none=True) for role, item in roles.items()}
        return {role: self.scaling.model_copy(update=fields) for role, fields in given.items()}

    @property
    def replica_bounds(self) -> tuple[int, int]:
        """Fewest and most replicas, of all kinds of workers together."""
        scalings = self.scalings.values()
        return sum(item.min_replicas for item in scalings), sum(item.max_replicas for item in scalings)

    @property
    def names(self) -> tuple[str, ...]:
        """What clients may ask for: the model, then its adapters."""
        return (self.name, *(adapter.name for adapter in self.engine.lora_adapters))
