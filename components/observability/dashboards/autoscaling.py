"""Autoscaling: what is asked for, what is there, and why."""

from __future__ import annotations

from typing import Final

from components.observability.dashboards.choices import BY_MODEL, IN_NAMESPACE, NAMESPACE
from components.observability.dashboards.panels import Dashboard, Panel, Query

HPA: Final = "kube_horizontalpodautoscaler"
POOL: Final = "label_inference_platform_node_pool"

AUTOSCALING: Final = Dashboard(
    key="autoscaling",
    title="Inference: autoscaling",
    description="From requests in flight to engines: KEDA's triggers, the autoscalers they make, the pods that come.",
    variables=(NAMESPACE,),
    panels=(
        Panel(
            title="Requests in flight at the front",
            queries=[Query('interceptor_request_concurrency{route_namespace="$namespace"}', "{{route_name}}")],
            unit="short",
            description="Counted by the interceptor, those that wait for a model to wake included: it wakes models.",
        ),
        Panel(
            title="Waiting requests per engine",
            queries=[Query(f"inference:requests_waiting:avg{{{IN_NAMESPACE}}}", BY_MODEL)],
            unit="short",
            description="The second trigger.",
        ),
        Panel(
            title="What the triggers say",
            queries=[Query(f"keda_scaler_metrics_value{{{IN_NAMESPACE}}}", "{{scaledObject}} {{scaler}}")],
            unit="short",
            description="As KEDA last read them.",
        ),
        Panel(
            title="Replicas that the autoscaler wants",
            queries=[
                Query(f"{HPA}_status_desired_replicas{{{IN_NAMESPACE}}}", "{{horizontalpodautoscaler}}"),
            ],
            unit="short",
            description="From one up; between one and none KEDA decides by itself.",
        ),
        Panel(
            title="Engines",
            queries=[
                Query(f"inference:engines:count{{{IN_NAMESPACE}}}", "{{inference_model}} on a node"),
                Query(f"inference:engines_ready:sum{{{IN_NAMESPACE}}}", "{{inference_model}} ready"),
            ],
            unit="short",
            description="The difference loads, or ends.",
        ),
        Panel(
            title="Nodes",
            queries=[
                Query(f'count by ({POOL}) (kube_node_labels{{{POOL}!=""}})', f"{{{{{POOL}}}}}"),
            ],
            unit="short",
            description="By pool.",
        ),
        Panel(
            title="Active triggers",
            queries=[Query(f"keda_scaler_active{{{IN_NAMESPACE}}}", "{{scaledObject}} {{scaler}}")],
            unit="short",
            description="1: keeps the model from going to zero.",
        ),
        Panel(
            title="Errors of triggers",
            queries=[
                Query(
                    f"sum by (scaledObject) (rate(keda_scaler_detail_errors_total{{{IN_NAMESPACE}}}[5m]))",
                    "{{scaledObject}}",
                ),
            ],
            unit="short",
            description="Per second; should be zero.",
        ),
        Panel(
            title="How long KEDA's loop takes",
            queries=[Query(f"keda_internal_scale_loop_latency_seconds{{{IN_NAMESPACE}}}", "{{resource}}")],
            unit="s",
            description="Behind its schedule; grows when the API server or KEDA has too much to do.",
        ),
    ),
)
