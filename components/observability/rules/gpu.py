"""What GPUs do, from NVIDIA's DCGM exporter; no data where there is none.

The exporter's series carry the namespace and pod that use a GPU. With time-slicing it names one of several pods
(NVIDIA/dcgm-exporter issues 151, 201, 587): shares are then to be read per GPU, not per model.
"""

from __future__ import annotations

from components.observability.objects import RecordingRule, RuleGroup
from components.observability.rules.serving import BY_MODEL, of_engine_pods

PERCENT = 100
MIB = 1024 * 1024


def gpu_rules(namespace: str) -> RuleGroup:
    """Per GPU, and per model as far as its pods are known."""
    used, free = (f"DCGM_FI_DEV_FB_{part}" for part in ("USED", "FREE"))
    utilisation = of_engine_pods(f'DCGM_FI_DEV_GPU_UTIL{{namespace="{namespace}"}}', namespace)
    memory = of_engine_pods(f'{used}{{namespace="{namespace}"}}', namespace)
    return RuleGroup(
        name="inference.gpu",
        rules=[
            RecordingRule(
                record="inference:gpu_utilisation:avg", expr=f"avg by ({BY_MODEL}) ({utilisation}) / {PERCENT}"
            ),
            RecordingRule(record="inference:gpu_memory_used_bytes:sum", expr=f"sum by ({BY_MODEL}) ({memory}) * {MIB}"),
            RecordingRule(
                record="inference:gpu_node_utilisation:avg",
                expr=f"avg by (node,gpu,pod) (DCGM_FI_DEV_GPU_UTIL) / {PERCENT}",
            ),
            RecordingRule(
                record="inference:gpu_node_memory_used:ratio",
                expr=f"avg by (node,gpu,pod) ({used} / ({used} + {free}))",
            ),
        ],
    )
