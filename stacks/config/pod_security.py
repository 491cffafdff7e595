"""Which Pod Security level an environment's namespace gets, and whether the chart brings pods of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stacks.config.models import EnvironmentConfig, ModelDeployment
from stacks.config.vocabulary import EngineName, PodSecurity, WeightsStore

__all__ = ["PodSecurity", "brings_pods", "needs_baseline", "pod_security"]

ENGINE_EXTRAS: Final = frozenset({"initContainer", "enableLoRA", "lmcacheConfig"})
"""Values of a model that add containers, or share the node's memory, in ways that the level `restricted` refuses."""


ENGINES_WITH_A_USER: Final = frozenset({EngineName.VLLM})
"""Engines whose image brings a user of its own besides root (vLLM, docs/deployment/docker.md)."""


def brings_pods(deployment: ModelDeployment) -> bool:
    """Whether the chart brings pods beside a model's engines: a router, a cache server, a LoRA controller."""
    offload = deployment.engine.kv_offload
    if offload is not None and offload.server is not None:
        return True
    return any(key != "servingEngineSpec" for key in deployment.chart_values)


def needs_baseline(deployment: ModelDeployment) -> bool:
    """Whether a model's pods would be refused at the level `restricted`: by its engine, or by its own chart values."""
    if deployment.engine.name not in ENGINES_WITH_A_USER:
        return True
    spec: Any = deployment.chart_values.get("servingEngineSpec", {})
    model: Any = spec.get("modelSpec", {}) if isinstance(spec, Mapping) else {}
    return brings_pods(deployment) or (isinstance(model, Mapping) and not ENGINE_EXTRAS.isdisjoint(model))


def pod_security(config: EnvironmentConfig) -> PodSecurity:
    """The namespace's level: the configured one, else `restricted` where nothing is known to need root.

    Engines run as the image's user `vllm` at `restricted` and as root at `baseline`: the folders of a shared store
    belong to root, images of other engines bring no other user, and containers that the chart adds have no security
    context.
    """
    if config.tenancy.pod_security is not None:
        return config.tenancy.pod_security
    on_node = config.weights.store is WeightsStore.NODE_DISK
    plain = not any(needs_baseline(deployment) for deployment in config.model_deployments)
    return PodSecurity.RESTRICTED if on_node and plain else PodSecurity.BASELINE
