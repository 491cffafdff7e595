"""Checks of who serves a model beside its engine: kinds of workers, adapters, routers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stacks.config.models import Disaggregated, EnvironmentConfig, LoraAdapter, ModelDeployment, WorkerScaling
from stacks.config.salvage import has
from stacks.config.vocabulary import Rollout, RouterKind, TopologyKind
from stacks.errors import MISSING, FieldError

OWN_SCALING = ("min_replicas", "max_replicas")
REPLACES_NIXL = {
    "kv-transfer-config": "the topology writes --kv-transfer-config itself",
    "kv-offloading-size": "it puts another connector in the place of NIXL's: no block would come from prefill workers",
}
"""Flags that end the transfer between workers; vLLM 0.32.0 config/vllm.py _post_init_kv_transfer_config."""

ADAPTER_FILE = "adapter_config.json"
LORA_FLAGS = frozenset({"enable-lora", "lora-modules", "max-loras", "max-lora-rank", "max-cpu-loras"})


def check_topologies(config: EnvironmentConfig, deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    """All errors in workers, adapters and routers.

    Args:
        config: valid, or salvaged from an invalid one.
        deployments: its model deployments.
    """
    yield from _check_adapter_names(deployments)
    for index, deployment in enumerate(deployments):
        path = f"model_deployments[{index}]"
        if has(deployment, "topology") and isinstance(deployment.topology, Disaggregated):
            yield from _check_disaggregated(deployment, deployment.topology, path)
        yield from _check_adapters(deployment, f"{path}.engine")
    if has(config, "router") and config.router is RouterKind.SHARED:
        yield from _check_shared_router(deployments)


def check_adapter_files(config: EnvironmentConfig, folder: Path) -> Iterator[FieldError]:
    """What the adapters' own files say against the configuration.

    Args:
        config: valid, or salvaged.
        folder: where the stack's file is.
    """
    for path, deployment, adapter in _adapters(config.model_deployments if has(config, "model_deployments") else ()):
        if not has(adapter, "source") or not has(adapter.source, "config_file") or adapter.source.config_file is None:
            continue
        where = f"{path}.source.config_file"
        try:
            facts = _read(folder / adapter.source.config_file)
        except (OSError, ValueError) as error:
            fix = f"Give the adapter's {ADAPTER_FILE}, or its folder, relative to the stack's file."
            yield FieldError(where, adapter.source.config_file, f"cannot be read: {error}", fix=fix)
            continue
        yield from _check_facts(facts, deployment, adapter, path)


def _adapters(deployments: Sequence[ModelDeployment]) -> Iterator[tuple[str, ModelDeployment, LoraAdapter]]:
    for index, deployment in enumerate(deployments):
        if has(deployment, "engine") and has(deployment.engine, "lora_adapters"):
            for number, adapter in enumerate(deployment.engine.lora_adapters):
                yield f"model_deployments[{index}].engine.lora_adapters[{number}]", deployment, adapter


def _read(file: Path) -> dict[str, Any]:
    facts = json.loads((file / ADAPTER_FILE if file.is_dir() else file).read_text(encoding="utf-8"))
    if not isinstance(facts, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the file is wrong, not the program
    return facts


def _check_facts(
    facts: dict[str, Any], deployment: ModelDeployment, adapter: LoraAdapter, path: str
) -> Iterator[FieldError]:
    base, rank = facts.get("base_model_name_or_path"), facts.get("r")
    if isinstance(base, str) and has(deployment, "source") and has(deployment.source, "hugging_face"):
        own = deployment.source.hugging_face
        if base != own:
            yield _other_base(f"{path}.source.config_file", base, own)
    if type(rank) is int and has(adapter, "rank") and rank > adapter.rank:
        message = f"the adapter's rank is {rank}: vLLM would refuse to load it"
        yield FieldError(f"{path}.rank", adapter.rank, message, fix=f"Set it to {rank}.")


def _other_base(path: str, base: str, own: str) -> FieldError:
    message = f"the adapter was trained for {base}, and the model deployment serves {own}"
    return FieldError(path, base, message, fix="Put it under a model deployment of its base model.")


def _check_adapter_names(deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    taken = {
        item.name: f"model_deployments[{index}].name" for index, item in enumerate(deployments) if has(item, "name")
    }
    for path, _, adapter in _adapters(deployments):
        if not has(adapter, "name"):
            continue
        if adapter.name in taken:
            message = f"already taken by {taken[adapter.name]}: a request's model would mean both"
            yield FieldError(f"{path}.name", adapter.name, message, fix="Give each its own name.")
        taken.setdefault(adapter.name, f"{path}.name")


def _check_adapters(deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    if not has(deployment, "engine") or not has(deployment.engine, "lora_adapters"):
        return
    engine, adapters = deployment.engine, deployment.engine.lora_adapters
    if has(engine, "max_loras") and engine.max_loras is not None and engine.max_loras > max(1, len(adapters)):
        message = f"is more than the {len(adapters)} adapters: memory would be taken for nothing"
        yield FieldError(f"{path}.max_loras", engine.max_loras, message, fix="Lower it, or leave it out.")
    if not adapters:
        return
    own = deployment.source.hugging_face if _has_model(deployment) else None
    for index, adapter in enumerate(adapters):
        if own and has(adapter, "base_model") and adapter.base_model not in {None, own}:
            yield _other_base(f"{path}.lora_adapters[{index}].base_model", str(adapter.base_model), own)
    given = engine.extra_args if has(engine, "extra_args") else {}
    for name in given:
        if name.replace("_", "-") in LORA_FLAGS:
            message = f"lora_adapters gives the engine --{name.replace('_', '-')} already"
            yield FieldError(f"{path}.extra_args.{name}", given[name], message, fix="Remove one of the two.")


def _has_model(deployment: ModelDeployment) -> bool:
    return has(deployment, "source") and has(deployment.source, "hugging_face")


def _check_disaggregated(deployment: ModelDeployment, topology: Disaggregated, path: str) -> Iterator[FieldError]:
    for role in ("prefill", "decode"):
        if has(topology, role):
            yield from _check_role(getattr(topology, role), f"{path}.topology.{role}")
    if has(deployment, "scaling"):
        for name in OWN_SCALING:
            if name in deployment.scaling.model_fields_set and has(deployment.scaling, name):
                message = "prefill and decode workers have their own"
                fix = f"Remove it: set topology.prefill.{name} and topology.decode.{name}."
                yield FieldError(f"{path}.scaling.{name}", getattr(deployment.scaling, name), message, fix=fix)
    engine = deployment.engine if has(deployment, "engine") else None
    if engine is None or not has(engine, "extra_args"):
        return
    for name, value in engine.extra_args.items():
        reason = REPLACES_NIXL.get(name.replace("_", "-").partition(".")[0])
        if reason:
            fix = "Remove it, or set topology: {kind: aggregated}."
            yield FieldError(f"{path}.engine.extra_args.{name}", value, reason, fix=fix)


def _check_role(scaling: WorkerScaling, path: str) -> Iterator[FieldError]:
    if has(scaling, "min_replicas") and scaling.min_replicas < 1:
        message = (
            "the router of disaggregated workers answers 503 at once while a kind of worker is missing, so a model at "
            "zero would lose the request that should wake it"
        )
        yield FieldError(f"{path}.min_replicas", 0, message, fix="Set it to 1 or more, or use topology aggregated.")
    if has(scaling, *OWN_SCALING) and scaling.min_replicas > scaling.max_replicas:
        low, high = scaling.min_replicas, scaling.max_replicas
        fix = f"Lower min_replicas to {high} or raise max_replicas to {low}."
        yield FieldError(f"{path}.min_replicas", low, f"is more than max_replicas, {high}", fix=fix)


def _check_shared_router(deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    """What the router of all models cannot do; each reason was measured on the pinned router."""
    policies = sorted({item.router_policy.value for item in deployments if has(item, "router_policy")})
    for index, deployment in enumerate(deployments):
        path = f"model_deployments[{index}]"
        if len(policies) > 1 and has(deployment, "router_policy"):
            message = f"router: shared has one policy for all models, and they want {' and '.join(policies)}"
            yield FieldError(f"{path}.router_policy", deployment.router_policy, message, fix="Give all the same.")
        if has(deployment, "topology") and deployment.topology.kind is TopologyKind.DISAGGREGATED:
            message = "router: shared sends requests to one worker, not to a prefill and a decode worker"
            yield FieldError(f"{path}.topology.kind", deployment.topology.kind, message, fix="Set router: per-model.")
            continue
        if has(deployment, "engine") and has(deployment.engine, "lora_adapters") and deployment.engine.lora_adapters:
            message = "router: shared knows models by the first name that an engine serves, and no adapters"
            yield FieldError(f"{path}.engine.lora_adapters", MISSING, message, fix="Set router: per-model.")
        yield from _check_never_empty(deployment, path)


def _check_never_empty(deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    if not has(deployment, "scaling") or not has(deployment.scaling, "min_replicas"):
        return
    fewest = deployment.scaling.min_replicas
    why = "router: shared sends a request for a model without a worker to another model's, which answers 404"
    if fewest < 1:
        fix = "Set it to 1 or more, or set router: per-model."
        value = fewest if "min_replicas" in deployment.scaling.model_fields_set else MISSING
        yield FieldError(f"{path}.scaling.min_replicas", value, why, fix=fix)
    elif fewest == 1 and has(deployment, "rollout") and deployment.rollout is not Rollout.SURGE:
        message = f"with one replica a rollout leaves none for a while, and {why}"
        fix = "Set rollout: surge, or scaling.min_replicas to 2 or more."
        yield FieldError(f"{path}.rollout", deployment.rollout, message, (Rollout.SURGE.value,), fix)
