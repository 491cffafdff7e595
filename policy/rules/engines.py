"""Engines: pods that hold GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy.rule import Doubts, Finding, Findings, NoSettings, Rule, Severity, setting
from policy.view import Resource, at, items, known, mapping, number, text
from policy.workloads import engine_pod, gpus_of, helm_values, model_specs, pod_of

PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe")


def engine_probes(resource: Resource, _: NoSettings) -> Findings:
    """Engines have all three probes."""
    pod = engine_pod(resource)
    if pod is not None:
        for path, container in pod.engines():
            missing = [probe for probe in PROBES if not mapping(container.get(probe))]
            if missing:
                yield Finding(f"{path}: has no {', no '.join(missing)}")
    # The chart brings probes of its own; a value of {} or null takes one away.
    values = mapping(at(helm_values(resource) or {}, "servingEngineSpec"))
    if any(True for _ in model_specs(resource)):
        missing = [probe for probe in PROBES if probe in values and not mapping(values[probe])]
        if missing:
            yield Finding(f"values.servingEngineSpec: takes away {', '.join(missing)}")


@dataclass(frozen=True)
class DrainSettings:
    """What an engine gets to finish its requests."""

    min_grace_seconds: int = setting(45, "Fewest seconds of terminationGracePeriodSeconds; Kubernetes' default is 30.")


def engine_drain(resources: Sequence[Resource], settings: DrainSettings) -> Findings:
    """Engines finish their requests before they go."""
    doubts = Doubts()
    patched = set()
    for resource in resources:
        with doubts:
            if resource.type == "kubernetes:apps/v1:DeploymentPatch" and not any(_cut_short(resource, settings)):
                patched.add(resource.namespace)
    for resource in resources:
        with doubts:
            if engine_pod(resource) is not None:
                for message in _cut_short(resource, settings):
                    yield Finding(message, resource.urn)
        with doubts:
            # The chart has no values for it: what patches its Deployments must be there.
            if any(model_specs(resource)) and text(resource.at("namespace")) not in patched:
                yield Finding(
                    "values: the chart's engines get no preStop hook and 30 s, and nothing patches them", resource.urn
                )
    doubts.settle()


def _cut_short(resource: Resource, settings: DrainSettings) -> Iterator[str]:
    pod = pod_of(resource)
    spec = pod.spec if pod else mapping(resource.at("spec", "template", "spec"))
    grace = number(spec.get("terminationGracePeriodSeconds"), 30)
    if grace < settings.min_grace_seconds:
        yield f"terminationGracePeriodSeconds: {grace:g} s, and at least {settings.min_grace_seconds} s are asked for"
    containers = (
        [item for _, item in pod.engines()] if pod else [mapping(item) for item in items(spec.get("containers"))]
    )
    for container in containers:
        if not mapping(at(container, "lifecycle", "preStop")):
            name = text(container.get("name"))
            yield f"container {name}: lifecycle.preStop: missing, so requests still arrive when it shuts down"


def engine_resources(resource: Resource, _: NoSettings) -> Findings:
    """Engines ask for CPU, memory and GPUs, and are limited in memory and GPUs."""
    pod = engine_pod(resource)
    if pod is not None:
        for path, container in pod.engines():
            asked = mapping(at(container, "resources", "requests"))
            limits = mapping(at(container, "resources", "limits"))
            # Kubernetes takes the limit for the request where none is given.
            missing = [f"requests.{name}" for name in ("cpu", "memory") if name not in {**limits, **asked}]
            missing += [] if "memory" in limits else ["limits.memory"]
            missing += [] if gpus_of(container) else ["limits of a GPU"]
            if missing:
                yield Finding(f"{path}.resources: without {', '.join(missing)}")
    for path, engine in model_specs(resource):
        if mapping(engine.get("resources")):
            limits = mapping(at(engine, "resources", "limits"))
            missing = [] if gpus_of(engine) else ["limits of a GPU"]
            missing += [] if "memory" in limits else ["limits.memory"]
        else:
            wanted = ("requestCPU", "requestMemory", "requestGPU", "limitMemory")
            missing = [name for name in wanted if not known(engine.get(name))]
        if missing:
            yield Finding(f"{path}: without {', '.join(missing)}")


def engine_disruption_budget(resources: Sequence[Resource], _: NoSettings) -> Findings:
    """Every engine is covered by a PodDisruptionBudget."""
    doubts = Doubts()
    budgets: list[tuple[str, Mapping[str, Any]]] = []
    for resource in resources:
        if resource.kind == "PodDisruptionBudget":
            with doubts:
                budgets.append((resource.namespace, mapping(resource.at("spec", "selector", "matchLabels"))))
    for resource in resources:
        with doubts:
            pod = engine_pod(resource)
            if (
                pod is not None
                and resource.kind != "Pod"
                and not any(
                    namespace == resource.namespace and selector.items() <= pod.labels.items()
                    for namespace, selector in budgets
                )
            ):
                yield Finding(f"{resource.kind} {resource.object_name}: no PodDisruptionBudget covers it", resource.urn)
        with doubts:
            labels = mapping(at(helm_values(resource) or {}, "servingEngineSpec", "labels"))
            within = text(resource.at("namespace"))
            for path, engine in model_specs(resource):
                own = {**labels, **mapping(engine.get("podLabels"))}
                covered = any(space == within and selector.items() <= own.items() for space, selector in budgets)
                if not mapping(engine.get("pdb")) and not covered:
                    yield Finding(f"{path}.pdb: missing", resource.urn)
    doubts.settle()


def engine_placement(resource: Resource, _: NoSettings) -> Findings:
    """Engines say on which pool they run."""
    pod = pod_of(resource)
    if pod is None:
        return
    for path, container in pod.containers():
        if gpus_of(container) and not _placed(pod.spec):
            yield Finding(f"{path}: asks for a GPU of any pool, by neither nodeSelector nor affinity")


def _placed(spec: Mapping[str, Any]) -> bool:
    return bool(mapping(spec.get("nodeSelector"))) or bool(mapping(at(spec, "affinity", "nodeAffinity")))


RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        name="engine-probes",
        description="Every engine has a startup, a readiness and a liveness probe: a model loads for minutes, and no "
        "request may reach it before.",
        fix="give the container startupProbe, readinessProbe and livenessProbe on /health",
        severity=Severity.HIGH,
        settings=NoSettings,
        resource=engine_probes,
    ),
    Rule(
        name="engine-drain",
        description="Every engine serves on after its deletion and gets time to finish: answers take seconds to "
        "minutes, and a scale-down must cut none off.",
        fix="set lifecycle.preStop and terminationGracePeriodSeconds (scaling.drain_seconds does both)",
        severity=Severity.HIGH,
        settings=DrainSettings,
        stack=engine_drain,
    ),
    Rule(
        name="engine-resources",
        description="Every engine requests CPU, memory and GPUs and is limited in memory and GPUs.",
        fix="give the container requests of cpu and memory, and limits of memory and of the GPU",
        severity=Severity.HIGH,
        settings=NoSettings,
        resource=engine_resources,
    ),
    Rule(
        name="engine-disruption-budget",
        description="Every engine is covered by a PodDisruptionBudget: draining a node must not end a model.",
        fix="make a PodDisruptionBudget whose selector matches the engine's pods",
        severity=Severity.MEDIUM,
        settings=NoSettings,
        stack=engine_disruption_budget,
    ),
    Rule(
        name="engine-placement",
        description="Every pod with a GPU says on which node pool it runs: otherwise it takes the dearest GPU that is "
        "free.",
        fix="give it a nodeSelector on inference.platform/node-pool",
        severity=Severity.MEDIUM,
        settings=NoSettings,
        resource=engine_placement,
    ),
)
