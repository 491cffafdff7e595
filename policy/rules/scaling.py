"""Scaling: ScaledObjects, HorizontalPodAutoscalers and their counterparts in the values of serving charts."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy.rule import Doubts, Finding, Findings, NoSettings, Rule, Severity, setting
from policy.view import Resource, at, items, known, mapping, number, text
from policy.workloads import MODEL, engine_pod, model_specs

AGGREGATED: Final = re.compile(
    r"^\s*\(*\s*(?:clamp_\w+\s*\(\s*)?(sum|avg|max|min|count|quantile|scalar)\s*\(", re.IGNORECASE
)
GROUPED: Final = re.compile(r"\b(by|without)\s*\(", re.IGNORECASE)
MODEL_SELECTOR: Final = re.compile(r"\b(model_name|inference_model|model|deployment|service|app)\s*=~?\s*\"[^\"]+\"")
ENGINE_METRIC: Final = re.compile(r"\b(vllm|sglang|tgi|nv_inference|DCGM)[:_]")


@dataclass(frozen=True)
class Scaler:
    """What scales one workload.

    Attributes:
        path: where it stands in the resource.
        model: name of the model deployment; "" if it says none.
        target: name of the workload that it scales.
        spec: in the words of KEDA's ScaledObject.
    """

    path: str
    model: str
    target: str
    spec: Mapping[str, Any]

    @property
    def scales_to_zero(self) -> bool:
        """Whether it may take the last replica away; KEDA's default is that it may."""
        return number(self.spec.get("minReplicaCount", 0)) == 0 and self.spec.get("idleReplicaCount") is None


def scalers(resource: Resource) -> Iterator[Scaler]:
    """Everything that scales by KEDA in a resource."""
    if resource.type.startswith("kubernetes:keda.sh/") and resource.kind == "ScaledObject":
        spec = mapping(resource.at("spec"))
        target = text(at(spec, "scaleTargetRef", "name"))
        yield Scaler("spec", text(resource.labels.get(MODEL)) or target, target, spec)
    for path, engine in model_specs(resource):
        keda = mapping(engine.get("keda"))
        # With a raySpec, even one that is off, the chart leaves the number of replicas alone and makes no ScaledObject.
        if known(keda.get("enabled")) and "raySpec" not in engine:
            name = text(engine.get("name"))
            # The chart's own default is one replica, not KEDA's none.
            yield Scaler(f"{path}.keda", name, name, {"minReplicaCount": 1, **keda})


@dataclass(frozen=True)
class ScaleToZeroSettings:
    """Where models must not go to zero."""

    production: bool = setting(False, "Whether the environment is one of production; elsewhere nothing is judged.")
    interactive: tuple[str, ...] = setting(
        ("*chat*", "*assistant*"), "Patterns of model deployments that people wait for."
    )


def scale_to_zero(resource: Resource, settings: ScaleToZeroSettings) -> Findings:
    """Models that people wait for keep a replica in production."""
    if not settings.production:
        return
    for scaler in scalers(resource):
        waited_for = any(fnmatch.fnmatchcase(scaler.model, pattern) for pattern in settings.interactive)
        if waited_for and scaler.scales_to_zero:
            yield Finding(f"{scaler.path}.minReplicaCount: model {scaler.model} may go to zero")


@dataclass(frozen=True)
class CooldownSettings:
    """What counts as too short."""

    tolerance_seconds: int = setting(
        20, "By how much the start-up budget may exceed the cooldown: probes that wait have a margin, seconds."
    )


def cooldown_covers_startup(resources: Sequence[Resource], settings: CooldownSettings) -> Findings:
    """The cooldown of what scales to zero is at least as long as its start-up."""
    doubts = Doubts()
    budgets: dict[tuple[str, str], float] = {}
    for resource in resources:
        with doubts:
            pod = engine_pod(resource)
            if pod is not None:
                probes = [mapping(container.get("startupProbe")) for _, container in pod.engines()]
                budgets[resource.namespace, resource.object_name] = max(map(probe_budget, probes), default=0)
    for resource in resources:
        with doubts:
            for scaler in scalers(resource):
                values = mapping(resource.at("values", "servingEngineSpec", "startupProbe"))
                budget = budgets.get((resource.namespace, scaler.target), probe_budget(values))
                cooldown = number(scaler.spec.get("cooldownPeriod"), 300)
                if scaler.scales_to_zero and cooldown + settings.tolerance_seconds < budget:
                    yield Finding(
                        f"{scaler.path}.cooldownPeriod: {cooldown:g} s is shorter than the {budget:g} s that "
                        f"{scaler.target} may take to start, so a replica that still loads is taken away",
                        resource.urn,
                    )
    doubts.settle()


def probe_budget(probe: Mapping[str, Any]) -> float:
    """Seconds that a start-up probe gives; Kubernetes' defaults where it says nothing, 0 without a probe."""
    if not probe:
        return 0
    # A command that waits takes up to its timeout, and the next run begins when it ends.
    each = max(number(probe.get("periodSeconds"), 10), number(probe.get("timeoutSeconds"), 1) if "exec" in probe else 0)
    return number(probe.get("initialDelaySeconds")) + each * number(probe.get("failureThreshold"), 3)


def explicit_behavior(resource: Resource, _: NoSettings) -> Findings:
    """Every HPA that we cause says how fast it scales, both ways."""
    found: list[tuple[str, Any]] = []
    if resource.in_kubernetes and resource.kind == "HorizontalPodAutoscaler":
        found.append(("spec.behavior", resource.at("spec", "behavior")))
    for scaler in scalers(resource):
        keys = ("advanced", "horizontalPodAutoscalerConfig", "behavior")
        found.append((f"{scaler.path}.{'.'.join(keys)}", at(scaler.spec, *keys)))
    for path, behavior in found:
        missing = [way for way in ("scaleUp", "scaleDown") if not mapping(mapping(behavior).get(way))]
        if missing:
            yield Finding(f"{path}: says nothing about {' and '.join(missing)}")


def _prometheus_queries(scaler: Scaler) -> Iterator[tuple[str, str]]:
    for index, trigger in enumerate(items(scaler.spec.get("triggers"))):
        if text(at(trigger, "type")) == "prometheus":
            yield f"{scaler.path}.triggers[{index}].metadata.query", text(at(trigger, "metadata", "query"))


def summed_queries(resource: Resource, _: NoSettings) -> Findings:
    """Queries that scale give one series, of one model."""
    for scaler in scalers(resource):
        for path, query in _prometheus_queries(scaler):
            if not AGGREGATED.match(query) or GROUPED.search(query):
                yield Finding(f"{path}: {query!r} can give several series, and KEDA takes one only")
            if ENGINE_METRIC.search(query) and not MODEL_SELECTOR.search(query):
                yield Finding(f"{path}: {query!r} does not say of which model: any model's queue would scale this one")


def wakes_from_zero(resource: Resource, _: NoSettings) -> Findings:
    """What goes to zero has a signal that exists there."""
    for scaler in scalers(resource):
        if not scaler.scales_to_zero:
            continue
        triggers = [mapping(item) for item in items(scaler.spec.get("triggers"))]
        wakes = [trigger for trigger in triggers if _exists_at_zero(trigger)]
        if not wakes:
            yield Finding(
                f"{scaler.path}.triggers: {scaler.model or scaler.target} goes to zero, and every trigger is measured "
                "on its own pods, of which there are none then: no request would wake it"
            )


def _exists_at_zero(trigger: Mapping[str, Any]) -> bool:
    kind = text(trigger.get("type"))
    if kind in {"cpu", "memory"}:
        return False
    return kind != "prometheus" or not ENGINE_METRIC.search(text(at(trigger, "metadata", "query")))


RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        name="scale-to-zero",
        description="In production a model that people wait for keeps a replica: a cold start takes minutes.",
        fix="set scaling.min_replicas of the model deployment to 1 or more",
        severity=Severity.HIGH,
        settings=ScaleToZeroSettings,
        resource=scale_to_zero,
    ),
    Rule(
        name="cooldown-covers-startup",
        description="What scales to zero has a cooldown not shorter than its start-up: KEDA would take away a replica "
        "that is still loading, and the model would never come up.",
        fix="raise scaling.cooldown_seconds to scaling.startup_budget_seconds or more",
        severity=Severity.HIGH,
        settings=CooldownSettings,
        stack=cooldown_covers_startup,
    ),
    Rule(
        name="explicit-hpa-behavior",
        description="Every autoscaler writes its behavior, up and down: without one the HPA acts on recommendations "
        "from before a scale to zero, and a model wakes to its old size.",
        fix="write behavior.scaleUp and behavior.scaleDown (scaling.scale_down_stabilization_seconds does)",
        severity=Severity.MEDIUM,
        settings=NoSettings,
        resource=explicit_behavior,
    ),
    Rule(
        name="summed-queries",
        description="A Prometheus query that scales is aggregated to one series and selects one model: KEDA fails on "
        "several series, and without the model's name every model's queue scales all of them.",
        fix='write it as sum(metric{model_name="..."}) without by or without',
        severity=Severity.HIGH,
        settings=NoSettings,
        resource=summed_queries,
    ),
    Rule(
        name="wakes-from-zero",
        description="What goes to zero has a trigger that exists while there is no pod: requests at the front, not the "
        "engine's own queue.",
        fix="add a trigger at the front (the KEDA HTTP add-on's, or a router's metric), or keep a replica",
        severity=Severity.HIGH,
        settings=NoSettings,
        resource=wakes_from_zero,
    ),
)
