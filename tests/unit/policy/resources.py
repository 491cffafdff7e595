"""Resources that keep to every policy, and how to break one: what unit and engine tests plant.

Inputs are what the providers take (camelCase); the engine test has the double check those of the clouds.
"""

from __future__ import annotations

import copy
from typing import Any

from policy.view import Resource

ENGINE_LABELS = {"inference.platform/component": "engine", "inference.platform/model": "chat"}
PROBE = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 10, "failureThreshold": 60}
TRIGGER_AT_FRONT = {"type": "external-push", "name": "front", "metadata": {"scalerAddress": "scaler.keda:9090"}}
QUERY = 'sum(vllm:num_requests_waiting{model_name="chat"}) or vector(0)'
BEHAVIOR = {
    "scaleUp": {"policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]},
    "scaleDown": {"stabilizationWindowSeconds": 300},
}


def changed(tree: Any, path: str, value: Any) -> Any:
    """A copy with another value at a path (`spec.template.0.x`); None takes the key away."""
    result = copy.deepcopy(tree)
    *steps, last = path.split("/")
    node = result
    for step in steps:
        node = node[int(step)] if isinstance(node, list) else node[step]
    if value is None:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return result


def kubernetes(type_: str, name: str, **inputs: Any) -> Resource:
    """An object of the Kubernetes API in the namespace `planted`."""
    api, kind = type_.rsplit(":", 1)
    version = api.removeprefix("core/")
    metadata = {"name": name, "namespace": "planted", **inputs.pop("metadata", {})}
    return Resource(
        type=f"kubernetes:{type_}",
        name=name,
        urn=f"urn:{name}",
        inputs={"apiVersion": version, "kind": kind, "metadata": metadata, **inputs},
    )


def deployment(name: str, path: str = "", value: Any = None) -> Resource:
    """An engine's Deployment that keeps to everything; with another value at a path below its pod spec."""
    container = {
        "name": "engine",
        "image": "vllm/vllm-openai:v0.32.0",
        "args": ["meta-llama/Llama-3.1-8B-Instruct", "--port=8000"],
        "env": [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}],
        "resources": {
            "requests": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"},
            "limits": {"memory": "16Gi", "nvidia.com/gpu": "1"},
        },
        "startupProbe": PROBE,
        "readinessProbe": PROBE,
        "livenessProbe": PROBE,
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }
    spec: dict[str, Any] = {
        "containers": [container],
        "nodeSelector": {"inference.platform/node-pool": "l4"},
        "terminationGracePeriodSeconds": 120,
    }
    labels = {**ENGINE_LABELS, "app": name}
    template = {"metadata": {"labels": labels}, "spec": changed(spec, path, value) if path else spec}
    selector = {"matchLabels": {"app": name}}
    return kubernetes("apps/v1:Deployment", name, spec={"selector": selector, "template": template})


def budget(name: str) -> Resource:
    """A PodDisruptionBudget that covers `deployment(name)`."""
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}}
    return kubernetes("policy/v1:PodDisruptionBudget", name, spec=spec)


def scaled(
    name: str, path: str = "", value: Any = None, target: str = "engine", spec: dict[str, Any] | None = None
) -> Resource:
    """A ScaledObject that keeps to everything; with another value at a path of its spec, or another spec."""
    spec = spec or {
        "scaleTargetRef": {"name": target},
        "minReplicaCount": 1,
        "maxReplicaCount": 5,
        "cooldownPeriod": 900,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": BEHAVIOR}},
        "triggers": [
            TRIGGER_AT_FRONT,
            {"type": "prometheus", "metadata": {"serverAddress": "http://p:9090", "query": QUERY, "threshold": "5"}},
        ],
    }
    return kubernetes(
        "keda.sh/v1alpha1:ScaledObject",
        name,
        metadata={"labels": {"inference.platform/model": "chat"}},
        spec=changed(spec, path, value) if path else spec,
    )


def release(name: str, chart: str, version: str, values: dict[str, Any]) -> Resource:
    """A Helm release."""
    inputs = {"chart": chart, "version": version, "values": values, "namespace": "planted", "name": name}
    return Resource(type="kubernetes:helm.sh/v3:Release", name=name, urn=f"urn:{name}", inputs=inputs)


def eks_pool(name: str, **more: Any) -> Resource:
    """An EKS node group with one L4 per node, tainted."""
    inputs = {
        "clusterName": "c",
        "nodeRoleArn": "arn:aws:iam::123456789012:role/node",
        "subnetIds": ["subnet-1"],
        "instanceTypes": ["g6.xlarge"],
        "capacityType": "ON_DEMAND",
        "scalingConfig": {"minSize": 0, "maxSize": 4, "desiredSize": 0},
        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
        "labels": {"inference.platform/node-pool": name},
        "tags": {"owner": "search"},
        **more,
    }
    return Resource(type="aws:eks/nodeGroup:NodeGroup", name=name, urn=f"urn:{name}", inputs=inputs)


def aks_pool(name: str, **more: Any) -> Resource:
    """An AKS agent pool of H100s."""
    inputs = {
        "resourceGroupName": "g",
        "resourceName": "c",
        "agentPoolName": name,
        "vmSize": "Standard_NC40ads_H100_v5",
        "count": 1,
        "enableAutoScaling": False,
        "nodeTaints": ["nvidia.com/gpu=present:NoSchedule"],
        "nodeLabels": {"inference.platform/node-pool": name},
        "tags": {"owner": "search"},
        **more,
    }
    return Resource(type="azure-native:containerservice:AgentPool", name=name, urn=f"urn:{name}", inputs=inputs)


def gke_pool(name: str, accelerator: dict[str, Any], location: str = "europe-west4", **config: Any) -> Resource:
    """A GKE node pool with one L4 per node, tainted."""
    node = {
        "machineType": "g2-standard-12",
        "guestAccelerators": [{"type": "nvidia-l4", "count": 1, **accelerator}],
        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
        "labels": {"inference.platform/node-pool": name},
        "resourceLabels": {"owner": "search"},
        **config,
    }
    inputs = {
        "cluster": "c",
        "location": location,
        "nodeConfig": node,
        "autoscaling": {"totalMinNodeCount": 0, "totalMaxNodeCount": 2},
    }
    return Resource(type="gcp:container/nodePool:NodePool", name=name, urn=f"urn:{name}", inputs=inputs)


def config_map(name: str, data: dict[str, str]) -> Resource:
    """A ConfigMap."""
    return kubernetes("core/v1:ConfigMap", name, data=data)


def service(name: str, annotations: dict[str, str], port: str = "http") -> Resource:
    """A Service with a load balancer."""
    spec = {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"name": port, "port": 443}]}
    return kubernetes("core/v1:Service", name, metadata={"annotations": annotations}, spec=spec)


def namespace(name: str) -> Resource:
    """A Namespace."""
    inputs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    return Resource(type="kubernetes:core/v1:Namespace", name=name, urn=f"urn:{name}", inputs=inputs)


def network_policy(selector: dict[str, str]) -> Resource:
    """A NetworkPolicy that closes what it selects."""
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": selector} if selector else {},
        "policyTypes": ["Ingress"],
    }
    return kubernetes("networking.k8s.io/v1:NetworkPolicy", "closed", spec=spec)


SLICED = "version: v1\nsharing:\n  timeSlicing:\n    resources:\n    - name: nvidia.com/gpu\n      replicas: 4\n"
AWS_INTERNAL = {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"}
FIRST = "containers/0"
