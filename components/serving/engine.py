"""The engines of a model deployment: pods that run vLLM or another engine, as many as the autoscaler wants.

What it guards against:

- `spec.replicas` belongs to the autoscaler: written once, at `min_replicas`, so that a model that starts at zero does
  not load once for nothing, and ignored from then on. Pulumi leaves a field that another manager has written out of
  its server-side apply.
- A rollout must not need a spare GPU: one pod goes before its successor comes.
- A pod that is deleted serves on until everybody has heard of it, and then drains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pulumi
from pulumi_kubernetes.apps.v1 import (
    Deployment,
    DeploymentSpecArgs,
    DeploymentStrategyArgs,
    RollingUpdateDeploymentArgs,
)
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    ContainerPortArgs,
    EmptyDirVolumeSourceArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    ExecActionArgs,
    PersistentVolumeClaimVolumeSourceArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    ProbeArgs,
    SecretKeySelectorArgs,
    Service,
    ServiceAccount,
    ServicePortArgs,
    ServiceSpecArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import LabelSelectorArgs, ObjectMetaArgs
from pulumi_kubernetes.policy.v1 import PodDisruptionBudget, PodDisruptionBudgetSpecArgs

from components.base import Component
from components.images import pin_images
from components.labels import Workload
from components.pods import (
    POD_IP,
    SKIP_AWAIT,
    confined,
    engine_pod_security,
    http_probe,
    pod_ip,
    scraped,
    serve_on_after_deletion,
    service_account,
)
from components.scheduling import spread_over_nodes
from components.serving import sleep
from components.serving.base import ROLLOUTS, EngineArgs, ModelDeploymentArgs, ServingContext, SimulationArgs
from components.serving.engines import files as engine_files
from components.serving.engines import program_of
from components.serving.engines.base import POD_PORT, EngineProgram
from components.serving.engines.pod_parts import PodParts, own_port, parts_of, pod_files
from components.serving.engines.vllm import vllm_arguments
from components.serving.kv_offload import DISK_MOUNT, DISK_VOLUME
from components.serving.topologies import Workers
from components.serving.weights import MOUNT as WEIGHTS_MOUNT
from components.weights_files import OFFLINE_VARIABLES

PORT: Final = POD_PORT
SHARED_MEMORY_SIZE: Final = "20Gi"
"""For NCCL between the ranks of a pod; the vLLM Production Stack chart's default (`shmSize`)."""

SIMULATION_PREFIX: Final = "simulation.inference.platform/"

STARTUP_PROBE_RUNS: Final = 3
PROBE_PAUSE_SECONDS: Final = 0.3
"""Between two runs: the start of an interpreter, with some room."""

WAIT_UNTIL_HEALTHY: Final = (Path(__file__).parent / "wait_until_healthy.py").read_text(encoding="utf-8")

PROGRESS_MARGIN_SECONDS: Final = 120
"""On top of the start-up budget, until a rollout without progress is called failed."""


def engine_name(model: str) -> str:
    """Name of a model deployment's engine objects."""
    return f"{model}-{Workload.ENGINE}"


def engine_arguments(args: EngineArgs, served_name: str, drain_seconds: int, *, sleeps: bool = False) -> list[str]:
    """The engine's command line; of one that sleeps, on its socket."""
    if sleeps:
        return vllm_arguments(args, served_name, drain_seconds, sleep.engine_flags())
    program = program_of(args)
    return program.arguments(served_name, POD_IP, own_port(program), drain_seconds)


def startup_probe(budget_seconds: int, program: EngineProgram | None = None) -> ProbeArgs:
    """A probe that waits: it ends within 50 ms of the engine's first 200.

    The kubelet then asks the readiness probe at once. A probe that asks and returns would be half a second late on
    average, since the kubelet asks at most once a second.

    The budget is divided between a few runs: a run that fails for a reason of its own (the runtime is busy) costs its
    share and not the pod. The kubelet starts a run on whole seconds after the first: each ends shortly before one, so
    that the next follows at once. A run that ended on the second would leave the engine unwatched for another.

    Of an image that may have no Python the kubelet asks itself, once a second.
    """
    if program is not None and not program.has_python:
        return http_probe(program.health_path, own_port(program), period=1, failures=budget_seconds)
    return ProbeArgs(
        exec_=ExecActionArgs(command=waiting_command(budget_seconds)),
        period_seconds=1,
        timeout_seconds=waiting_timeout(budget_seconds),
        failure_threshold=STARTUP_PROBE_RUNS,
    )


def waiting_command(budget_seconds: int) -> list[str]:
    """What one run of the start-up probe executes."""
    seconds = f"{_run_seconds(budget_seconds) - PROBE_PAUSE_SECONDS:g}"
    return ["python3", "-IS", "-c", WAIT_UNTIL_HEALTHY, str(PORT), seconds]


def waiting_timeout(budget_seconds: int) -> int:
    """Seconds after which the kubelet ends a run; it ends by itself before, or says nothing in the events."""
    return _run_seconds(budget_seconds) + 5


def _run_seconds(budget_seconds: int) -> int:
    return math.ceil(budget_seconds / STARTUP_PROBE_RUNS)


def simulation_annotations(simulation: SimulationArgs | None) -> dict[str, str]:
    """What the node agent of the local cloud hands to a simulated engine; empty elsewhere."""
    if simulation is None:
        return {}
    told = {
        "startup-seconds": f"{simulation.startup_seconds:g}",
        "speedup": f"{simulation.speedup:g}",
        "gpu": simulation.gpu,
    }
    if simulation.gpu_share != 1:
        told["gpu-share"] = f"{simulation.gpu_share:.6g}"
    if simulation.memory_gib is not None:
        told["gpu-memory-gib"] = f"{simulation.memory_gib:.6g}"
    return {f"{SIMULATION_PREFIX}{name}": value for name, value in told.items()}


def rollout_strategy(rollout: str) -> DeploymentStrategyArgs:
    """The Deployment's strategy; rolling ones with their numbers."""
    chosen = ROLLOUTS[rollout]
    numbers = chosen.get("rollingUpdate")
    rolling = None
    if numbers is not None:
        surge, unavailable = numbers["maxSurge"], numbers["maxUnavailable"]
        rolling = RollingUpdateDeploymentArgs(max_surge=surge, max_unavailable=unavailable)
    return DeploymentStrategyArgs(type=chosen["type"], rolling_update=rolling)


def engine_deployment(context: ServingContext, args: ModelDeploymentArgs, workers: Workers) -> DeploymentSpecArgs:
    """The spec of a Deployment of these workers."""
    labels = context.labels
    selector = labels.selector(Workload.ENGINE, args.name, workers.role)
    program = program_of(args.engine)
    parts = parts_of(program, args)
    return DeploymentSpecArgs(
        replicas=workers.scaling.min_replicas,
        selector=LabelSelectorArgs(match_labels=selector),
        strategy=rollout_strategy(args.rollout),
        progress_deadline_seconds=args.timing.startup_budget_seconds + PROGRESS_MARGIN_SECONDS,
        revision_history_limit=2,
        template=PodTemplateSpecArgs(
            metadata=ObjectMetaArgs(
                labels=labels.of(Workload.ENGINE, args.name, workers.role),
                annotations={
                    **(scraped(PORT, program.metrics_path) if program.metrics_path else {}),
                    **context.weights_annotations,
                    **simulation_annotations(args.simulation),
                    **parts.annotations,
                },
            ),
            spec=pin_images(
                PodSpecArgs(
                    service_account_name=engine_name(args.name),
                    automount_service_account_token=False,
                    # Engines read variables of their own, and a Service whose name starts with vllm would set some.
                    enable_service_links=False,
                    security_context=engine_pod_security(as_root=context.engines_as_root),
                    node_selector=args.placement.node_selector,
                    tolerations=args.placement.tolerations(),
                    priority_class_name=args.priority_class or None,
                    topology_spread_constraints=[spread_over_nodes(selector)],
                    termination_grace_period_seconds=args.timing.grace_period_seconds,
                    init_containers=list(parts.sidecars) or None,
                    containers=[_container(context, args, program, parts, workers)],
                    volumes=[*_volumes(context, args.engine), *parts.volumes],
                ),
                context.image_digests,
            ),
        ),
    )


def _container(
    context: ServingContext, args: ModelDeploymentArgs, program: EngineProgram, parts: PodParts, workers: Workers
) -> ContainerArgs:
    engine = args.engine
    words = engine_arguments(engine, args.name, args.timing.drain_seconds, sleeps=args.sleep is not None)
    return ContainerArgs(
        name="engine",
        image=program.image,
        command=list(program.command) or None,
        args=[*words, *workers.arguments],
        env=[*_environment(context, engine, program), *_worker_variables(workers), *parts.variables],
        # Where a sidecar has the port, the probes below ask it all the same.
        ports=None if parts.sidecars else [ContainerPortArgs(name="http", container_port=PORT)],
        resources=args.placement.resources.as_requirements(),
        # It compiles kernels into its user's home: the root file system is not read-only.
        security_context=confined(),
        startup_probe=startup_probe(args.timing.startup_budget_seconds, program),
        readiness_probe=http_probe("/health", PORT, period=5),
        liveness_probe=http_probe("/health", PORT, period=10),
        lifecycle=serve_on_after_deletion(),
        volume_mounts=[
            VolumeMountArgs(name="weights", mount_path=WEIGHTS_MOUNT),
            *([VolumeMountArgs(name=DISK_VOLUME, mount_path=DISK_MOUNT)] if disk_size(engine) else []),
            *([VolumeMountArgs(name="shm", mount_path="/dev/shm")] if engine.tensor_parallel > 1 else []),  # noqa: S108
            *parts.mounts,
        ],
    )


def _worker_variables(workers: Workers) -> list[EnvVarArgs]:
    return [EnvVarArgs(name=name, value=value) for name, value in workers.variables.items()]


def _environment(context: ServingContext, engine: EngineArgs, program: EngineProgram) -> list[EnvVarArgs]:
    variables = [
        pod_ip(),
        EnvVarArgs(name="HF_HOME", value=WEIGHTS_MOUNT),
        *(EnvVarArgs(name=name, value=value) for name, value in program.variables().items()),
    ]
    if context.offline:
        # The weights are there: an engine that asks the hub anew would start slower, or not at all when it is down.
        variables += [EnvVarArgs(name=name, value=value) for name, value in OFFLINE_VARIABLES.items()]
    token = engine.hugging_face_token
    if token is not None:
        reference = SecretKeySelectorArgs(name=token.secret, key=token.key)
        variables.append(EnvVarArgs(name="HF_TOKEN", value_from=EnvVarSourceArgs(secret_key_ref=reference)))
    return variables


def disk_size(engine: EngineArgs) -> str:
    """Of the volume for keys and values; "" if there is none."""
    return engine.kv_offload.disk_size if engine.kv_offload else ""


def _volumes(context: ServingContext, engine: EngineArgs) -> list[VolumeArgs]:
    if context.weights_claim:
        claim = PersistentVolumeClaimVolumeSourceArgs(claim_name=context.weights_claim)
        volumes = [VolumeArgs(name="weights", persistent_volume_claim=claim)]
    else:
        # An emptyDir outlives the container: an engine that crashes does not download its weights again.
        volumes = [VolumeArgs(name="weights", empty_dir=EmptyDirVolumeSourceArgs())]
    if size := disk_size(engine):
        volumes.append(VolumeArgs(name=DISK_VOLUME, empty_dir=EmptyDirVolumeSourceArgs(size_limit=size)))
    if engine.tensor_parallel > 1:
        memory = EmptyDirVolumeSourceArgs(medium="Memory", size_limit=SHARED_MEMORY_SIZE)
        volumes.append(VolumeArgs(name="shm", empty_dir=memory))
    return volumes


def create_engines(
    parent: Component, name: str, context: ServingContext, args: ModelDeploymentArgs
) -> dict[str, Deployment]:
    """Make the Deployments and what belongs to them.

    Args:
        parent: the model deployment's component.
        name: its logical name.
        context: where.
        args: what is served.

    Returns:
        Deployments by the kind of their workers.
    """
    before: list[pulumi.Resource] = [create_account(parent, name, context, args.name)]
    if context.preload:
        from components.serving.weights_download import create_download

        before.append(create_download(parent, name, context, args))
    if args.sleep:
        before.append(sleep.create_script(parent, name, context, args.name))
    elif texts := pod_files(program_of(args.engine), args.name):
        before.append(engine_files.create(parent, name, context, args.name, texts))
    return {workers.kind: _create_workers(parent, name, context, args, workers, before) for workers in args.workers}


def _create_workers(  # noqa: PLR0917 - what create_engines has at hand
    parent: Component,
    name: str,
    context: ServingContext,
    args: ModelDeploymentArgs,
    workers: Workers,
    before: list[pulumi.Resource],
) -> Deployment:
    selector = context.labels.selector(Workload.ENGINE, args.name, workers.role)
    unwatched = engine_metadata(context, args.name, {**SKIP_AWAIT}, workers)
    deployment = Deployment(
        f"{name}-{workers.kind}",
        metadata=unwatched,
        spec=engine_deployment(context, args, workers),
        opts=parent.child(*before, ignore_changes=["spec.replicas"]),
    )
    # Requests come from the router, pod by pod: this Service is for people and dashboards.
    Service(
        f"{name}-{workers.kind}",
        metadata=unwatched,
        spec=ServiceSpecArgs(selector=selector, ports=[ServicePortArgs(name="http", port=PORT, target_port="http")]),
        opts=parent.child(),
    )
    create_disruption_budget(parent, name, context, args.name, workers)
    return deployment


def engine_metadata(
    context: ServingContext,
    model: str,
    annotations: Mapping[str, str] | None = None,
    workers: Workers | None = None,
) -> ObjectMetaArgs:
    """Name and labels of a model's engine objects, or of those of one kind of workers."""
    return ObjectMetaArgs(
        name=engine_name(model) if workers is None else workers.name(model),
        namespace=context.labels.namespace,
        labels=context.labels.of(Workload.ENGINE, model, "" if workers is None else workers.role),
        annotations=annotations,
    )


def create_account(parent: Component, name: str, context: ServingContext, model: str) -> ServiceAccount:
    """The engines' ServiceAccount, without a token."""
    return service_account(parent, f"{name}-engine", engine_metadata(context, model), context.image_pull_secrets)


def create_disruption_budget(
    parent: Component, name: str, context: ServingContext, model: str, workers: Workers
) -> PodDisruptionBudget:
    """One engine of a kind may be taken away at a time."""
    selector = context.labels.selector(Workload.ENGINE, model, workers.role)
    return PodDisruptionBudget(
        f"{name}-{workers.kind}",
        metadata=engine_metadata(context, model, workers=workers),
        spec=PodDisruptionBudgetSpecArgs(
            max_unavailable=1,
            # A pod that is still loading must not hold up the draining of its node.
            unhealthy_pod_eviction_policy="AlwaysAllow",
            selector=LabelSelectorArgs(match_labels=selector),
        ),
        opts=parent.child(),
    )
