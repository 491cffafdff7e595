"""One GPU node: what runs on it, how busy and how well it is."""

from __future__ import annotations

from typing import Final

from components.observability.dashboards.choices import NODE
from components.observability.dashboards.panels import Dashboard, Panel, Query

ON_NODE: Final = 'node="$node"'
BY_GPU: Final = "GPU {{gpu}} {{pod}}"
BY_POD: Final = "{{pod}}"

GPU_NODE: Final = Dashboard(
    key="gpu-node",
    title="Inference: GPU node",
    description="The GPUs of one node and the engines on it.",
    variables=(NODE,),
    panels=(
        Panel(
            title="GPU utilisation",
            queries=[Query(f"inference:gpu_node_utilisation:avg{{{ON_NODE}}}", BY_GPU)],
            unit="percentunit",
            description="Share of time in which a kernel ran; says nothing of how much of the GPU it used.",
            width=12,
        ),
        Panel(
            title="GPU memory",
            queries=[Query(f"inference:gpu_node_memory_used:ratio{{{ON_NODE}}}", BY_GPU)],
            unit="percentunit",
            description="vLLM takes its share at the start and keeps it: flat is normal.",
            width=12,
        ),
        Panel(
            title="Last XID",
            queries=[Query(f"max by (gpu,pod) (DCGM_FI_DEV_XID_ERRORS{{{ON_NODE}}})", BY_GPU)],
            unit="short",
            description="0: none. Others: see the runbook.",
        ),
        Panel(
            title="Running requests",
            queries=[Query(f"sum by (pod) (vllm:num_requests_running{{{ON_NODE}}})", BY_POD)],
            unit="short",
            description="In the batch of each engine.",
        ),
        Panel(
            title="KV cache",
            queries=[Query(f"max by (pod) (vllm:kv_cache_usage_perc{{{ON_NODE}}})", BY_POD)],
            unit="percentunit",
            description="Of each engine.",
        ),
        Panel(
            title="Power",
            queries=[Query(f"max by (gpu,pod) (DCGM_FI_DEV_POWER_USAGE{{{ON_NODE}}})", BY_GPU)],
            unit="watt",
            description="What the board draws. Simulated GPUs: a formula, see docs/observability.md.",
            width=12,
        ),
        Panel(
            title="Temperature",
            queries=[Query(f"max by (gpu,pod) (DCGM_FI_DEV_GPU_TEMP{{{ON_NODE}}})", BY_GPU)],
            unit="celsius",
            description="Of the chip; too hot, it slows itself down. Simulated GPUs: a formula.",
            width=12,
        ),
    ),
)
