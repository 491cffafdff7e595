"""What a model deployment is, whatever serving stack turns it into workloads, and the interface of the stacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import pulumi

from components.autoscaling.args import ScalingArgs
from components.cluster import ClusterHandle
from components.labels import EnvironmentLabels
from components.scheduling import Placement
from components.serving.kv_offload import KvOffloadArgs
from components.serving.lora import LoraArgs
from components.serving.topologies import Aggregated, Topology, Workers
from components.serving.traces import TracesArgs
from components.timing import RequestTiming
from components.weights_files import ADAPTER_FILES, MODEL_FILES, OTHER_FORMATS, Download

ROLLOUTS: Final[Mapping[str, Mapping[str, Any]]] = {
    # One pod goes before its successor comes: no rollout waits for a spare GPU.
    "rolling": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    "surge": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    "recreate": {"type": "Recreate"},
}
"""A Deployment's strategy by the way a new version takes the old one's place."""

FlagValue = str | int | float | bool | tuple[str | int | float, ...]
"""A flag's value; several of a flag that takes a list."""


@dataclass(frozen=True)
class SecretKey:
    """A key of a Secret in the environment's namespace: a reference, never a value."""

    secret: str
    key: str


@dataclass(frozen=True, kw_only=True)
class TritonArgs:
    """What only Triton is told.

    Attributes:
        backend: `vllm` or `tensorrt-llm`.
        model_repository: where the models are, on the weights claim or in a bucket; "": the platform writes one, for
            the backend vllm.

    Raises:
        ValueError: no such backend, or TensorRT-LLM without a repository: its engines are built beforehand.
    """

    backend: str = "vllm"
    model_repository: str = ""

    def __post_init__(self) -> None:
        if self.backend not in {"vllm", "tensorrt-llm"}:
            raise ValueError(f"backend {self.backend!r} must be vllm or tensorrt-llm")
        if self.backend == "tensorrt-llm" and not self.model_repository:
            raise ValueError("the backend tensorrt-llm needs a model_repository with engines built for its GPU")


@dataclass(frozen=True, kw_only=True)
class CustomEngineArgs:
    """An engine that the platform does not know.

    Attributes:
        image: with its tag or digest.
        command: instead of the image's entry point; empty: that.
        arguments: its command line; what may stand in it: `components.serving.engines.custom.PLACEHOLDERS`.
        variables: its environment.
        health_path: GET answers 200 when the model answers.
        metrics_path: of its metrics, on the same port; "": it has none.
        waiting_metric: PromQL selector of the requests that wait in it; "": it is scaled by requests in flight alone.
    """

    image: str
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    health_path: str = "/health"
    metrics_path: str = "/metrics"
    waiting_metric: str = ""


@dataclass(frozen=True, kw_only=True)
class EngineArgs:
    """The server in the pod.

    Attributes:
        model: Hugging Face id.
        kind: which engine; a key of `components.serving.engines.ENGINES`.
        max_model_len: longest prompt plus answer, tokens; None: the engine's own choice.
        max_num_seqs: most requests in one batch; None: the engine's own choice.
        gpu_memory_utilization: share of the GPU's memory.
        tensor_parallel: GPUs per replica.
        extra_args: further flags without dashes; True gives the flag alone, False its ``--no-`` form, a tuple several
            values.
        hugging_face_token: where the token lies that gated models need; None: no token.
        lora: adapters that are served beside the model; None: none.
        static_memory_share: share of the GPU's memory for weights and KV cache alone, for engines that are told this;
            None: it is not known.
        triton: of the engine triton; None: its defaults.
        custom: of the engine custom.
        revision: the model's commit, tag or branch; "": its default branch.
        allow_patterns: files of the model that are preloaded, see `components.weights_files.Download`.
        ignore_patterns: of those, files that are not.
        kv_offload: what it keeps beside its GPUs; None: nothing.
        traces: where traces of its requests go; None: nowhere.
    """

    model: str
    kind: str = "vllm"
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    gpu_memory_utilization: float = 0.85
    tensor_parallel: int = 1
    extra_args: Mapping[str, FlagValue] = field(default_factory=dict)
    hugging_face_token: SecretKey | None = None
    lora: LoraArgs | None = None
    static_memory_share: float | None = None
    triton: TritonArgs | None = None
    custom: CustomEngineArgs | None = None
    revision: str = ""
    allow_patterns: tuple[str, ...] = MODEL_FILES
    ignore_patterns: tuple[str, ...] = OTHER_FORMATS
    kv_offload: KvOffloadArgs | None = None
    traces: TracesArgs | None = None

    @property
    def downloads(self) -> tuple[Download, ...]:
        """All that it loads."""
        adapters = () if self.lora is None else self.lora.adapters
        model = Download(
            id=self.model,
            revision=self.revision,
            allow_patterns=self.allow_patterns,
            ignore_patterns=self.ignore_patterns,
        )
        return (model, *(Download(id=item.source, allow_patterns=ADAPTER_FILES) for item in adapters))


@dataclass(frozen=True, kw_only=True)
class SleepArgs:
    """What an idle replica does instead of going away.

    Attributes:
        level: 1 keeps the weights in the pod's memory, 2 reads them again.
        after_seconds: time without a request until it sleeps.

    Raises:
        ValueError: a figure out of range.
    """

    level: int
    after_seconds: int

    def __post_init__(self) -> None:
        if self.level not in {1, 2}:
            raise ValueError(f"level {self.level} must be 1 or 2")
        if self.after_seconds < 1:
            raise ValueError(f"after_seconds {self.after_seconds} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class SimulationArgs:
    """What a simulated engine is told; only on a cluster that simulates.

    Attributes:
        startup_seconds: how long it takes to start.
        speedup: how many times faster than the real GPU it computes.
        gpu: the GPU that it pretends to have, by its key in the catalogue.
        gpu_share: part of that GPU's throughput that is its own, where pods share it.
        memory_gib: memory of its slice of the GPU; None: that of the whole GPU.
    """

    startup_seconds: float
    speedup: float
    gpu: str
    gpu_share: float = 1.0
    memory_gib: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelDeploymentArgs:
    """One served model.

    Attributes:
        name: DNS label; clients send it as ``model``.
        engine: the server.
        placement: where its pods go and what they take.
        router_policy: how the router picks a replica.
        scaling: how many replicas, and when.
        simulation: None on a cluster with GPUs.
        priority_class: PriorityClass of its engines; "": the cluster's default.
        rollout: how a new version takes the old one's place; a key of `ROLLOUTS`.
        chart_values: the user's own values for the serving stack's chart, laid over ours.
        topology: which kinds of workers serve it.
        sleep: None: a replica without requests stays awake.

    Raises:
        ValueError: a replica is to sleep and to go away when idle, or to keep blocks and to hand them over.
    """

    name: str
    engine: EngineArgs
    placement: Placement
    router_policy: str
    scaling: ScalingArgs
    simulation: SimulationArgs | None = None
    priority_class: str = ""
    rollout: str = "rolling"
    chart_values: Mapping[str, Any] = field(default_factory=dict)
    topology: Topology = field(default_factory=Aggregated)
    sleep: SleepArgs | None = None

    def __post_init__(self) -> None:
        if self.engine.kv_offload is not None and not isinstance(self.topology, Aggregated):
            raise ValueError(f"{self.name}: workers that hand blocks over have another connector than kv_offload")
        if self.sleep is not None and self.scaling.min_replicas == 0:
            raise ValueError(f"{self.name}: min_replicas must be at least 1 for a model that sleeps when idle")

    @property
    def workers(self) -> tuple[Workers, ...]:
        """Its kinds of workers."""
        workers = self.topology.workers(self.scaling)
        offload, traces = self.engine.kv_offload, self.engine.traces
        words: tuple[str, ...] = ()
        variables: dict[str, str] = {}
        if offload is not None:
            words += offload.arguments()
            variables |= offload.variables(self.name, self.engine.tensor_parallel)
        if traces is not None:
            words += traces.arguments()
            variables |= traces.variables(self.name)
        if not words:
            return workers
        return tuple(
            replace(item, arguments=(*item.arguments, *words), variables={**item.variables, **variables})
            for item in workers
        )

    @property
    def timing(self) -> RequestTiming:
        """The times that follow from its scaling."""
        return RequestTiming(self.scaling.startup_budget_seconds, self.scaling.drain_seconds)


@dataclass(frozen=True, kw_only=True)
class ServingContext:
    """Where a serving stack works.

    Attributes:
        cluster: the cluster.
        labels: of the environment.
        gateway_host: Host header that the gateway gives to requests.
        after: what every object is created after and destroyed before: the namespace.
        weights_claim: claim that holds model weights; "" where each pod keeps its own copy.
        weights_annotations: of pods that mount the claim, where the cloud mounts it by a container beside theirs.
        weights_whole_files: the claim takes new files from first byte to last only (`WeightsVolume.whole_files`).
        preload: a Job fills the claim with a model before the model's first pod starts.
        offline: engines take weights from the claim and ask Hugging Face for nothing.
        image_pull_secrets: names of the Secrets that images are fetched with.
        image_digests: by image with its tag; see `components.images.pinned`.
        engines_as_root: engines run as root; False: as the image's user 2000.
        chart_source: where the serving stack's chart comes from; fields of its source's type. Empty: its default.
        shared_router: Service of the router that all models share; "": each model has its own.
    """

    cluster: ClusterHandle
    labels: EnvironmentLabels
    gateway_host: str
    after: tuple[pulumi.Resource, ...] = ()
    weights_claim: str = ""
    weights_annotations: Mapping[str, str] = field(default_factory=dict)
    weights_whole_files: bool = False
    preload: bool = False
    offline: bool = False
    image_pull_secrets: tuple[str, ...] = ()
    image_digests: Mapping[str, str] = field(default_factory=dict)
    engines_as_root: bool = False
    chart_source: Mapping[str, str] = field(default_factory=dict)
    shared_router: str = ""


class ServingStack(Protocol):
    """Turns model deployments into workloads."""

    def __init__(self, context: ServingContext) -> None:
        """Get to work in an environment."""
        ...

    def deploy(self, args: ModelDeploymentArgs) -> pulumi.Resource:
        """Serve a model, reachable through the interceptor by its name in the model header.

        Returns:
            The component.
        """
        ...
