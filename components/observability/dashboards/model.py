"""One model: does it keep its promises, and what does it wait for?"""

from __future__ import annotations

from typing import Final

from components.observability.dashboards.choices import MODEL as CHOICE
from components.observability.dashboards.choices import NAMESPACE, OF_MODEL, quantiles
from components.observability.dashboards.panels import Dashboard, Panel, Query

MODEL: Final = Dashboard(
    key="model",
    title="Inference: model",
    description="One model deployment: its promises, its load, its engines.",
    variables=(NAMESPACE, CHOICE),
    panels=(
        Panel(
            title="Time to first token",
            queries=quantiles("inference:time_to_first_token_seconds", OF_MODEL),
            unit="s",
            description="At the engine: queue and prefill.",
        ),
        Panel(
            title="Time per output token",
            queries=quantiles("inference:time_per_output_token_seconds", OF_MODEL),
            unit="s",
            description="Mean of each request, after its first token.",
        ),
        Panel(
            title="Bad requests",
            queries=[
                Query(f"inference:bad_requests:ratio_rate1h{{{OF_MODEL}}}", "{{slo}}, 1 h"),
                Query(f"inference:bad_requests:ratio_rate5m{{{OF_MODEL}}}", "{{slo}}, 5 min"),
            ],
            unit="percentunit",
            description="Share that broke a promise. Of first tokens and token times 5 % may; errors: slo.error_ratio.",
        ),
        Panel(
            title="Requests per second",
            queries=[Query(f"inference:responses:rate5m{{{OF_MODEL}}}", "{{code}}")],
            unit="reqps",
            description="Answers as clients get them, by status.",
        ),
        Panel(
            title="Tokens per second",
            queries=[
                Query(f"inference:prompt_tokens:rate5m{{{OF_MODEL}}}", "input"),
                Query(f"inference:generation_tokens:rate5m{{{OF_MODEL}}}", "output"),
            ],
            unit="short",
            description="All its engines.",
        ),
        Panel(
            title="Request duration",
            queries=quantiles("inference:request_duration_seconds", OF_MODEL),
            unit="s",
            description="At the engine, whole answers.",
        ),
        Panel(
            title="Requests in the engines",
            queries=[
                Query(f"inference:requests_running:sum{{{OF_MODEL}}}", "running"),
                Query(f"inference:requests_waiting:sum{{{OF_MODEL}}}", "waiting"),
            ],
            unit="short",
            description="Fewer than slo.queue_per_engine should wait per engine.",
        ),
        Panel(
            title="Time in the queue",
            queries=quantiles("inference:queue_time_seconds", OF_MODEL),
            unit="s",
            description="Before an engine begins with a request.",
        ),
        Panel(
            title="KV cache",
            queries=[
                Query(f"inference:kv_cache_usage:max{{{OF_MODEL}}}", "fullest engine"),
                Query(f"inference:kv_cache_usage:avg{{{OF_MODEL}}}", "mean"),
            ],
            unit="percentunit",
            description="Above slo.kv_cache_usage requests are soon preempted, and it is an alert.",
        ),
        Panel(
            title="Prefix cache hits",
            queries=[Query(f"inference:prefix_cache_hits:ratio_rate5m{{{OF_MODEL}}}", "hits")],
            unit="percentunit",
            description="Share of prompt tokens that need no prefill.",
        ),
        Panel(
            title="Engines",
            queries=[
                Query(f"inference:engines:count{{{OF_MODEL}}}", "on a node"),
                Query(f"inference:engines_ready:sum{{{OF_MODEL}}}", "ready"),
            ],
            unit="short",
            description="The difference loads, or ends.",
        ),
        Panel(
            title="GPU",
            queries=[Query(f"inference:gpu_utilisation:avg{{{OF_MODEL}}}", "utilisation")],
            unit="percentunit",
            description="Of the GPUs that its engines hold.",
        ),
        Panel(
            title="Lengths",
            queries=[
                Query(f"inference:prompt_length_tokens:mean_rate5m{{{OF_MODEL}}}", "input"),
                Query(f"inference:output_length_tokens:mean_rate5m{{{OF_MODEL}}}", "output"),
            ],
            unit="short",
            description="Mean tokens per request.",
        ),
        Panel(
            title="Cost per million output tokens",
            queries=[
                Query(
                    f'inference:cost_dollars_per_million_tokens:{window}{{{OF_MODEL},tokens="output"}}',
                    window,
                )
                for window in ("5m", "1h", "1d")
            ],
            unit="currencyUSD",
            description="Its engines' share of the nodes at the plan's prices, over the output tokens of the window.",
            logarithmic=True,
        ),
    ),
)
