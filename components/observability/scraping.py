"""How Prometheus finds the pods of the data path, and the labels it gives them; the same on every cloud.

Plain data, so that the embedded cluster's own Prometheus is configured by it too.
"""

from __future__ import annotations

from typing import Any, Final

from components import labels

OBJECT_LABELS: Final = (
    f"nodes=[{labels.NODE_POOL},{labels.CAPACITY_TYPE},node.kubernetes.io/instance-type]",
    f"pods=[{labels.MODEL},{labels.COMPONENT}]",
)
"""Labels of Kubernetes' objects that kube-state-metrics tells (`--metric-labels-allowlist`): whose a pod is, and which
pool a node belongs to."""

POD_ANNOTATION: Final = "__meta_kubernetes_pod_annotation_prometheus_io"
POD_LABEL: Final = "__meta_kubernetes_pod_label_inference_platform"

MODEL: Final = "inference_model"
COMPONENT: Final = "inference_component"
"""Labels of every series of our pods: which model deployment, and engine, router or gateway."""


def pod_relabelings() -> list[dict[str, Any]]:
    """Keep running pods that ask for it by annotation, one target per pod, and say whose they are."""
    return [
        {"source_labels": [f"{POD_ANNOTATION}_scrape"], "regex": "true", "action": "keep"},
        # A pod that has ended keeps its IP in the API for a moment.
        {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Failed|Succeeded", "action": "drop"},
        {
            "source_labels": ["__meta_kubernetes_pod_ip", f"{POD_ANNOTATION}_port"],
            "regex": "(.+);(.+)",
            "target_label": "__address__",
            "replacement": "$1:$2",
        },
        # One target per pod, not one per container port.
        {"source_labels": [f"{POD_ANNOTATION}_path"], "regex": "(.+)", "target_label": "__metrics_path__"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
        {"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "node"},
        {"source_labels": [f"{POD_LABEL}_model"], "target_label": MODEL},
        {"source_labels": [f"{POD_LABEL}_component"], "target_label": COMPONENT},
    ]


def pod_metric_relabelings() -> list[dict[str, Any]]:
    """Drop what nobody reads: one histogram per attempt number is hundreds of series."""
    return [
        {
            "source_labels": ["__name__"],
            "regex": "vllm_router_retry_backoff_duration_seconds.*",
            "action": "drop",
        }
    ]


def pod_scrape_job(discovery: dict[str, Any] | None = None, **timing: str) -> dict[str, Any]:
    """The scrape configuration of our pods.

    Args:
        discovery: added to the Kubernetes discovery of pods, e.g. a kubeconfig's path.
        timing: scrape_interval and scrape_timeout; default: Prometheus' global ones.
    """
    return {
        "job_name": "pods",
        **timing,
        # What a series says of itself goes first: KEDA's errors are about objects in other namespaces.
        "honor_labels": True,
        "kubernetes_sd_configs": [{"role": "pod", **(discovery or {})}],
        "relabel_configs": pod_relabelings(),
        "metric_relabel_configs": pod_metric_relabelings(),
    }
