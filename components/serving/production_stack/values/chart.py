"""All values of the chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.serving.production_stack.values.base import (
    Count,
    DisruptionBudget,
    Image,
    Object,
    Objects,
    Port,
    Probe,
    Quantity,
    SecretRef,
    Values,
)
from components.serving.production_stack.values.engine import ServingEngineSpec
from components.serving.production_stack.values.router import RouterSpec


class CacheserverSpec(Values):
    """A server that keeps KV blocks for all engines (LMCache)."""

    enabled: bool
    image: Image | None = None
    replica_count: Count | None = None
    container_port: Port | None = None
    service_port: Port | None = None
    service_type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] | None = None
    service_annotations: Mapping[str, str] | None = None
    serde: Literal["", "naive", "cachegen", "torch"] | None = None
    resources: Object | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    strategy: Object | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: Objects | None = None
    node_selector: Mapping[str, str] | None = None
    affinity: Object | None = None
    tolerations: Objects | None = None
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    scheduler_name: str | None = None
    security_context: Object | None = None
    container_security_context: Object | None = None
    liveness_probe: Probe | None = None

    @model_validator(mode="after")
    def _image_is_pinned(self) -> CacheserverSpec:
        if self.enabled and self.image is None:
            raise ValueError("the chart's default image is lmcache/vllm-openai:latest; set image with a tag")
        if self.enabled and (self.replica_count or 1) > 1:
            raise ValueError(
                "replicas of the cache server share nothing, and its Service sends each request to any of them: "
                "most blocks would not be found again; set replicaCount to 1"
            )
        # LMCache 0.5.6 v1/server/storage_backend/local_backend.py keeps all it is given.
        if self.enabled and "memory" not in (self.resources or {}).get("limits", {}):
            raise ValueError(
                "the cache server forgets nothing, and takes its node's memory until others die; "
                "set resources.limits.memory, at which it is restarted empty"
            )
        return self


class Nfs(Values):
    """An NFS export."""

    server: str
    path: str


class SharedPvcStorage(Values):
    """One claim for all engines of the release."""

    enabled: bool
    size: Quantity | None = None
    access_modes: Sequence[str] | None = None
    storage_class: str | None = None
    host_path: str | None = None
    nfs: Nfs | None = None
    image: Image | None = None


class AdapterSource(Values):
    """Where a LoRA adapter comes from."""

    type: Literal["local", "s3", "http", "huggingface"]
    adapter_name: str
    adapter_path: str | None = None
    repository: str | None = None
    pattern: str | None = None
    max_adapters: Count | None = None
    credentials: SecretRef | None = None


class AdapterDeployment(Values):
    """On which engines a LoRA adapter is loaded."""

    algorithm: Literal["default", "ordered", "equalized"]
    replicas: Count | None = None
    labels: Mapping[str, str] | None = None


class LoraAdapter(Values):
    """A LoRA adapter (custom resource of the chart's controller)."""

    name: str
    enabled: bool | None = None
    base_model: str
    vllm_api_key: SecretRef | None = None
    adapter_source: AdapterSource
    lora_adapter_deployment_config: AdapterDeployment | None = None


class LoraController(Values):
    """The controller that loads LoRA adapters."""

    enable_lora_controller: bool
    image: Object | None = None
    image_pull_secrets: Objects | None = None
    kubernetes_cluster_domain: str | None = None
    replica_count: Count | None = None
    service_account_name: str | None = None
    env: Objects | None = None
    extra_args: Sequence[str] | None = None
    resources: Object | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    pod_annotations: Mapping[str, str] | None = None
    pod_labels: Mapping[str, str] | None = None
    pod_security_context: Object | None = None
    container_security_context: Object | None = None
    node_selector: Mapping[str, str] | None = None
    affinity: Object | None = None
    tolerations: Objects | None = None
    pdb: DisruptionBudget | None = None
    metrics: Object | None = None
    webhook: Object | None = None


class GrafanaDashboards(Values):
    """The chart's own dashboards as ConfigMaps."""

    enabled: bool
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None


class Subchart(Values):
    """A chart that this one would bring: off, the cluster has its own."""

    enabled: Literal[False] = False


class ChartValues(Values):
    """All values of one release."""

    serving_engine_spec: ServingEngineSpec
    router_spec: RouterSpec
    cacheserver_spec: CacheserverSpec | None = None
    shared_pvc_storage: SharedPvcStorage | None = None
    lora_adapters: Sequence[LoraAdapter] | None = None
    lora_controller: LoraController | None = None
    grafana_dashboards: GrafanaDashboards | None = None
    extra_objects: Objects | None = None
    kube_prometheus_stack: Annotated[Subchart | None, Field(alias="kube-prometheus-stack")] = None
    prometheus_adapter: Annotated[Subchart | None, Field(alias="prometheus-adapter")] = None

    @model_validator(mode="after")
    def _controller_is_in_the_router(self) -> ChartValues:
        offloads = (model.lmcache_config for model in self.serving_engine_spec.model_spec)
        if any(item is not None and item.enable_controller for item in offloads):
            router = self.router_spec
            if not router.enable_router or router.lmcache_controller_port is None:
                raise ValueError(
                    "LMCache's controller is part of the chart's router, which is off; "
                    "set routerSpec with enableRouter: true and lmcacheControllerPort, or leave enableController out"
                )
        return self

    @model_validator(mode="after")
    def _what_the_templates_need(self) -> ChartValues:
        shared = self.shared_pvc_storage
        if shared is not None and shared.enabled:
            for model in self.serving_engine_spec.model_spec:
                parallel = model.vllm_config is not None and model.vllm_config.tensor_parallel_size is not None
                mounts = (model.pvc_storage, model.chat_template, model.extra_volume_mounts)
                if not parallel and all(item is None for item in mounts):
                    raise ValueError(
                        "sharedPvcStorage alone renders no volumeMounts key and so invalid YAML; "
                        "set vllmConfig.tensorParallelSize (1 will do) or another volume of the model"
                    )
        return self
