"""`servingEngineSpec`: the engines and what they all share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.serving.production_stack.values.base import (
    Count,
    DisruptionBudget,
    Int,
    Object,
    Objects,
    PinnedTag,
    Port,
    Probe,
    Quantity,
    SecretRef,
    ServiceMonitor,
    Values,
)


class VllmConfig(Values):
    """Flags of `vllm serve` that the chart writes itself; all others go into extraArgs."""

    v0: Literal["0", "1"] | None = None
    enable_prefix_caching: bool
    enable_chunked_prefill: bool | None = None
    max_model_len: Annotated[Int, Field(ge=1)] | None = None
    dtype: str | None = None
    tensor_parallel_size: Annotated[Int, Field(ge=1)] | None = None
    max_num_seqs: Annotated[Int, Field(ge=1)] | None = None
    max_loras: Annotated[Int, Field(ge=1)] | None = None
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    runner: Literal["auto", "pooling"] | None = None
    convert: Literal["token_embed", "embed", "token_classify", "classify", "score"] | None = None
    extra_args: Sequence[str] | None = None
    prometheus_multiproc_dir: str | None = None


class LmcacheConfig(Values):
    """KV cache offload by LMCache, and the transfer of KV blocks between prefill and decode."""

    enabled: bool
    kv_role: Literal["kv_both", "kv_producer", "kv_consumer"] | None = None
    enable_pd: Annotated[bool | None, Field(alias="enablePD")] = None
    enable_nixl: bool | None = None
    nixl_role: Literal["sender", "receiver"] | None = None
    nixl_peer_host: str | None = None
    nixl_peer_port: str | None = None
    nixl_buffer_size: str | None = None
    nixl_buffer_device: Literal["cuda", "cpu"] | None = None
    nixl_enable_gc: bool | None = None
    cuda_visible_devices: str | None = None
    cpu_offloading_buffer_size: str | None = None
    disk_offloading_buffer_size: str | None = None
    enable_controller: bool | None = None
    instance_id: str | None = None
    controller_port: str | None = None
    controller_reply_port: str | None = None
    worker_ports: str | None = None
    p2p_host: Annotated[str | None, Field(alias="p2pHost")] = None
    p2p_init_ports: Annotated[str | None, Field(alias="p2pInitPorts")] = None
    worker_heartbeat_time: str | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = None

    @model_validator(mode="after")
    def _what_it_does_in_silence(self) -> LmcacheConfig:
        size = self.cpu_offloading_buffer_size
        if size is not None and not re.fullmatch(r"[1-9][0-9]*", size):
            raise ValueError(
                f"of cpuOffloadingBufferSize {size!r} the chart takes whole GiB, here none, so that LMCache's 5 GiB "
                "hold; set a whole number of GiB"
            )
        if self.enable_controller:
            asked = {
                "controllerPort": self.controller_port,
                "controllerReplyPort": self.controller_reply_port,
                "workerPorts": self.worker_ports,
            }
            missing = [name for name, value in asked.items() if not value]
            if missing:
                raise ValueError(f"LMCache's controller is not found without {' and '.join(missing)}; set all three")
        if (self.p2p_host or self.p2p_init_ports) and not (self.p2p_host and self.p2p_init_ports):
            raise ValueError("p2pHost and p2pInitPorts go together; set both")
        if self.p2p_host and not self.enable_controller:
            raise ValueError("engines find one another by LMCache's controller; set enableController: true")
        return self


class InitContainer(Values):
    """A container that ends before the engine starts, to fetch weights for example."""

    name: str
    image: str
    command: Sequence[str] | None = None
    args: Sequence[str] | None = None
    env: Objects | None = None
    resources: Object | None = None
    mount_pvc_storage: bool | None = None
    extra_volume_mounts: Objects | None = None


class RayHead(Values):
    """The head of a Ray cluster, for engines over several nodes (needs KubeRay)."""

    request_cpu: Annotated[Int | None, Field(alias="requestCPU")] = None
    request_memory: Quantity | None = None
    request_gpu: Annotated[Int | None, Field(alias="requestGPU")] = None


class RaySpec(Values):
    """Engines over several nodes."""

    enabled: bool
    head_node: RayHead | None = None


class Keda(Values):
    """What the chart knows of KEDA.

    Its schema wants `triggers` to be a map and its template a list, so own triggers cannot be given; its default
    trigger filters by a label that no metric has. We set `enabled` only, which leaves `replicas` out of the Deployment,
    and bring a ScaledObject of our own: `raySpec`, even disabled, keeps the chart from making one.
    """

    enabled: bool


class ModelSpec(Values):
    """One model's engines."""

    name: str
    enabled: bool | None = None
    annotations: Mapping[str, str] | None = None
    pod_annotations: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    pod_labels: Mapping[str, str] | None = None
    service_account_name: str | None = None
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    repository: str
    tag: PinnedTag
    image_pull_secret: str | None = None
    model_url: Annotated[str, Field(alias="modelURL")]
    model_revision: str | None = None
    chat_template: str | None = None
    chat_template_config_map: str | None = None
    replica_count: Count
    resources: Object | None = None
    request_cpu: Annotated[Int | None, Field(alias="requestCPU")] = None
    request_memory: Quantity | None = None
    request_gpu: Annotated[Int | None, Field(alias="requestGPU")] = None
    request_gpu_type: Annotated[str | None, Field(alias="requestGPUType")] = None
    limit_cpu: Annotated[str | None, Field(alias="limitCPU")] = None
    limit_memory: Quantity | None = None
    pvc_storage: Quantity | None = None
    pvc_access_mode: Sequence[Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]] | None = (
        None
    )
    storage_class: str | None = None
    pvc_match_labels: Mapping[str, str] | None = None
    pvc_labels: Mapping[str, str] | None = None
    pvc_annotations: Mapping[str, str] | None = None
    pvc_existing_claim_name: str | None = None
    extra_volumes: Objects | None = None
    extra_volume_mounts: Objects | None = None
    init_container: InitContainer | None = None
    vllm_config: VllmConfig | None = None
    lmcache_config: LmcacheConfig | None = None
    hf_token: Annotated[SecretRef | None, Field(alias="hf_token")] = None
    env_from_secret: Object | None = None
    env: Objects | None = None
    affinity: Object | None = None
    node_selector_terms: Objects | None = None
    node_name: str | None = None
    tolerations: Objects | None = None
    tolerations_policy: Literal["append", "override"] | None = None
    shm_size: Quantity | None = None
    service_annotations: Mapping[str, str] | None = None
    enable_lora: Annotated[bool | None, Field(alias="enableLoRA")] = None
    enable_tool: bool | None = None
    tool_call_parser: str | None = None
    keda: Keda | None = None
    ray_spec: RaySpec | None = None
    pdb: DisruptionBudget | None = None

    @model_validator(mode="after")
    def _what_the_templates_need(self) -> ModelSpec:
        if self.lmcache_config is not None and self.vllm_config is None:
            raise ValueError("lmcacheConfig needs vllmConfig: the chart's template fails without it; set vllmConfig")
        offload = self.lmcache_config
        set_here = {item.get("name") for item in self.env or ()}
        if offload is not None and offload.disk_offloading_buffer_size and "LMCACHE_LOCAL_DISK" not in set_here:
            raise ValueError(
                "diskOffloadingBufferSize says how much and not where, and LMCache writes nothing; "
                "set LMCACHE_LOCAL_DISK in env to a folder of a volume"
            )
        wanted = {"LMCACHE_ENABLE_P2P", "LMCACHE_P2P_LOOKUP_PORTS"}
        if offload is not None and offload.p2p_host and not wanted <= set_here:
            raise ValueError(
                "the chart gives LMCache addresses for sharing between engines, and does not switch it on; "
                "set LMCACHE_ENABLE_P2P and LMCACHE_P2P_LOOKUP_PORTS in env"
            )
        if self.resources is None and (self.request_cpu is None or self.request_memory is None):
            raise ValueError("the chart needs resources, or requestCPU and requestMemory; set resources")
        if self.affinity is not None and self.node_selector_terms is not None:
            raise ValueError("with affinity the chart ignores nodeSelectorTerms; set one of the two")
        if self.enabled is False:
            raise ValueError("enabled: false still makes a Service and a claim; remove the model instead")
        if self.tool_call_parser is not None and not self.enable_tool:
            raise ValueError("toolCallParser does nothing without enableTool: true; set both")
        if self.chat_template_config_map is not None and self.chat_template is None:
            raise ValueError("chatTemplateConfigMap needs chatTemplate, the name of the file; set both")
        return self


class Sidecar(Values):
    """The sidecar that loads LoRA adapters."""

    image: str
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None


class ServingEngineSpec(Values):
    """All engines of the release. `labels` select the pods that the chart's router serves: unique per release."""

    enable_engine: bool | None = None
    labels: Mapping[str, str]
    extra_ports: Objects | None = None
    vllm_api_key: SecretRef | None = None
    model_spec: Annotated[Sequence[ModelSpec], Field(min_length=1)]
    container_port: Port | None = None
    service_port: Port | None = None
    configs: Mapping[str, str] | None = None
    strategy: Object
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    tolerations: Objects | None = None
    runtime_class_name: str
    scheduler_name: str | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    security_context: Object | None = None
    container_security_context: Object | None = None
    sidecar: Sidecar | None = None
    service_monitor: ServiceMonitor | None = None
    env: Objects | None = None
