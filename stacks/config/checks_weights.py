"""Checks of where engines take weights from: offline, pinned revisions, chosen files, and room on the nodes' disks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.weights_files import MODEL_FILES, OTHER_FORMATS
from planner.catalog import models
from planner.sizing import weights_gib
from stacks.config.checks_cloud import settings_of
from stacks.config.models import EnvironmentConfig, ModelDeployment
from stacks.config.salvage import has
from stacks.config.vocabulary import CLOUDS_WITH_INSTANCES, EngineName, WeightsStore
from stacks.errors import MISSING, FieldError

IMAGE_GIB = 10
"""About what the engine's image takes on a node's disk."""

PATTERNS = {"allow_patterns": MODEL_FILES, "ignore_patterns": OTHER_FORMATS}
"""Fields of a source that only a download heeds, and their defaults."""


def check_weights(config: EnvironmentConfig, deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    """All errors about weights between fields.

    Args:
        config: valid, or salvaged from an invalid one.
        deployments: its model deployments; none if they are broken.
    """
    weights = config.weights if has(config, "weights") else None
    if weights is not None and has(weights, "store", "preload", "offline"):
        yield from _check_offline(config)
    if weights is not None and has(weights, "store") and weights.store is WeightsStore.NODE_DISK:
        yield from _check_disks(config, deployments)
    for index, deployment in enumerate(deployments):
        path = f"model_deployments[{index}]"
        if not has(deployment, "source"):
            continue
        yield from _check_revision(deployment, path)
        if weights is not None and has(weights, "preload") and not weights.preload:
            yield from _check_patterns(deployment, path)


def _check_offline(config: EnvironmentConfig) -> Iterator[FieldError]:
    weights = config.weights
    if not weights.offline or weights.preload:
        return
    settings = settings_of(config) if has(config, "cloud") else None
    if weights.store is WeightsStore.NODE_DISK:
        message = "with node-disk each pod downloads its own weights, and offline it must not"
        choices = (WeightsStore.SHARED_FILES.value, WeightsStore.OBJECT_STORE.value)
        fix = "Choose one of these as weights.store, with weights.preload: true."
        yield FieldError("weights.offline", True, message, choices, fix)
    elif getattr(settings, "weights_volume", None) is None:
        message = "the store is empty when it is made, and nobody fills it"
        fix = "Set weights.preload: true, or name a volume with the models on it (existing.weights_volume)."
        yield FieldError("weights.offline", True, message, fix=fix)


def _check_revision(deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    source = deployment.source
    if not has(source, "revision") or source.revision is None:
        return
    if has(deployment, "engine") and has(deployment.engine, "name") and deployment.engine.name is EngineName.TRITON:
        message = "Triton's frontend reads the tokenizer at the default branch, whatever revision the model has"
        fix = "Remove it, or set engine.name: vllm."
        yield FieldError(f"{path}.source.revision", source.revision, message, fix=fix)


def _check_patterns(deployment: ModelDeployment, path: str) -> Iterator[FieldError]:
    for name, default in PATTERNS.items():
        if has(deployment.source, name) and getattr(deployment.source, name) != default:
            message = "says what weights.preload fetches, and it is false: engines choose files themselves"
            yield FieldError(f"{path}.source.{name}", MISSING, message, fix="Set weights.preload: true, or remove it.")


def _check_disks(config: EnvironmentConfig, deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    """Of machines that the platform makes: a model, of which each pod has a copy, must fit on its node's disk."""
    if not has(config, "cloud", "node_pools") or config.cloud not in CLOUDS_WITH_INSTANCES:
        return
    for index, pool in enumerate(config.node_pools):
        if not has(pool, "name", "disk_gib", "local_nvme") or pool.local_nvme:
            continue
        sizes = {
            model.key: weights_gib(model)
            for item in deployments
            if has(item, "node_pool", "source") and item.node_pool == pool.name and has(item.source, "hugging_face")
            if (model := models().get(item.source.hugging_face)) is not None
        }
        largest = max(sizes, key=lambda key: sizes[key], default="")
        if largest and sizes[largest] + IMAGE_GIB > pool.disk_gib:
            message = (
                f"{largest} has {sizes[largest]:.0f} GiB of weights, which with node-disk lie on the node's disk "
                f"beside {IMAGE_GIB} GiB of the engine's image: its pods would be evicted while they load"
            )
            least = int(sizes[largest]) + 2 * IMAGE_GIB
            fix = f"Set it to {least} or more, or keep weights in a store (weights.store)."
            yield FieldError(f"node_pools[{index}].disk_gib", pool.disk_gib, message, fix=fix)
