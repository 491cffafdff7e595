"""What an organisation allows: regions, GPUs, models, licences, tags."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy.facts import licence_of
from policy.pools import pool_of
from policy.rule import Finding, Findings, Rule, Severity, setting
from policy.view import Resource, at, items, known, mapping, text
from policy.workloads import engine_pod, model_specs


def _matches(word: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(word.lower(), pattern.lower()) for pattern in patterns)


@dataclass(frozen=True)
class RegionSettings:
    """Where resources may be."""

    allowed: tuple[str, ...] = setting(("*",), "Patterns of regions in the clouds' own words, e.g. eu-*, europe-*.")


def allowed_regions(resource: Resource, settings: RegionSettings) -> Findings:
    """Resources are in allowed regions."""
    for path, region in _regions(resource):
        if region and not _matches(region, settings.allowed):
            yield Finding(f"{path}: region {region!r} is not one of {', '.join(settings.allowed)}")


def _regions(resource: Resource) -> Iterator[tuple[str, str]]:
    if resource.type == "pulumi:providers:aws" or resource.type.startswith("aws:"):
        yield "region", text(resource.at("region"))
    elif resource.type.startswith("azure-native:"):
        yield "location", text(resource.at("location")).lower().replace(" ", "")
    elif resource.type == "pulumi:providers:gcp":
        yield "region", text(resource.at("region"))
    elif resource.type.startswith("gcp:"):
        for field in ("region", "location"):
            yield field, text(resource.at(field)).lower()


@dataclass(frozen=True)
class GpuSettings:
    """Which GPUs may be used."""

    allowed: tuple[str, ...] = setting(("*",), "Patterns of keys in planner/catalog/gpus.toml, e.g. l4, a100-*.")


def allowed_gpus(resource: Resource, settings: GpuSettings) -> Findings:
    """Pools have allowed GPUs."""
    pool = pool_of(resource)
    if pool is None or not pool.has_gpus:
        return
    for gpu in pool.gpus:
        if not _matches(gpu.key, settings.allowed):
            yield Finding(f"{pool.where}: {gpu.name} ({gpu.key}) is not one of {', '.join(settings.allowed)}")


@dataclass(frozen=True)
class ModelSettings:
    """Which models may be served."""

    allowed: tuple[str, ...] = setting(("*/*",), "Patterns of Hugging Face ids, e.g. meta-llama/*, Qwen/Qwen3-*.")


def allowed_models(resource: Resource, settings: ModelSettings) -> Findings:
    """Engines serve allowed models."""
    for path, model in models_of(resource):
        if not _matches(model, settings.allowed):
            yield Finding(f"{path}: model {model!r} is not one of {', '.join(settings.allowed)}")


def models_of(resource: Resource) -> Iterator[tuple[str, str]]:
    """Models that a resource serves, by the engines' arguments or a chart's values."""
    pod = engine_pod(resource)
    if pod is not None:
        for path, container in pod.engines():
            words = [text(word) for word in items(container.get("args"))]
            model = _argument(words)
            if model:
                yield f"{path}.args", model
    for path, engine in model_specs(resource):
        if engine.get("modelURL") is not None:
            yield f"{path}.modelURL", text(engine["modelURL"])


def _argument(words: Sequence[str]) -> str:
    """The model of `vllm serve MODEL`, `--model MODEL`, `--model-path=MODEL` or `--model-id MODEL`."""
    names = ("--model", "--model-path", "--model-id")
    for index, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name in names:
            return value if sign else next(iter(words[index + 1 : index + 2]), "")
    first = next((word for word in words if word != "serve"), "")
    return "" if first.startswith("-") or "/" not in first else first


@dataclass(frozen=True)
class LicenceSettings:
    """Under which licences models may be used."""

    allowed: tuple[str, ...] = setting(
        ("apache-2.0", "mit", "modified-mit", "llama3*", "gemma", "qwen", "deepseek"),
        "Patterns of licences in policy/licences.toml.",
    )
    reviewed: tuple[str, ...] = setting((), "Patterns of Hugging Face ids that were read by somebody who may decide.")


def allowed_licences(resource: Resource, settings: LicenceSettings) -> Findings:
    """Models have allowed licences."""
    for path, model in models_of(resource):
        if "/" not in model or model.startswith("/") or _matches(model, settings.reviewed):
            continue
        licence = licence_of(model)
        if not licence:
            yield Finding(f"{path}: the licence of {model!r} is not known")
        elif not _matches(licence, settings.allowed):
            yield Finding(f"{path}: {model!r} is under {licence}, which is not one of {', '.join(settings.allowed)}")


@dataclass(frozen=True)
class TagSettings:
    """What everything that the cloud bills carries."""

    required: tuple[str, ...] = setting(
        ("owner|team",), "Keys of tags, in lower case; with | between them, one of these will do."
    )


TAG_FIELDS: Final = {
    "aws:eks/cluster:Cluster": ("tags",),
    "aws:eks/nodeGroup:NodeGroup": ("tags",),
    "aws:ec2/vpc:Vpc": ("tags",),
    "azure-native:containerservice:ManagedCluster": ("tags",),
    "azure-native:containerservice:AgentPool": ("tags",),
    "azure-native:resources:ResourceGroup": ("tags",),
    "gcp:container/cluster:Cluster": ("resourceLabels",),
    "gcp:container/nodePool:NodePool": ("nodeConfig", "resourceLabels"),
}
"""Where the tags are of what makes up the bill."""


def required_tags(resource: Resource, settings: TagSettings) -> Findings:
    """Clusters, networks and pools say whose they are."""
    path = TAG_FIELDS.get(resource.unversioned_type)
    if path is None:
        return
    tags = {**mapping(at(resource.provider_inputs, "defaultTags", "tags")), **mapping(resource.at(*path))}
    present = {str(key).lower() for key, value in tags.items() if known(value) != ""}
    missing = [keys for keys in settings.required if not present & set(keys.split("|"))]
    if missing:
        yield Finding(f"{'.'.join(path)}: without {', '.join(missing).replace('|', ' or ')}")


RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        name="allowed-regions",
        description="Resources are in regions that the organisation allows.",
        fix="choose an allowed region, or have this one allowed",
        severity=Severity.HIGH,
        settings=RegionSettings,
        resource=allowed_regions,
    ),
    Rule(
        name="allowed-gpus",
        description="Node pools have GPUs that the organisation allows.",
        fix="choose an allowed GPU, or have this one allowed",
        severity=Severity.MEDIUM,
        settings=GpuSettings,
        resource=allowed_gpus,
    ),
    Rule(
        name="allowed-models",
        description="Engines serve models that the organisation allows.",
        fix="choose an allowed model, or have this one allowed",
        severity=Severity.HIGH,
        settings=ModelSettings,
        resource=allowed_models,
    ),
    Rule(
        name="allowed-licences",
        description="Engines serve models under licences that the organisation accepts; an unknown one it does not.",
        fix="choose another model, or have somebody read the licence and list the model in `reviewed`",
        severity=Severity.MEDIUM,
        settings=LicenceSettings,
        resource=allowed_licences,
    ),
    Rule(
        name="required-tags",
        description="Clusters, networks and node pools carry the tags by which their cost is told apart, the owner at "
        "least.",
        fix="set tags in the environment, e.g. tags: {owner: search-team}",
        severity=Severity.MEDIUM,
        settings=TagSettings,
        resource=required_tags,
    ),
)
