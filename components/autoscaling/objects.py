"""KEDA's custom resources as types: what we set, under our control, and rendered in one place.

Sources: kedacore/keda v2.21 apis/keda/v1alpha1, kedacore/http-add-on v0.15 operator/apis/http/v1beta1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

KEDA_API: Final = "keda.sh/v1alpha1"
HTTP_ADD_ON_API: Final = "http.keda.sh/v1beta1"


@dataclass(frozen=True, kw_only=True)
class ScalingRules:
    """One direction of an HPA's behavior.

    Attributes:
        stabilization_seconds: how long the best value of the past is held on to.
        pods: most pods per period; None: no such policy.
        percent: most percent per period.
        period_seconds: the period.
    """

    stabilization_seconds: int
    percent: int
    period_seconds: int
    pods: int | None = None

    def render(self) -> dict[str, Any]:
        """As `autoscaling/v2` HPAScalingRules; of several policies the one that allows most decides."""
        policies = [{"type": "Percent", "value": self.percent, "periodSeconds": self.period_seconds}]
        if self.pods is not None:
            policies.insert(0, {"type": "Pods", "value": self.pods, "periodSeconds": self.period_seconds})
        return {
            "stabilizationWindowSeconds": self.stabilization_seconds,
            "selectPolicy": "Max",
            "policies": policies,
        }


@dataclass(frozen=True, kw_only=True)
class Behavior:
    """An HPA's behavior, always written.

    Without one the HPA holds on to recommendations from before a scale to zero, and a model wakes to its old size
    (measured: 1 wanted, 4 made, for four minutes).
    """

    scale_up: ScalingRules
    scale_down: ScalingRules

    def render(self) -> dict[str, Any]:
        """As `autoscaling/v2` HorizontalPodAutoscalerBehavior."""
        return {"scaleUp": self.scale_up.render(), "scaleDown": self.scale_down.render()}


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """One trigger of a ScaledObject.

    Attributes:
        name: for events and metrics.
        type: the scaler.
        metadata: its settings; KEDA takes texts only.
    """

    name: str
    type: str
    metadata: Mapping[str, str]

    def render(self) -> dict[str, Any]:
        """As KEDA's ScaleTriggers.

        AverageValue is demand over target, whatever the number of replicas; `Value` would double the replicas with
        every sync for as long as new ones load.
        """
        return {
            "type": self.type,
            "name": self.name,
            "metricType": "AverageValue",
            "metadata": dict(self.metadata),
        }


def external_push(name: str, scaler_address: str, interceptor_route: str) -> Trigger:
    """Requests in flight at the interceptor: exists at zero replicas and is pushed, so the very first request wakes."""
    return Trigger(
        name=name,
        type="external-push",
        metadata={"scalerAddress": scaler_address, "interceptorRoute": interceptor_route},
    )


def prometheus(name: str, server_address: str, query: str, threshold: int) -> Trigger:
    """The value of a query, which must give exactly one series."""
    return Trigger(
        name=name,
        type="prometheus",
        metadata={"serverAddress": server_address, "query": query, "threshold": str(threshold)},
    )


@dataclass(frozen=True, kw_only=True)
class ScaledObjectSpec:
    """What KEDA scales, between which bounds, by what.

    There is no idleReplicaCount: with min_replicas 0 it says nothing, and with more KEDA's webhook refuses it.
    """

    deployment: str
    min_replicas: int
    max_replicas: int
    polling_interval_seconds: int
    cooldown_seconds: int
    initial_cooldown_seconds: int
    behavior: Behavior
    triggers: tuple[Trigger, ...]

    def render(self) -> dict[str, Any]:
        """As KEDA's ScaledObjectSpec."""
        return {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": self.deployment},
            "minReplicaCount": self.min_replicas,
            "maxReplicaCount": self.max_replicas,
            "pollingInterval": self.polling_interval_seconds,
            "cooldownPeriod": self.cooldown_seconds,
            # For a replica that somebody else asked for, before any trigger was ever active.
            "initialCooldownPeriod": self.initial_cooldown_seconds,
            # No value that is its default (restoreToOriginalReplicaCount: false): KEDA writes the object back
            # without it, and every later preview would propose to put it there again.
            "advanced": {
                "horizontalPodAutoscalerConfig": {"behavior": self.behavior.render()},
            },
            "triggers": [trigger.render() for trigger in self.triggers],
        }


@dataclass(frozen=True, kw_only=True)
class InterceptorRouteSpec:
    """Which requests the interceptor sends where, and what it counts.

    Attributes:
        host: Host header of the requests, of one environment only.
        headers: all must match.
        service: target Service in the same namespace.
        port: of the target Service.
        concurrency: requests in flight per replica.
        response_header_seconds: longest wait for the target's answer.
    """

    host: str
    headers: Mapping[str, str]
    service: str
    port: int
    concurrency: int
    response_header_seconds: int

    def render(self) -> dict[str, Any]:
        """As the add-on's InterceptorRouteSpec."""
        return {
            "target": {"service": self.service, "port": self.port},
            "rules": [
                {
                    "hosts": [self.host],
                    "headers": [{"name": name, "value": value} for name, value in self.headers.items()],
                }
            ],
            "scalingMetric": {"concurrency": {"targetValue": self.concurrency}},
            "timeouts": {
                # No deadline of its own: one that fires ends the activity, and KEDA takes the loading pod away.
                "readiness": "0s",
                "request": "0s",
                "responseHeader": f"{self.response_header_seconds}s",
            },
        }
