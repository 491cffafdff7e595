"""From a checked configuration to components, in order, each given only what it needs.

cluster -> node pools -> what the cluster does not bring -> namespace -> rules and dashboards -> gateway and serving
(with its scaling)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pulumi

from components.autoscaling.args import ScalingArgs
from components.clouds import load_cloud
from components.cluster import Capability, ClusterHandle, WeightsVolume
from components.gateway.gateway import Gateway
from components.labels import EnvironmentLabels
from components.observability.delivery import Monitoring, MonitoringArgs
from components.observability.objects import EnvironmentFacts
from components.scheduling import GpuPool
from components.serving import load_serving_stack
from components.serving.base import EngineArgs, ModelDeploymentArgs, SecretKey, ServingContext, SimulationArgs
from components.serving.engines import program_of
from components.serving.image_prepull import ImagePrePull, ImagePrePullArgs
from components.serving.lora import LoraAdapter as AdapterArgs
from components.serving.lora import LoraArgs
from components.serving.shared_router import SharedRouter
from components.serving.topologies import Aggregated, Disaggregated, Topology
from components.serving.weights import WeightsClaim
from planner.catalog import instances
from stacks.cluster import cluster_args, create_cluster
from stacks.config import Engine, EnvironmentConfig, MigSharing, ModelDeployment, NodePool, Simulation
from stacks.config.placement import engine_limits, lora_slots, memory_gib, shares_per_gpu, static_memory_share
from stacks.config.pod_security import PodSecurity, pod_security
from stacks.config.vocabulary import RouterKind
from stacks.config.warnings import warnings
from stacks.engines import further_engine_args, sleep_args
from stacks.isolation import (
    create_gateway,
    create_namespace,
    create_secrets,
    create_tenancy,
    grafana_admin,
)
from stacks.layers import install_missing
from stacks.monitoring import environment_facts
from stacks.node_pools import NodePools, create_node_pools
from stacks.plan import plan_config
from stacks.secret_values import SecretValues


@dataclass(frozen=True)
class EnvironmentOutputs:
    """What the stack exports.

    Attributes:
        url: of the gateway; the OpenAI API is below /v1 of it.
        models: names that clients may ask for.
        namespace: of the workloads.
        kubeconfig: what gives access to the cluster: a file's path on the local cloud, else the contents, a secret.
        plan: what the environment needs, costs and will do, as `python -m stacks plan --json` prints it.
    """

    url: pulumi.Output[str]
    models: tuple[str, ...]
    namespace: str
    kubeconfig: pulumi.Input[str]
    plan: dict[str, Any]

    def export(self) -> None:
        """Make them the stack's outputs."""
        pulumi.export("url", self.url)
        pulumi.export("models", list(self.models))
        pulumi.export("namespace", self.namespace)
        pulumi.export("kubeconfig", self.kubeconfig)
        pulumi.export("plan", self.plan)


def build_environment(
    config: EnvironmentConfig, environment: str, secrets: SecretValues | None = None
) -> EnvironmentOutputs:
    """Register everything that the environment consists of, in one go.

    The program does the same in steps, which its `main` takes while the engine is busy with what it has.

    Args:
        config: from `load_environment`, which has checked it.
        environment: its name, which is the stack's.
        secrets: values of its Secrets, from `secret_values`.

    Raises:
        ClusterUnreachableError: the cloud's cluster should be there and is not.
        CloudSdkMissingError: the cloud's SDK is not installed.
    """
    cluster = create_cluster(config, environment)
    return build_on(cluster, create_node_pools(config, environment, cluster), config, environment, secrets or {})


def build_on(
    cluster: ClusterHandle, node_pools: NodePools, config: EnvironmentConfig, environment: str, secrets: SecretValues
) -> EnvironmentOutputs:
    """Register what stands on the node pools: the rest of the environment.

    Args:
        cluster: from `create_cluster`.
        node_pools: from `create_node_pools`.
        config: checked.
        environment: its name, which is the stack's.
        secrets: values of its Secrets, from `secret_values`.
    """
    plan = plan_config(config, environment)
    for line in plan.lines():
        pulumi.info(line)
    for warning in warnings(config):
        pulumi.warn(warning.line())
    labels = EnvironmentLabels(environment)
    pools, nodes = node_pools.pools, node_pools.nodes
    tls = config.gateway.tls
    certificates = tls is not None and tls.issuer is not None
    cluster = install_missing(
        environment,
        cluster,
        nodes,
        tuple(pools.values()),
        certificates=certificates,
        grafana_admin=grafana_admin(config, secrets or {}),
    )
    namespace = create_namespace(config, labels, cluster, (*nodes, *cluster.installed))
    made = create_secrets(config, secrets or {}, labels, cluster, namespace)
    by_name = {pool.name: pool for pool in config.node_pools}
    deployments = [
        model_deployment_args(
            deployment, by_name[deployment.node_pool], pools, simulated=cluster.simulated, paused=config.paused
        )
        for deployment in config.model_deployments
    ]
    create_monitoring(environment_facts(config, plan, labels), labels, cluster, namespace)
    gateway = create_gateway(config, labels, cluster, deployments, namespace, secrets=made)
    volume = load_cloud(config.cloud.value).create_weights(environment, cluster_args(config, environment), cluster)
    create_tenancy(config, labels, cluster, list(pools.values()), namespace, volume=volume)
    claim = None if volume is None else WeightsClaim("weights", labels, volume, cluster, after=(namespace,))
    after = (namespace, *made) if claim is None else (namespace, *made, claim.resource)
    context = serving_context(config, cluster, labels, gateway, volume, claim, after)
    if config.router is RouterKind.SHARED:
        context = with_shared_router(context, deployments)
    create_image_prepull(config, deployments, pools, context)
    serving = load_serving_stack(config.serving_stack.value, context)
    for deployment in deployments:
        serving.deploy(deployment)
    return EnvironmentOutputs(
        url=gateway.url,
        models=tuple(name for deployment in config.model_deployments for name in deployment.names),
        namespace=labels.namespace,
        kubeconfig=cluster.kubeconfig,
        plan=plan.to_json(),
    )


def serving_context(  # noqa: PLR0917 - what build_environment has at hand
    config: EnvironmentConfig,
    cluster: ClusterHandle,
    labels: EnvironmentLabels,
    gateway: Gateway,
    volume: WeightsVolume | None,
    claim: WeightsClaim | None,
    after: tuple[pulumi.Resource, ...],
) -> ServingContext:
    """Where the serving stack works."""
    return ServingContext(
        cluster=cluster,
        labels=labels,
        gateway_host=gateway.host,
        after=after,
        weights_claim="" if claim is None else claim.claim,
        weights_annotations={} if volume is None else volume.pod_annotations,
        weights_whole_files=volume is not None and volume.whole_files,
        preload=claim is not None and config.weights.preload,
        offline=claim is not None and config.weights.offline,
        image_pull_secrets=config.tenancy.image_pull_secrets,
        image_digests=config.image_digests,
        engines_as_root=pod_security(config) is not PodSecurity.RESTRICTED,
        chart_source=config.production_stack.model_dump(exclude_none=True),
    )


def with_shared_router(context: ServingContext, deployments: list[ModelDeploymentArgs]) -> ServingContext:
    """The same with a router for all models."""
    opts = pulumi.ResourceOptions(provider=context.cluster.provider)
    return replace(context, shared_router=SharedRouter("router", context, deployments, opts).service)


def create_image_prepull(
    config: EnvironmentConfig,
    deployments: list[ModelDeploymentArgs],
    pools: Mapping[str, GpuPool],
    context: ServingContext,
) -> list[ImagePrePull]:
    """Of the pools that want it, with the images of their engines."""
    opts = pulumi.ResourceOptions(provider=context.cluster.provider)
    wanted = [pool.name for pool in config.node_pools if pool.image_prepull]
    images: dict[str, list[str]] = {}
    for configured, deployment in zip(config.model_deployments, deployments, strict=True):
        if configured.node_pool in wanted and deployment.engine.custom is None:
            images.setdefault(configured.node_pool, []).append(program_of(deployment.engine).image)
    return [
        ImagePrePull(name, context, ImagePrePullArgs(pool=pools[name], images=found), opts)
        for name, found in images.items()
    ]


def model_deployment_args(
    deployment: ModelDeployment, pool: NodePool, pools: Mapping[str, GpuPool], *, simulated: bool, paused: bool = False
) -> ModelDeploymentArgs:
    """A configured model deployment as a serving stack wants it, with the planner's limits where none are given."""
    engine, limits, token = deployment.engine, engine_limits(pool, deployment), deployment.source.token
    return ModelDeploymentArgs(
        name=deployment.name,
        engine=EngineArgs(
            model=deployment.source.hugging_face,
            max_model_len=limits.max_model_len if limits else engine.max_model_len,
            max_num_seqs=limits.max_num_seqs if limits else engine.max_num_seqs,
            gpu_memory_utilization=engine.gpu_memory_utilization,
            tensor_parallel=engine.tensor_parallel,
            extra_args=engine.extra_args,
            hugging_face_token=SecretKey(token.secret, token.key) if token else None,
            lora=lora_args(engine),
            **further_engine_args(engine),
            revision=deployment.source.revision or "",
            allow_patterns=deployment.source.allow_patterns,
            ignore_patterns=deployment.source.ignore_patterns,
            static_memory_share=static_memory_share(pool, deployment),
        ),
        placement=pools[pool.name].place(engine.tensor_parallel),
        router_policy=deployment.router_policy.value,
        scaling=ScalingArgs(**deployment.scaling.model_dump(exclude={"idle"}), paused=paused),
        sleep=sleep_args(deployment.scaling.idle),
        simulation=simulation_args(deployment.simulation, pool) if simulated else None,
        chart_values=deployment.chart_values,
        priority_class=deployment.priority_class or "",
        rollout=deployment.rollout.value,
        topology=topology_of(deployment, paused=paused),
    )


def lora_args(engine: Engine) -> LoraArgs | None:
    """The engine's adapters; None if it has none."""
    slots = lora_slots(engine)
    if not slots.count:
        return None
    adapters = tuple(AdapterArgs(name=item.name, source=item.source.hugging_face) for item in engine.lora_adapters)
    return LoraArgs(adapters=adapters, slots=slots.count, rank=slots.max_rank)


def topology_of(deployment: ModelDeployment, *, paused: bool = False) -> Topology:
    """The kinds of workers, each with its scaling."""
    scalings = {
        role: ScalingArgs(**item.model_dump(exclude={"idle"}), paused=paused)
        for role, item in deployment.scalings.items()
        if role
    }
    return Disaggregated(prefill=scalings["prefill"], decode=scalings["decode"]) if scalings else Aggregated()


def simulation_args(simulation: Simulation | None, pool: NodePool) -> SimulationArgs:
    """What a simulated engine is told; the defaults where the configuration says nothing."""
    chosen = simulation or Simulation()
    return SimulationArgs(
        startup_seconds=chosen.startup_seconds,
        speedup=chosen.speedup,
        gpu=instances()[pool.instance_type].gpu,
        # As the plan has it: the share of a GPU whose other pods are busy, too.
        gpu_share=1 / shares_per_gpu(pool),
        memory_gib=memory_gib(pool) if isinstance(pool.sharing, MigSharing) else None,
    )


def create_monitoring(
    facts: EnvironmentFacts, labels: EnvironmentLabels, cluster: ClusterHandle, namespace: pulumi.Resource
) -> Monitoring:
    """Rules, alerts and dashboards."""
    return Monitoring(
        "monitoring",
        MonitoringArgs(facts=facts, labels=labels, rules=Capability.PROMETHEUS_OPERATOR in cluster.provides),
        pulumi.ResourceOptions(provider=cluster.provider),
        after=(namespace,),
    )
