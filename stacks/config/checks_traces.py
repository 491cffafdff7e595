"""Checks of traces: who sends them, and whether the address is one of the protocol's."""

from __future__ import annotations

from collections.abc import Iterator

from stacks.config.models import ModelDeployment
from stacks.config.salvage import has
from stacks.config.vocabulary import EngineName, TraceProtocol
from stacks.errors import MISSING, FieldError

LARGEST_PORT = 65_535


def check_traces(deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    """All errors of a model whose requests are traced.

    Args:
        deployment: valid, or salvaged from an invalid one.
        path: where it stands.
    """
    if not has(deployment, "engine") or not has(deployment.engine, "traces") or deployment.engine.traces is None:
        return
    engine, traces, where = deployment.engine, deployment.engine.traces, f"{path}.engine.traces"
    if has(engine, "name") and engine.name is not EngineName.VLLM:
        message = f"is written in vLLM's flags, and the engine is {engine.name}"
        yield FieldError(where, MISSING, message, fix="Set engine.name: vllm, or remove it.")
    for name in engine.extra_args if has(engine, "extra_args") else ():
        if name.replace("_", "-") == "otlp-traces-endpoint":
            message = "traces writes --otlp-traces-endpoint itself"
            yield FieldError(f"{path}.engine.extra_args.{name}", MISSING, message, fix="Remove one of the two.")
    if not has(traces, "endpoint"):
        return
    address, _, rest = traces.endpoint.partition("://")[2].partition("/")
    port = int(address.rpartition(":")[2])
    if port > LARGEST_PORT:
        yield FieldError(f"{where}.endpoint", traces.endpoint, f"{port} is no port", fix="1 to 65535.")
    if not has(traces, "protocol"):
        return
    if traces.protocol is TraceProtocol.HTTP and not rest:
        message = "vLLM sends to this address as it is, and a receiver takes traces by HTTP below a path"
        fix = f"Write {traces.endpoint.rstrip('/')}/v1/traces, or set protocol: grpc."
        yield FieldError(f"{where}.endpoint", traces.endpoint, message, fix=fix)
    elif traces.protocol is TraceProtocol.GRPC and rest:
        message = "gRPC knows no path: the receiver would be asked for another service"
        fix = f"Write {traces.endpoint.partition('://')[0]}://{address}, or set protocol: http."
        yield FieldError(f"{where}.endpoint", traces.endpoint, message, fix=fix)
