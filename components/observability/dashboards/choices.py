"""What can be chosen at the top of a dashboard.

Routers are there at zero engines too. One that all models share is no model's: there the engines say which there are,
of which each model then keeps one at least.
"""

from __future__ import annotations

from typing import Final

from components.observability.dashboards.panels import Query

NAMESPACE: Final = ("namespace", 'label_values(up{inference_component="router"}, namespace)')
MODEL: Final = (
    "model",
    'label_values(up{inference_component=~"router|engine",namespace="$namespace"}, inference_model)',
)
NODE: Final = ("node", 'label_values(kube_node_labels{label_inference_platform_node_pool!~"|system"}, node)')

IN_NAMESPACE: Final = 'namespace="$namespace"'
OF_MODEL: Final = f'{IN_NAMESPACE},inference_model="$model"'
BY_MODEL: Final = "{{inference_model}}"


def quantiles(record: str, selector: str) -> list[Query]:
    """p50, p95 and p99 of a recorded histogram."""
    return [
        Query(f'{record}:quantile_rate5m{{{selector},quantile="{quantile}"}}', f"p{float(quantile) * 100:g}")
        for quantile in ("0.5", "0.95", "0.99")
    ]
