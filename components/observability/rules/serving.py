"""What models do: requests, latencies, lengths, queues, engines; per model and for the fleet.

Sources: metrics of vLLM v0.32 (vllm/v1/metrics/loggers.py), KEDA's HTTP add-on 0.15 and kube-state-metrics 2.18, as
the embedded cluster's Prometheus has them.
"""

from __future__ import annotations

from typing import Final

from components.observability.objects import RecordingRule, RuleGroup
from components.observability.scraping import MODEL

BY_MODEL: Final = f"namespace,{MODEL}"
WINDOW: Final = "5m"
SHORT: Final = "1m"
SHORT_SECONDS: Final = 60
"""Of rates that are summed up over time: the shorter, the sharper the edges."""

QUANTILES: Final = (0.5, 0.95, 0.99)

ENGINE_PODS: Final = (
    "label_replace("
    'kube_pod_labels{{namespace="{namespace}",label_inference_platform_component="engine"}},'
    f'"{MODEL}","$1","label_inference_platform_model","(.+)")'
)
"""Pods of engines, with their model; on a cloud and on the embedded cluster from kube-state-metrics."""


def of_engine_pods(expr: str, namespace: str) -> str:
    """Series per pod, kept for engines only and given their model."""
    pods = ENGINE_PODS.format(namespace=namespace)
    return f"{expr} * on (namespace,pod) group_left ({MODEL}) {pods}"


def metric(name: str, namespace: str) -> str:
    """An engine's series of one environment."""
    return f'{name}{{namespace="{namespace}",inference_component="engine"}}'


def summed_rate(name: str, namespace: str, window: str = WINDOW, by: str = BY_MODEL) -> str:
    """A counter's increase per second, summed."""
    return f"sum by ({by}) (rate({metric(name, namespace)}[{window}]))"


def histogram_rules(record: str, name: str, namespace: str) -> list[RecordingRule]:
    """Quantiles and mean of a histogram, per model."""
    buckets = summed_rate(f"{name}_bucket", namespace, by=f"{BY_MODEL},le")
    quantiles = [
        RecordingRule(
            record=f"inference:{record}:quantile_rate{WINDOW}",
            expr=f"histogram_quantile({quantile}, {buckets})",
            labels={"quantile": str(quantile)},
        )
        for quantile in QUANTILES
    ]
    total, count = (summed_rate(f"{name}_{part}", namespace) for part in ("sum", "count"))
    return [*quantiles, RecordingRule(record=f"inference:{record}:mean_rate{WINDOW}", expr=f"{total} / {count}")]


def model_rules(namespace: str) -> RuleGroup:
    """Per model."""
    running, waiting, kv_cache = (
        metric(f"vllm:{name}", namespace)
        for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
    )
    at_front = f'interceptor_request_count_total{{route_namespace="{namespace}"}}'
    renamed = f'label_replace(rate({at_front}[{WINDOW}]),"{MODEL}","$1","route_name","(.+)")'
    in_front = f'label_replace({renamed},"namespace","$1","route_namespace","(.+)")'
    scheduled = of_engine_pods(f'kube_pod_info{{namespace="{namespace}",node!=""}}', namespace)
    ready = of_engine_pods(f'kube_pod_status_ready{{namespace="{namespace}",condition="true"}}', namespace)
    return RuleGroup(
        name="inference.model",
        rules=[
            RecordingRule(
                record=f"inference:requests:rate{WINDOW}", expr=summed_rate("vllm:request_success_total", namespace)
            ),
            RecordingRule(record=f"inference:responses:rate{WINDOW}", expr=f"sum by ({BY_MODEL},code) ({in_front})"),
            *(
                RecordingRule(
                    record=f"inference:{kind}_tokens:rate{WINDOW}",
                    expr=summed_rate(f"vllm:{kind}_tokens_total", namespace),
                )
                for kind in ("prompt", "generation")
            ),
            *histogram_rules("time_to_first_token_seconds", "vllm:time_to_first_token_seconds", namespace),
            *histogram_rules("inter_token_latency_seconds", "vllm:inter_token_latency_seconds", namespace),
            *histogram_rules("time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds", namespace),
            *histogram_rules("request_duration_seconds", "vllm:e2e_request_latency_seconds", namespace),
            *histogram_rules("queue_time_seconds", "vllm:request_queue_time_seconds", namespace),
            *histogram_rules("prompt_length_tokens", "vllm:request_prompt_tokens", namespace),
            *histogram_rules("output_length_tokens", "vllm:request_generation_tokens", namespace),
            RecordingRule(record="inference:requests_running:sum", expr=f"sum by ({BY_MODEL}) ({running})"),
            RecordingRule(record="inference:requests_waiting:sum", expr=f"sum by ({BY_MODEL}) ({waiting})"),
            RecordingRule(record="inference:requests_waiting:avg", expr=f"avg by ({BY_MODEL}) ({waiting})"),
            RecordingRule(record="inference:kv_cache_usage:max", expr=f"max by ({BY_MODEL}) ({kv_cache})"),
            RecordingRule(record="inference:kv_cache_usage:avg", expr=f"avg by ({BY_MODEL}) ({kv_cache})"),
            RecordingRule(
                record=f"inference:prefix_cache_hits:ratio_rate{WINDOW}",
                expr=f"{summed_rate('vllm:prefix_cache_hits_total', namespace)} / "
                f"{summed_rate('vllm:prefix_cache_queries_total', namespace)}",
            ),
            # A pod that is on a node holds its GPU, whether it loads, serves or ends.
            RecordingRule(record="inference:engines:count", expr=f"count by ({BY_MODEL}) ({scheduled})"),
            RecordingRule(record="inference:engines_ready:sum", expr=f"sum by ({BY_MODEL}) ({ready})"),
        ],
    )


def fleet_rules(namespace: str) -> RuleGroup:
    """Of all models together; the quantiles are those of all requests, not means of the models' quantiles."""
    by = "namespace"
    rules = [
        RecordingRule(
            record=f"inference:fleet_{name}:rate{WINDOW}", expr=summed_rate(f"vllm:{series}_total", namespace, by=by)
        )
        for name, series in (
            ("requests", "request_success"),
            ("prompt_tokens", "prompt_tokens"),
            ("generation_tokens", "generation_tokens"),
        )
    ]
    for record, series in (
        ("time_to_first_token_seconds", "vllm:time_to_first_token_seconds"),
        ("inter_token_latency_seconds", "vllm:inter_token_latency_seconds"),
        ("request_duration_seconds", "vllm:e2e_request_latency_seconds"),
    ):
        buckets = summed_rate(f"{series}_bucket", namespace, by=f"{by},le")
        rules += [
            RecordingRule(
                record=f"inference:fleet_{record}:quantile_rate{WINDOW}",
                expr=f"histogram_quantile({quantile}, {buckets})",
                labels={"quantile": str(quantile)},
            )
            for quantile in QUANTILES
        ]
    return RuleGroup(name="inference.fleet", rules=rules)
