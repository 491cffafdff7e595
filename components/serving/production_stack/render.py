"""A model deployment as values of the chart. Pure: what the chart gets, and nothing of Pulumi's engine.

What the chart does on its own, and what is set against it here:

- its engines listen on 0.0.0.0 and get an extra ``--host`` with the pod's own address, the last word on that;
- its Deployment rolls with maxSurge 100 percent, which waits forever for a GPU that is not there;
- its discovery labels are the same in every release (`environment: test`);
- its `runtimeClassName` is nvidia, which exists on few clouds;
- its probes, tag and pull policy are written out;
- with `keda.enabled` it leaves `replicas` to the autoscaler and with a `raySpec` that is not enabled it makes no
  ScaledObject: both together leave room for ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from components.images import pinned
from components.labels import ROLE, Workload
from components.pods import ENGINE_POD_SECURITY, POD_IP, scraped
from components.scheduling import Placement, on_system_nodes
from components.serving import engine
from components.serving.base import ROLLOUTS, ModelDeploymentArgs, ServingContext
from components.serving.engines.base import flags
from components.serving.kv_offload import (
    DISK_MOUNT,
    DISK_VOLUME,
    SERVER_POD_PORT,
    SERVER_PORT,
    KvCacheServerArgs,
)
from components.serving.lora import LoraArgs
from components.serving.production_stack.values import ChartValues
from components.serving.production_stack.values.check import overlay
from components.serving.topologies import Workers
from components.versions import VLLM_ENGINE
from components.weights_files import OFFLINE_VARIABLES

MODEL_NAME: Final = "engine"
"""`modelSpec[].name` where a model has one kind of workers, the kind's own name elsewhere. The release carries the
model's name; both together must fit a host name of 63 characters ("<release>-<name>-vllm-stack"), and the model's name
may have 40."""

WEIGHTS_MOUNT: Final = "/tmp/hub"  # noqa: S108
"""Where Hugging Face's cache lies: the chart sets HF_HOME to /tmp."""

STARTUP_PROBE_FIRST: Final = 1
"""Seconds; the chart turns 0 into 15."""


def deployment_name(model: str, kind: str = MODEL_NAME) -> str:
    """The Deployment that the chart makes for a model deployment's workers of a kind."""
    return f"{model}-{kind}-deployment-vllm"


def engine_service(model: str, kind: str = MODEL_NAME) -> str:
    """The Service that the chart makes for a model's engines of a kind."""
    return f"{model}-{kind}-engine-service"


def chart_values(
    context: ServingContext, args: ModelDeploymentArgs, *, runtime_class: str, extra: Mapping[str, Any]
) -> ChartValues:
    """The values of a model's release, checked.

    Args:
        context: where.
        args: what is served.
        runtime_class: of the engine pods; "" where GPUs need none.
        extra: the user's own values, laid over ours; keys as the chart has them.

    Raises:
        pydantic.ValidationError: the user's values are none of the chart's.
    """
    return ChartValues.model_validate(overlay(_ours(context, args, runtime_class), extra))


def _ours(context: ServingContext, args: ModelDeploymentArgs, runtime_class: str) -> dict[str, Any]:
    selector = context.labels.selector(Workload.ENGINE, args.name)
    return {
        "servingEngineSpec": {
            "labels": selector,
            "runtimeClassName": runtime_class,
            "imagePullPolicy": "IfNotPresent",
            "strategy": ROLLOUTS[args.rollout],
            **({} if context.engines_as_root else {"securityContext": dict(ENGINE_POD_SECURITY)}),
            "containerSecurityContext": {
                # Said here too: the chart's default is false on the container, which outdoes what the pod says.
                "runAsNonRoot": not context.engines_as_root,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "startupProbe": _startup_probe(args.timing.startup_budget_seconds),
            "readinessProbe": _http_probe(5),
            "livenessProbe": _http_probe(10),
            "modelSpec": [_model_spec(context, args, workers) for workers in args.workers],
        },
        "routerSpec": {"enableRouter": False},
        **_cache_server(context, args.engine.kv_offload.server if args.engine.kv_offload else None),
        "kube-prometheus-stack": {"enabled": False},
        "prometheus-adapter": {"enabled": False},
    }


def _model_spec(context: ServingContext, args: ModelDeploymentArgs, workers: Workers) -> dict[str, Any]:
    arguments, placement = args.engine, args.placement
    # The chart writes `repository:tag`: the digest may follow the tag.
    repository, _, tag = pinned(VLLM_ENGINE, context.image_digests).partition(":")
    spec: dict[str, Any] = {
        "name": workers.kind,
        "repository": repository,
        "tag": tag,
        "modelURL": arguments.model,
        **({"modelRevision": arguments.revision} if arguments.revision else {}),
        "replicaCount": workers.scaling.min_replicas,
        "keda": {"enabled": True},
        "raySpec": {"enabled": False},
        "serviceAccountName": engine.engine_name(args.name),
        "podAnnotations": {
            **scraped(engine.PORT),
            **context.weights_annotations,
            **engine.simulation_annotations(args.simulation),
        },
        "resources": _resources(placement),
        "nodeSelectorTerms": [
            {
                "matchExpressions": [
                    {"key": key, "operator": "In", "values": [value]} for key, value in placement.node_selector.items()
                ]
            }
        ],
        **({"priorityClassName": args.priority_class} if args.priority_class else {}),
        "tolerations": [
            {"key": taint.key, "operator": "Equal", "value": taint.value, "effect": taint.effect}
            for taint in placement.taints
        ],
        "vllmConfig": _vllm_config(args, workers),
        "env": [
            {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
            *({"name": name, "value": value} for name, value in (OFFLINE_VARIABLES if context.offline else {}).items()),
            *({"name": name, "value": value} for name, value in workers.variables.items()),
        ],
        # An emptyDir outlives the container: an engine that crashes does not download its weights again.
        "extraVolumes": [_weights(context), *_disk(args)],
        "extraVolumeMounts": [
            {"name": "weights", "mountPath": WEIGHTS_MOUNT, **_within_claim(context)},
            *({"name": item["name"], "mountPath": DISK_MOUNT} for item in _disk(args)),
        ],
    }
    if workers.role:
        spec["podLabels"] = {ROLE: workers.role}
    if arguments.lora is not None:
        spec["enableLoRA"] = True
    if arguments.tensor_parallel > 1:
        spec["shmSize"] = engine.SHARED_MEMORY_SIZE
    if arguments.hugging_face_token is not None:
        token = arguments.hugging_face_token
        spec["hf_token"] = {"secretName": token.secret, "secretKey": token.key}
    return spec


def _weights(context: ServingContext) -> dict[str, Any]:
    if context.weights_claim:
        return {"name": "weights", "persistentVolumeClaim": {"claimName": context.weights_claim}}
    return {"name": "weights", "emptyDir": {}}


def _disk(args: ModelDeploymentArgs) -> list[dict[str, Any]]:
    """The volume for keys and values, if there is one."""
    size = engine.disk_size(args.engine)
    return [{"name": DISK_VOLUME, "emptyDir": {"sizeLimit": size}}] if size else []


def _cache_server(context: ServingContext, server: KvCacheServerArgs | None) -> dict[str, Any]:
    """A server for keys and values, on the nodes of the routers: it takes memory and no GPU."""
    if server is None:
        return {}
    placement = on_system_nodes("500m", f"{server.memory_gib}Gi", context.cluster.system_nodes)
    memory = {"memory": placement.resources.memory}
    repository, _, tag = server.image.rpartition(":")
    spec = {
        "enabled": True,
        "image": {"repository": repository, "tag": tag},
        "imagePullPolicy": "IfNotPresent",
        "replicaCount": 1,
        "containerPort": SERVER_POD_PORT,
        "servicePort": SERVER_PORT,
        "resources": {"requests": {"cpu": placement.resources.cpu, **memory}, "limits": memory},
        "nodeSelector": dict(placement.node_selector),
        # The new one would be empty all the same.
        "strategy": {"type": "Recreate"},
        "containerSecurityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {"cacheserverSpec": spec}


def _within_claim(context: ServingContext) -> dict[str, str]:
    # The claim is Hugging Face's home, of which this is the part with the models.
    return {"subPath": "hub"} if context.weights_claim else {}


def _vllm_config(args: ModelDeploymentArgs, workers: Workers) -> dict[str, Any]:
    arguments = args.engine
    # vLLM takes dashes and underscores alike.
    further = {name.replace("_", "-"): value for name, value in arguments.extra_args.items()}
    # vLLM's own default; the chart's is off.
    keeps_prefixes = further.pop("enable-prefix-caching", True) is not False
    config: dict[str, Any] = {
        "enablePrefixCaching": keeps_prefixes,
        "gpuMemoryUtilization": arguments.gpu_memory_utilization,
        "extraArgs": [
            f"--served-model-name={args.name}",
            # The chart's own --host 0.0.0.0 comes before: the last one counts.
            f"--host={POD_IP}",
            f"--shutdown-timeout={args.timing.drain_seconds}",
            *workers.arguments,
            *_lora_arguments(arguments.lora),
            *flags(further),
        ],
    }
    if arguments.lora is not None:
        config["maxLoras"] = arguments.lora.slots
    if arguments.max_model_len is not None:
        config["maxModelLen"] = arguments.max_model_len
    if arguments.max_num_seqs is not None:
        config["maxNumSeqs"] = arguments.max_num_seqs
    if arguments.tensor_parallel > 1:
        # Its presence, even with 1, mounts /dev/shm.
        config["tensorParallelSize"] = arguments.tensor_parallel
    return config


def _lora_arguments(lora: LoraArgs | None) -> list[str]:
    """What the chart has no values for.

    Its own way, LoraAdapter objects, takes a controller and sidecars that load adapters pod by pod after the start: a
    pod that has just come up would answer 404 for a moment.
    """
    if lora is None:
        return []
    return [*(f"--{name}={value}" for name, value in lora.sizes.items() if name != "max-loras"), *lora.modules]


def _resources(placement: Placement) -> dict[str, Any]:
    fixed = {"memory": placement.resources.memory, **placement.resources.devices}
    return {"requests": {"cpu": placement.resources.cpu, **fixed}, "limits": fixed}


def _startup_probe(budget_seconds: int) -> dict[str, Any]:
    """The waiting probe of our own engines, see `components.serving.engine.startup_probe`."""
    return {
        "initialDelaySeconds": STARTUP_PROBE_FIRST,
        "periodSeconds": 1,
        "timeoutSeconds": engine.waiting_timeout(budget_seconds),
        "failureThreshold": engine.STARTUP_PROBE_RUNS,
        "exec": {"command": engine.waiting_command(budget_seconds)},
    }


def _http_probe(period_seconds: int) -> dict[str, Any]:
    return {
        "initialDelaySeconds": STARTUP_PROBE_FIRST,
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
        "httpGet": {"path": "/health", "port": engine.PORT},
    }
