"""What an engine is told, from the configuration: all that is not common to every engine."""

from __future__ import annotations

from typing import Any

from components.serving.base import CustomEngineArgs, SleepArgs, TritonArgs
from components.serving.kv_offload import KvCacheServerArgs, KvOffloadArgs
from components.serving.traces import TracesArgs
from stacks.config import Engine
from stacks.config.models_deployment import CustomEngine, ScaleWhenIdle, SleepWhenIdle, TritonEngine
from stacks.config.models_kv_offload import KvOffload
from stacks.config.models_traces import Traces


def further_engine_args(engine: Engine) -> dict[str, Any]:
    """The kind of the engine, and what only one kind is told; arguments of `EngineArgs`."""
    return {
        "kind": engine.name.value,
        "triton": None if engine.triton is None else _triton(engine.triton),
        "custom": None if engine.custom is None else _custom(engine.custom),
        "kv_offload": None if engine.kv_offload is None else _kv_offload(engine.kv_offload),
        "traces": None if engine.traces is None else _traces(engine.traces),
    }


def _traces(traces: Traces) -> TracesArgs:
    return TracesArgs(endpoint=traces.endpoint, protocol=traces.protocol.value, sample_ratio=float(traces.sample_ratio))


def _kv_offload(offload: KvOffload) -> KvOffloadArgs:
    server = offload.server
    return KvOffloadArgs(
        backend=offload.backend.value,
        cpu_gib=offload.cpu_gib,
        disk_gib=offload.disk_gib or 0,
        remote_url=offload.remote_url or "",
        server=None if server is None else KvCacheServerArgs(image=server.image, memory_gib=server.memory_gib),
    )


def _triton(triton: TritonEngine) -> TritonArgs:
    return TritonArgs(backend=triton.backend.value, model_repository=triton.model_repository or "")


def _custom(custom: CustomEngine) -> CustomEngineArgs:
    return CustomEngineArgs(
        image=custom.image,
        command=custom.command,
        arguments=custom.args,
        variables=custom.env,
        health_path=custom.health_path,
        metrics_path=custom.metrics_path or "",
        waiting_metric=custom.waiting_metric or "",
    )


def sleep_args(idle: ScaleWhenIdle | SleepWhenIdle) -> SleepArgs | None:
    """What an idle replica does instead of going away; None: nothing."""
    if isinstance(idle, SleepWhenIdle):
        return SleepArgs(level=idle.level, after_seconds=idle.after_seconds)
    return None
