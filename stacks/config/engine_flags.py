"""Which flags of each engine the platform writes itself, which it cannot deploy, and where its flags are known from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.versions import SGLANG_ENGINE, VLLM_ENGINE
from stacks.config.models_deployment import Engine
from stacks.config.salvage import has
from stacks.config.vocabulary import EngineName


@dataclass(frozen=True)
class EngineFlags:
    """The flags of one engine that are not the user's.

    Attributes:
        derived: those that the platform writes, and where they come from.
        unsupported: those that would contradict what it deploys, and why.
        limits: those of the fields that others of the user's flags must agree with.
        image: whose version has a catalogue of all flags; "": there is none, and flags are passed on as they are.
    """

    derived: Mapping[str, str]
    unsupported: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    image: str = ""


_COMMON = {"host": "a pod listens on its own address", "port": "every engine listens on 8000"}
_SECRET = "secrets do not belong in the configuration"  # noqa: S105
_ONE_POD = "a pod gets engine.tensor_parallel GPUs, no more"
_ONE_NODE = "a replica runs on one node"
_REPLICAS = "replicas are separate pods: set scaling.max_replicas"
_NO_FILE = "the file would not be in the pod: write its flags here"
_HTTP = "probes and the router speak HTTP inside the cluster"

VLLM = EngineFlags(
    derived=_COMMON
    | {
        "model": "set source.hugging_face",
        "revision": "set source.revision",
        "served-model-name": "it is the name of the model deployment",
        "max-model-len": "set engine.max_model_len",
        "max-num-seqs": "set engine.max_num_seqs",
        "gpu-memory-utilization": "set engine.gpu_memory_utilization",
        "tensor-parallel-size": "set engine.tensor_parallel",
        "shutdown-timeout": "set scaling.drain_seconds",
        "enable-sleep-mode": "set scaling.idle: {kind: sleep}",
    },
    unsupported={
        "pipeline-parallel-size": _ONE_POD,
        "data-parallel-size": _REPLICAS,
        "api-key": _SECRET,
        "hf-token": _SECRET,
        "prefill-context-parallel-size": _ONE_POD,
        "nnodes": _ONE_NODE,
        "headless": "probes and the router ask every replica",
        "uds": "the router reaches a replica by its address",
        "grpc": "the router speaks HTTP",
        "ssl-keyfile": _HTTP,
        "ssl-certfile": _HTTP,
        "config": _NO_FILE,
    },
    limits={"max-model-len": "max_model_len", "max-num-seqs": "max_num_seqs"},
    image=VLLM_ENGINE,
)

SGLANG = EngineFlags(
    derived=_COMMON
    | {
        "model-path": "set source.hugging_face",
        "revision": "set source.revision",
        "served-model-name": "it is the name of the model deployment",
        "context-length": "set engine.max_model_len",
        "max-running-requests": "set engine.max_num_seqs",
        "mem-fraction-static": "it follows from engine.gpu_memory_utilization",
        "tp-size": "set engine.tensor_parallel",
        "enable-metrics": "it is always on",
    },
    unsupported={
        "api-key": _SECRET,
        "admin-api-key": _SECRET,
        "dp-size": _REPLICAS,
        "pp-size": _ONE_POD,
        "nnodes": _ONE_NODE,
        "disaggregation-mode": "every replica does prefill and decode",
        "ssl-keyfile": _HTTP,
        "ssl-certfile": _HTTP,
        "config": _NO_FILE,
    },
    limits={"context-length": "max_model_len", "max-running-requests": "max_num_seqs"},
    image=SGLANG_ENGINE,
)

TGI = EngineFlags(
    derived={
        "hostname": _COMMON["host"],
        "port": _COMMON["port"],
        "model-id": "set source.hugging_face",
        "revision": "set source.revision",
        "num-shard": "set engine.tensor_parallel",
        "cuda-memory-fraction": "set engine.gpu_memory_utilization",
        "max-total-tokens": "set engine.max_model_len",
        "max-input-tokens": "it follows from engine.max_model_len",
        "max-batch-size": "set engine.max_num_seqs",
    },
    unsupported={"api-key": _SECRET},
)

TRITON = EngineFlags(
    derived={
        "model": "set source.hugging_face",
        "gpu-memory-utilization": "set engine.gpu_memory_utilization",
        "tensor-parallel-size": "set engine.tensor_parallel",
        "max-model-len": "set engine.max_model_len",
        "max-num-seqs": "set engine.max_num_seqs",
        "disable-log-stats": "without them there is nothing to scale by",
    },
)
"""Of the vLLM backend's model.json, whose keys are vLLM's engine arguments."""

ENGINE_FLAGS: Mapping[EngineName, EngineFlags] = {
    EngineName.VLLM: VLLM,
    EngineName.SGLANG: SGLANG,
    EngineName.TGI: TGI,
    EngineName.TRITON: TRITON,
}


def flags_of(engine: Engine) -> EngineFlags:
    """Those of the engine; of one that has none, or whose name is broken, none."""
    nothing = EngineFlags(derived={})
    return ENGINE_FLAGS.get(engine.name, nothing) if has(engine, "name") else nothing
