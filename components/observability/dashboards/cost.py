"""Cost: what it costs, what of it does nothing, and what a token costs."""

from __future__ import annotations

from typing import Final

from components.observability.dashboards.choices import BY_MODEL, IN_NAMESPACE, NAMESPACE
from components.observability.dashboards.panels import Dashboard, Panel, Query

PER_MILLION: Final = "inference:cost_dollars_per_million_tokens"

COST: Final = Dashboard(
    key="cost",
    title="Inference: cost",
    description="At the plan's list prices; a bill has discounts, storage and traffic too.",
    variables=(NAMESPACE,),
    panels=(
        Panel(
            title="Nodes",
            queries=[Query(f"sum(inference:pool_cost_dollars_per_hour{{{IN_NAMESPACE}}})", "per hour")],
            unit="currencyUSD",
            description="All nodes of the GPU pools, dollars per hour.",
            number=True,
        ),
        Panel(
            title="Idle",
            queries=[Query(f"sum(inference:idle_cost_dollars_per_hour{{{IN_NAMESPACE}}})", "per hour")],
            unit="currencyUSD",
            description="GPUs that no engine holds, dollars per hour.",
            number=True,
        ),
        Panel(
            title="Saved by scaling to zero",
            queries=[
                Query(f"sum(inference:scale_to_zero_savings_dollars_per_hour{{{IN_NAMESPACE}}})", "per hour"),
            ],
            unit="currencyUSD",
            description="Against one replica of each model that is always on; saved once its node goes too.",
            number=True,
        ),
        Panel(
            title="Cost by model",
            queries=[Query(f"inference:model_cost_dollars_per_hour{{{IN_NAMESPACE}}}", BY_MODEL)],
            unit="currencyUSD",
            description="Engines on nodes times their share of the GPUs, dollars per hour.",
            width=12,
        ),
        Panel(
            title="Cost by pool",
            queries=[
                Query(f"inference:pool_cost_dollars_per_hour{{{IN_NAMESPACE}}}", "{{node_pool}}"),
                Query(f"inference:idle_cost_dollars_per_hour{{{IN_NAMESPACE}}}", "{{node_pool}} idle"),
            ],
            unit="currencyUSD",
            description="Nodes, and what of them no engine holds, dollars per hour.",
            width=12,
        ),
        Panel(
            title="Per million output tokens",
            queries=[Query(f'{PER_MILLION}:1h{{{IN_NAMESPACE},tokens="output"}}', BY_MODEL)],
            unit="currencyUSD",
            description="Last hour; an input token counts as a quarter of an output token.",
            logarithmic=True,
            width=12,
        ),
        Panel(
            title="Per million tokens, input and output alike",
            queries=[Query(f'{PER_MILLION}:1h{{{IN_NAMESPACE},tokens="all"}}', BY_MODEL)],
            unit="currencyUSD",
            description="Last hour.",
            logarithmic=True,
            width=12,
        ),
    ),
)
