"""Grafana dashboards: what is asked most, each on one page. JSON is generated from these, never edited."""

from __future__ import annotations

from components.observability.dashboards.autoscaling import AUTOSCALING
from components.observability.dashboards.cost import COST
from components.observability.dashboards.fleet import FLEET
from components.observability.dashboards.gpu_node import GPU_NODE
from components.observability.dashboards.model import MODEL
from components.observability.dashboards.panels import Dashboard


def all_dashboards() -> tuple[Dashboard, ...]:
    """Every dashboard."""
    return FLEET, MODEL, GPU_NODE, COST, AUTOSCALING
