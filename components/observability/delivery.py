"""An environment's rules, alerts and dashboards as objects in its namespace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import ConfigMap
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.labels import EnvironmentLabels
from components.observability.alerts.faults import fault_alerts
from components.observability.alerts.slo import burn_alerts, ratio_rules
from components.observability.dashboards import all_dashboards
from components.observability.objects import EnvironmentFacts, RuleGroup, rule_file
from components.observability.rules.cost import cost_rules
from components.observability.rules.gpu import gpu_rules
from components.observability.rules.serving import fleet_rules, model_rules

RULES_API: Final = "monitoring.coreos.com/v1"
DASHBOARD_LABEL: Final = "grafana_dashboard"
"""Grafana's sidecar loads ConfigMaps with this label, at the value "1" (kube-prometheus-stack's default)."""


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """What is watched.

    Attributes:
        facts: of the environment.
        labels: of the environment.
        rules: the cluster's Prometheus acts on PrometheusRule objects.
    """

    facts: EnvironmentFacts
    labels: EnvironmentLabels
    rules: bool


def rule_groups(facts: EnvironmentFacts) -> dict[str, list[RuleGroup]]:
    """Every group, by the object that it is in."""
    namespace = facts.namespace
    return {
        "serving": [model_rules(namespace), fleet_rules(namespace)],
        "gpu": [gpu_rules(namespace)],
        "cost": [cost_rules(facts)],
        "slo": [ratio_rules(facts), burn_alerts(facts)],
        "faults": [fault_alerts(facts)],
    }


class Monitoring(Component):
    """PrometheusRule objects and the ConfigMaps of the dashboards."""

    def __init__(
        self,
        name: str,
        args: MonitoringArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        super().__init__("observability", name, opts, after)
        namespace = args.labels.namespace
        if args.rules:
            for part, groups in rule_groups(args.facts).items():
                CustomResource(
                    f"{name}-{part}-rules",
                    api_version=RULES_API,
                    kind="PrometheusRule",
                    metadata=ObjectMetaArgs(name=f"inference-{part}", namespace=namespace, labels=args.labels.shared),
                    spec=rule_file(groups, args.facts.runbooks),
                    opts=self.child(),
                )
        for dashboard in all_dashboards():
            ConfigMap(
                f"{name}-{dashboard.key}-dashboard",
                metadata=ObjectMetaArgs(
                    name=f"dashboard-{dashboard.key}",
                    namespace=namespace,
                    labels={**args.labels.shared, DASHBOARD_LABEL: "1"},
                ),
                data={f"inference-{dashboard.key}.json": dashboard.to_json()},
                opts=self.child(),
            )
        self.register_outputs({})
