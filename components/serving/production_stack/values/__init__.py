"""The values of the chart vllm-stack 0.1.12 as types: the whole chart, unknown keys refused.

The chart itself accepts any key in silence. Field by field from its values.yaml, values.schema.json and templates
(vllm-project/production-stack@a6c01db, helm/).
"""

from __future__ import annotations

from components.serving.production_stack.values.chart import ChartValues

__all__ = ["ChartValues"]
