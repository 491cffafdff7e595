"""What watches the environment, as far as it is installed with it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from stacks.config.base import Strictly
from stacks.config.models_secrets import ObjectName


class PrometheusKind(StrEnum):
    """Who collects metrics."""

    IN_CLUSTER = "in-cluster"
    MANAGED = "managed"


class Observability(Strictly):
    """Prometheus and Grafana, where the cluster does not bring them."""

    prometheus: PrometheusKind = Field(
        default=PrometheusKind.IN_CLUSTER,
        description="Who collects: a Prometheus in the cluster, or the cloud's managed service (not built yet).",
    )
    grafana_admin_secret: ObjectName | None = Field(
        default=None,
        description="One of `secrets`, with the keys admin-user and admin-password: Grafana's administrator. It is "
        "made in the namespace `monitoring` instead of the environment's.",
        json_schema_extra={"default_text": "the chart makes one, with a random password"},
    )
