"""Checks of which engine: that the serving stack has it, and that what belongs to one engine is given with that one."""

from __future__ import annotations

from collections.abc import Iterator

from stacks.config.models import EnvironmentConfig, ModelDeployment
from stacks.config.models_deployment import Engine
from stacks.config.models_topology import Disaggregated
from stacks.config.salvage import has
from stacks.config.vocabulary import BUILT_ENGINES, EngineName, ServingStack, TritonBackend
from stacks.errors import MISSING, FieldError

SECTIONS = {"triton": EngineName.TRITON, "custom": EngineName.CUSTOM}
"""Fields of an engine that belong to one of them."""


def check_engine(config: EnvironmentConfig, deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    """All errors in the choice of a model deployment's engine.

    Args:
        config: valid, or salvaged from an invalid one.
        deployment: valid, or salvaged.
        path: where it stands.
    """
    if not has(deployment, "engine") or not has(deployment.engine, "name"):
        return
    engine, where = deployment.engine, f"{path}.engine"
    if engine.name not in BUILT_ENGINES:
        return
    stack = config.serving_stack if has(config, "serving_stack") else ServingStack.MANIFESTS
    if stack is ServingStack.PRODUCTION_STACK and engine.name is not EngineName.VLLM:
        message = f"the serving stack {stack} runs vLLM and nothing else"
        fix = "Set serving_stack: manifests, which has all engines, or engine.name: vllm."
        yield FieldError(f"{where}.name", engine.name, message, (EngineName.VLLM.value,), fix)
    yield from _check_vllm_only(deployment, path)
    yield from _check_sections(engine, where)
    yield from _check_triton(engine, where)
    yield from _check_custom(engine, where)


def _check_vllm_only(deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    """What is written in vLLM's flags: two kinds of workers, and adapters."""
    engine = deployment.engine
    if engine.name is EngineName.VLLM:
        return
    if has(deployment, "topology") and isinstance(deployment.topology, Disaggregated):
        message = f"prefill and decode in two kinds of workers are vLLM's, and the engine is {engine.name}"
        fix = "Set engine.name: vllm, or remove topology."
        yield FieldError(f"{path}.topology.kind", deployment.topology.kind, message, ("aggregated",), fix)
    if has(engine, "lora_adapters") and engine.lora_adapters:
        message = f"adapters are given to vLLM, and the engine is {engine.name}"
        yield FieldError(f"{path}.engine.lora_adapters", MISSING, message, fix="Set engine.name: vllm, or remove them.")


def _check_sections(engine: Engine, where: str) -> Iterator[FieldError]:
    for field, owner in SECTIONS.items():
        if has(engine, field) and getattr(engine, field) is not None and engine.name is not owner:
            message = f"belongs to the engine {owner}, and the engine is {engine.name}"
            yield FieldError(f"{where}.{field}", MISSING, message, fix=f"Remove it, or set engine.name: {owner}.")


def _check_triton(engine: Engine, where: str) -> Iterator[FieldError]:
    triton = engine.triton if has(engine, "triton") else None
    if engine.name is not EngineName.TRITON or triton is None or not has(triton, "backend", "model_repository"):
        return
    built = triton.backend is TritonBackend.TENSORRT_LLM
    if built and triton.model_repository is None:
        message = "required, but not given: TensorRT-LLM runs engines that were built for the pool's GPU beforehand"
        fix = "Name the repository that has them, a path below /weights or a bucket, or set backend: vllm."
        yield FieldError(f"{where}.triton.model_repository", MISSING, message, fix=fix)
    given = has(engine, "extra_args") and engine.extra_args
    if given and triton.model_repository is not None:
        message = "written into the model repository, and triton.model_repository names one that is there"
        yield FieldError(f"{where}.extra_args", MISSING, message, fix="Remove it: set them in that repository.")


def _check_custom(engine: Engine, where: str) -> Iterator[FieldError]:
    if engine.name is not EngineName.CUSTOM:
        return
    if has(engine, "custom") and engine.custom is None:
        message = "required, but not given, with the engine custom (the image and how it is started)"
        yield FieldError(f"{where}.custom", MISSING, message, fix="Add it, at least its image.")
    if has(engine, "extra_args") and engine.extra_args:
        message = "nobody knows how this engine takes flags"
        yield FieldError(f"{where}.extra_args", MISSING, message, fix="Write them into engine.custom.args.")
