"""The router of a model deployment: spreads requests over its engines, and holds them while there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    ContainerPortArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    Service,
    ServicePortArgs,
    ServiceSpecArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.rbac.v1 import PolicyRuleArgs, Role, RoleBinding, RoleRefArgs, SubjectArgs

from components.base import Component
from components.images import pin_images
from components.labels import EnvironmentLabels, Workload
from components.pods import (
    NOBODY,
    POD_IP,
    SKIP_AWAIT,
    confined,
    http_probe,
    pod_ip,
    scraped,
    serve_on_after_deletion,
    service_account,
)
from components.scheduling import on_system_nodes
from components.serving import engine
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.timing import GENERATION_SECONDS, RequestTiming
from components.versions import VLLM_ROUTER

PORT: Final = 8000
METRICS_PORT: Final = 29000

ADD_WORKER_SECONDS: Final = 10
"""How long the router tries to reach a pod that has just become ready. While it tries it looks at no other pod, so a
pod that dies in this moment must not cost the default 600 s."""

HEALTH_INTERVAL_SECONDS: Final = 2
"""The router's own health checks: three failures take a worker out, two successes bring it back. The default 60 s
would leave an engine that has restarted idle for two minutes."""

CIRCUIT_FAILURES: Final = 3
CIRCUIT_OPEN_SECONDS: Final = 2
CIRCUIT_WINDOW_SECONDS: Final = 10
"""A worker that fails three times in ten seconds is left alone for two, then tried again. Cache-aware routing would
otherwise send a retry to the same dead worker; the default 60 s would keep requests from one that is back."""


def router_name(model: str) -> str:
    """Name of a model deployment's router objects."""
    return f"{model}-{Workload.ROUTER}"


def service_of(context: ServingContext, model: str) -> str:
    """Name of the Service that gets a model's requests."""
    return context.shared_router or router_name(model)


def router_arguments(
    labels: EnvironmentLabels, policy: str, timing: RequestTiming, discovery: Sequence[str]
) -> list[str]:
    """The arguments of `vllm-router`, each known to its Rust and to its Python command line.

    The router answers 503 when it has no worker, retries its own 503 as it does an engine's, and so holds requests
    while a model starts. The price: an engine's 500 is retried as well, for as long.

    Args:
        labels: of the environment.
        policy: how it picks a worker.
        timing: of the slowest model behind it.
        discovery: by which it finds the workers.
    """
    plan = timing.retries
    return [
        *("--host", POD_IP, "--port", str(PORT)),
        *("--policy", policy),
        *discovery,
        *("--service-discovery-port", str(engine.PORT)),
        *("--service-discovery-namespace", labels.namespace),
        *("--prometheus-host", POD_IP, "--prometheus-port", str(METRICS_PORT)),
        *("--request-timeout-secs", str(GENERATION_SECONDS)),
        *("--retry-max-retries", str(plan.max_retries)),
        *("--retry-initial-backoff-ms", str(plan.initial_backoff_ms)),
        *("--retry-max-backoff-ms", str(plan.max_backoff_ms)),
        *("--retry-backoff-multiplier", f"{plan.multiplier:g}"),
        *("--retry-jitter-factor", f"{plan.jitter:g}"),
        *("--worker-startup-timeout-secs", str(ADD_WORKER_SECONDS)),
        *("--worker-startup-check-interval", "1"),
        *("--health-check-interval-secs", str(HEALTH_INTERVAL_SECONDS)),
        *("--cb-failure-threshold", str(CIRCUIT_FAILURES), "--cb-success-threshold", "1"),
        *("--cb-timeout-duration-secs", str(CIRCUIT_OPEN_SECONDS)),
        *("--cb-window-duration-secs", str(CIRCUIT_WINDOW_SECONDS)),
    ]


@dataclass(frozen=True, kw_only=True)
class RouterArgs:
    """A router.

    Attributes:
        name: of its objects.
        labels: of its objects.
        selector: of its pods.
        policy: how it picks a worker.
        timing: of the slowest model behind it.
        discovery: arguments by which it finds the workers.
        holds_requests: it repeats a request until a worker is there. If not, it is ready only while it has workers, and
            whoever sends it requests must wait for that.
    """

    name: str
    labels: Mapping[str, str]
    selector: Mapping[str, str]
    policy: str
    timing: RequestTiming
    discovery: Sequence[str]
    holds_requests: bool = True


def router_of(context: ServingContext, args: ModelDeploymentArgs) -> RouterArgs:
    """The router of one model deployment."""
    return RouterArgs(
        name=router_name(args.name),
        labels=context.labels.of(Workload.ROUTER, args.name),
        selector=context.labels.selector(Workload.ROUTER, args.name),
        policy=args.router_policy,
        timing=args.timing,
        discovery=args.topology.discovery(context.labels, args.name),
        holds_requests=args.topology.holds_requests,
    )


def readiness(args: RouterArgs) -> ProbeArgs:
    """A router that holds is ready without workers: it has work to do. One that does not is ready with them only."""
    if args.holds_requests:
        return http_probe("/liveness", PORT, period=5)
    return http_probe("/readiness", PORT, period=1, failures=1)


def router_deployment(context: ServingContext, args: RouterArgs) -> DeploymentSpecArgs:
    """The Deployment's spec."""
    placement = on_system_nodes(cpu="100m", memory="1Gi", selector=context.cluster.system_nodes)
    return DeploymentSpecArgs(
        # One: what it knows of its workers' load and prefixes is its own, and two would undo each other's choices.
        # So it has no PodDisruptionBudget: one that protects a single pod would hold up the draining of its node for
        # ever. While a drained router starts elsewhere, the gateway tries its requests again.
        replicas=1,
        selector=LabelSelectorArgs(match_labels=args.selector),
        strategy=DeploymentStrategyArgs(
            type="RollingUpdate",
            rolling_update=RollingUpdateDeploymentArgs(max_surge=1, max_unavailable=0),
        ),
        revision_history_limit=2,
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(labels=args.labels, annotations=scraped(METRICS_PORT)),
            spec=pin_images(
                PodSpecArgs(
                    service_account_name=args.name,
                    automount_service_account_token=True,
                    enable_service_links=False,
                    node_selector=placement.node_selector,
                    termination_grace_period_seconds=args.timing.grace_period_seconds,
                    containers=[
                        ContainerArgs(
                            name="router",
                            image=VLLM_ROUTER,
                            # The image has a command but no entry point: arguments alone would replace the program.
                            command=["vllm-router"],
                            args=router_arguments(context.labels, args.policy, args.timing, args.discovery),
                            env=[pod_ip()],
                            ports=[
                                ContainerPortArgs(name="http", container_port=PORT),
                                ContainerPortArgs(name="metrics", container_port=METRICS_PORT),
                            ],
                            resources=placement.resources.as_requirements(),
                            security_context=confined(NOBODY),
                            startup_probe=http_probe("/liveness", PORT, period=1, failures=60),
                            readiness_probe=readiness(args),
                            liveness_probe=http_probe("/liveness", PORT, period=10),
                            lifecycle=serve_on_after_deletion(),
                        )
                    ],
                ),
                context.image_digests,
            ),
        ),
    )


def create_router(parent: Component, name: str, context: ServingContext, args: ModelDeploymentArgs) -> Service:
    """Make the router of one model deployment and what belongs to it; see `create_router_objects`."""
    return create_router_objects(parent, f"{name}-router", context, router_of(context, args))


def create_router_objects(parent: Component, logical: str, context: ServingContext, args: RouterArgs) -> Service:
    """Make a router and what belongs to it.

    Args:
        parent: the component it is part of.
        logical: Pulumi's name of its objects.
        context: where.
        args: what it is.

    Returns:
        The Service that gets the requests.
    """
    namespace = context.labels.namespace

    def metadata(annotations: Mapping[str, str] | None = None) -> ObjectMetaArgs:
        return ObjectMetaArgs(name=args.name, namespace=namespace, labels=args.labels, annotations=annotations)

    account = service_account(parent, logical, metadata(), context.image_pull_secrets)
    role = Role(
        logical,
        metadata=metadata(),
        rules=[PolicyRuleArgs(api_groups=[""], resources=["pods"], verbs=["get", "list", "watch"])],
        opts=parent.child(),
    )
    binding = RoleBinding(
        logical,
        metadata=metadata(),
        role_ref=RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name=args.name),
        subjects=[SubjectArgs(kind="ServiceAccount", name=args.name, namespace=namespace)],
        opts=parent.child(role, account),
    )
    Deployment(
        logical,
        # One that is ready with workers only is not waited for: engines may take longer than any sensible timeout.
        metadata=metadata(None if args.holds_requests else SKIP_AWAIT),
        spec=router_deployment(context, args),
        # Its discovery gives up for a while when the API server refuses it.
        opts=parent.child(binding),
    )
    return Service(
        logical,
        # The Deployment is waited for; waiting for its endpoints would be the same again.
        metadata=metadata({**SKIP_AWAIT}),
        spec=ServiceSpecArgs(
            selector=args.selector,
            ports=[ServicePortArgs(name="http", port=PORT, target_port="http")],
        ),
        opts=parent.child(),
    )
