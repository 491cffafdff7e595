"""The words of the configuration, once, and which of them are built."""

from __future__ import annotations

from enum import StrEnum

from components.clouds import CLOUDS


class Cloud(StrEnum):
    """Where the cluster runs."""

    LOCAL = "local"
    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"
    EXISTING = "existing"


class ServingStack(StrEnum):
    """What turns model deployments into workloads."""

    MANIFESTS = "manifests"
    PRODUCTION_STACK = "production-stack"
    DYNAMO = "dynamo"
    KSERVE = "kserve"
    KAITO = "kaito"
    LLM_D = "llm-d"


class CapacityType(StrEnum):
    """How the nodes of a pool are bought."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    SPOT_WITH_FALLBACK = "spot-with-fallback"
    RESERVED = "reserved"


class ReservationKind(StrEnum):
    """How reserved nodes are held."""

    CAPACITY_BLOCK = "capacity-block"
    RESERVATION = "reservation"
    QUEUED = "queued"
    FLEX_START = "flex-start"


class SloPreset(StrEnum):
    """What a model is for, which decides how soon an answer must begin."""

    CHAT = "chat"
    RAG = "rag"


class Provisioner(StrEnum):
    """Who makes the nodes of a pool."""

    NODE_GROUP = "node-group"
    AUTO = "auto"


class WeightsStore(StrEnum):
    """Where model weights are kept."""

    NODE_DISK = "node-disk"
    SHARED_FILES = "shared-files"
    OBJECT_STORE = "object-store"


class SharingMode(StrEnum):
    """How one GPU is split between pods."""

    NONE = "none"
    MIG = "mig"
    TIME_SLICING = "time-slicing"
    MPS = "mps"


class EngineName(StrEnum):
    """The server in the pod."""

    VLLM = "vllm"
    SGLANG = "sglang"
    TRTLLM = "trtllm"
    TRITON = "triton"
    TGI = "tgi"
    CUSTOM = "custom"


class TopologyKind(StrEnum):
    """Whether one worker does prefill and decode, or two kinds of workers do."""

    AGGREGATED = "aggregated"
    DISAGGREGATED = "disaggregated"


class RouterKind(StrEnum):
    """How many routers there are."""

    PER_MODEL = "per-model"
    SHARED = "shared"


class TritonBackend(StrEnum):
    """What runs the model inside Triton."""

    VLLM = "vllm"
    TENSORRT_LLM = "tensorrt-llm"


class TraceProtocol(StrEnum):
    """How traces are sent."""

    GRPC = "grpc"
    HTTP = "http"


class KvOffloadBackend(StrEnum):
    """What moves keys and values between the GPU and their second home."""

    NATIVE = "native"
    LMCACHE = "lmcache"


class IdleKind(StrEnum):
    """What a replica does that nobody asks anything."""

    SCALE = "scale"
    SLEEP = "sleep"


class PodSecurity(StrEnum):
    """A level of Kubernetes' Pod Security Standards, enforced by the API server."""

    RESTRICTED = "restricted"
    BASELINE = "baseline"


class Rollout(StrEnum):
    """How a new version of a model deployment takes the old one's place."""

    ROLLING = "rolling"
    SURGE = "surge"
    RECREATE = "recreate"


class RouterPolicy(StrEnum):
    """How the router picks a replica (the policies of vLLM's router)."""

    CACHE_AWARE = "cache_aware"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    POWER_OF_TWO = "power_of_two"
    CONSISTENT_HASH = "consistent_hash"


CLOUDS_WITH_INSTANCES = frozenset({Cloud.AWS, Cloud.AZURE, Cloud.GCP})
"""Those that make machines: a pool's instance type is one of theirs."""

BUILT_CLOUDS = frozenset(Cloud(name) for name in CLOUDS)
BUILT_SERVING_STACKS = frozenset({ServingStack.MANIFESTS, ServingStack.PRODUCTION_STACK})
BUILT_ENGINES = frozenset({EngineName.VLLM, EngineName.SGLANG, EngineName.TGI, EngineName.TRITON, EngineName.CUSTOM})
SIMULATED_ENGINES = frozenset({EngineName.VLLM, EngineName.SGLANG})
"""What the local cloud runs as processes; of the others it has the objects only."""

BUILT_TOPOLOGIES = frozenset({TopologyKind.AGGREGATED, TopologyKind.DISAGGREGATED})
"""What can be deployed today; the rest of the vocabulary is understood and refused with a clear message."""
