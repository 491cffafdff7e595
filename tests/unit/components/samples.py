"""Arguments of the components, complete and small; tests change one thing of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
from pulumi_kubernetes import Provider

from components.autoscaling.args import ScalingArgs
from components.cluster import Capability, ClusterHandle, GatewayExposure, ServiceReference
from components.labels import EnvironmentLabels
from components.scheduling import GpuPool
from components.serving.base import EngineArgs, ModelDeploymentArgs, ServingContext, SimulationArgs

L4_POOL = GpuPool(name="l4", product="NVIDIA-L4", gpus_per_node=4, vcpu=48, memory_gib=192)

SCALING = ScalingArgs(
    min_replicas=0,
    max_replicas=5,
    queue_depth=5,
    concurrency=32,
    polling_interval_seconds=10,
    cooldown_seconds=600,
    startup_budget_seconds=600,
    scale_down_stabilization_seconds=300,
    drain_seconds=60,
)

CHAT = ModelDeploymentArgs(
    name="chat",
    engine=EngineArgs(model="meta-llama/Llama-3.1-8B-Instruct", max_model_len=8192, max_num_seqs=17),
    placement=L4_POOL.place(),
    router_policy="cache_aware",
    scaling=SCALING,
    simulation=SimulationArgs(startup_seconds=3.0, speedup=1.5, gpu="l4"),
)


def deployment(**changes: Any) -> ModelDeploymentArgs:
    """The sample model deployment with some fields changed."""
    return replace(CHAT, **changes)


def cluster(provider: Provider, autoscaling: tuple[pulumi.Resource, ...] = ()) -> ClusterHandle:
    """A cluster that brings everything."""
    return ClusterHandle(
        provider=provider,
        provides=frozenset(Capability),
        simulated=True,
        kubeconfig="/somewhere/kubeconfig",
        prometheus_address="http://prometheus-operated.monitoring.svc:9090",
        interceptor=ServiceReference("keda-add-ons-http-interceptor-proxy", "keda", 8080),
        external_scaler=ServiceReference("keda-add-ons-http-external-scaler", "keda", 9090),
        keda_namespace="keda",
        gateway=GatewayExposure(url="http://127.0.0.1:8080"),
        autoscaling=autoscaling,
    )


def context(environment: str = "dev") -> ServingContext:
    """Where the serving stack works; inside `engine.run` only, since it registers the provider."""
    return ServingContext(
        cluster=cluster(Provider(f"{environment}-provider", kubeconfig="/somewhere/kubeconfig")),
        labels=EnvironmentLabels(environment),
        gateway_host=f"gateway.inference-{environment}.svc",
    )
