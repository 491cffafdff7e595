"""What scales one model deployment: a route that counts its requests, and a ScaledObject that acts on the count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.autoscaling.args import ScalingArgs
from components.autoscaling.objects import (
    HTTP_ADD_ON_API,
    KEDA_API,
    Behavior,
    InterceptorRouteSpec,
    ScaledObjectSpec,
    ScalingRules,
    external_push,
    prometheus,
)
from components.base import Component
from components.cluster import ClusterHandle
from components.labels import MODEL_HEADER, EnvironmentLabels, Workload

PAUSED: Final = "autoscaling.keda.sh/paused-replicas"
"""KEDA holds the target at so many replicas for as long as this annotation is there."""

READY_TIMEOUT: Final = "2m"
"""KEDA answers within a second; a ScaledObject that it does not accept fails the update with KEDA's message."""


@dataclass(frozen=True, kw_only=True)
class ModelScalingArgs:
    """What is scaled, by what.

    Attributes:
        model: name of the model deployment.
        scaling: bounds and thresholds.
        labels: of the environment.
        cluster: where KEDA and Prometheus are.
        gateway_host: Host header that the gateway gives to requests.
        deployment: name of the engine Deployment.
        service: Service that gets the requests.
        port: its port.
        response_header_seconds: longest wait for its answer.
        initial_cooldown_seconds: how long a replica stays that is there before any request; None: the cooldown.
        role: of the workers that are scaled, where a model has several kinds; "": all of them.
        waiting_query: PromQL of the requests that wait in its engines, one series; "": vLLM's.
    """

    model: str
    scaling: ScalingArgs
    labels: EnvironmentLabels
    cluster: ClusterHandle
    gateway_host: str
    deployment: str
    service: str
    port: int
    response_header_seconds: int
    initial_cooldown_seconds: int | None = None
    role: str = ""
    waiting_query: str = ""

    @property
    def name(self) -> str:
        """Of the ScaledObject."""
        return f"{self.model}-{self.role}" if self.role else self.model


def waiting_requests_query(namespace: str, model: str, deployment: str = "") -> str:
    """Waiting requests of one model over all its engines, as one series that is there at zero engines too.

    Without `sum` KEDA fails at the second engine ("returned multiple elements"); without the model's name any model's
    queue scales all; without the namespace another environment's does.

    Args:
        namespace: of the environment.
        model: name of the model deployment.
        deployment: of whose pods only; "": all of the model's.
    """
    pods = f',pod=~"{deployment}-.+"' if deployment else ""
    return f'sum(vllm:num_requests_waiting{{namespace="{namespace}",model_name="{model}"{pods}}}) or vector(0)'


def behavior(stabilization_seconds: int) -> Behavior:
    """Kubernetes' defaults, written out: up at once by 4 pods or to double in 15 s, down after the window at will."""
    return Behavior(
        scale_up=ScalingRules(stabilization_seconds=0, pods=4, percent=100, period_seconds=15),
        scale_down=ScalingRules(stabilization_seconds=stabilization_seconds, percent=100, period_seconds=15),
    )


def interceptor_route(args: ModelScalingArgs) -> InterceptorRouteSpec:
    """The route to the model's router."""
    return InterceptorRouteSpec(
        host=args.gateway_host,
        headers={MODEL_HEADER: args.model},
        service=args.service,
        port=args.port,
        concurrency=args.scaling.concurrency,
        response_header_seconds=args.response_header_seconds,
    )


def scaled_object(args: ModelScalingArgs) -> ScaledObjectSpec:
    """Two triggers: demand at the front, which also wakes, and the engines' own queue."""
    scaling = args.scaling
    return ScaledObjectSpec(
        deployment=args.deployment,
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        polling_interval_seconds=scaling.polling_interval_seconds,
        cooldown_seconds=scaling.cooldown_seconds,
        initial_cooldown_seconds=(
            scaling.cooldown_seconds if args.initial_cooldown_seconds is None else args.initial_cooldown_seconds
        ),
        behavior=behavior(scaling.scale_down_stabilization_seconds),
        triggers=(
            external_push("requests-in-flight", args.cluster.external_scaler.address, args.model),
            prometheus(
                "queue-depth",
                args.cluster.prometheus_address,
                args.waiting_query
                or waiting_requests_query(args.labels.namespace, args.model, args.deployment if args.role else ""),
                scaling.queue_depth,
            ),
        ),
    )


def create_route(parent: Component, name: str, args: ModelScalingArgs) -> CustomResource:
    """Make the route: one for each model, however many kinds of workers it has."""
    return CustomResource(
        f"{name}-route",
        api_version=HTTP_ADD_ON_API,
        kind="InterceptorRoute",
        metadata=ObjectMetaArgs(
            name=args.model,
            namespace=args.labels.namespace,
            labels=args.labels.of(Workload.ENGINE, args.model),
        ),
        spec=interceptor_route(args).render(),
        opts=parent.child(*args.cluster.autoscaling),
    )


def create_scaled_object(
    parent: Component, name: str, args: ModelScalingArgs, route: pulumi.Resource, deployment: pulumi.Resource
) -> CustomResource:
    """Make the ScaledObject.

    Args:
        parent: the component that serves the model.
        name: its logical name.
        args: what is wanted.
        route: of the model.
        deployment: the engine Deployment. The ScaledObject goes before it and before KEDA: its finalizer needs both.
    """
    return CustomResource(
        f"{name}-scaling",
        api_version=KEDA_API,
        kind="ScaledObject",
        metadata=ObjectMetaArgs(
            name=args.name,
            namespace=args.labels.namespace,
            labels=args.labels.of(Workload.ENGINE, args.model, args.role),
            annotations={
                "pulumi.com/waitFor": "condition=Ready",
                **({PAUSED: "0"} if args.scaling.paused else {}),
            },
        ),
        spec=scaled_object(args).render(),
        # The scaler reads the route when KEDA asks it for the metric: the route comes first.
        opts=parent.child(*args.cluster.autoscaling, deployment, route, timeout=READY_TIMEOUT),
    )


def create_model_scaling(
    parent: Component, name: str, groups: Sequence[tuple[str, ModelScalingArgs, pulumi.Resource]]
) -> None:
    """Make the route and a ScaledObject for each kind of workers.

    Args:
        parent: the component that serves the model.
        name: its logical name.
        groups: of each kind of workers the logical name, what is wanted, and the engine Deployment.
    """
    route = create_route(parent, name, groups[0][1])
    for logical, args, deployment in groups:
        create_scaled_object(parent, logical, args, route, deployment)
