"""Which series and queries are worth keeping: those that our rules and dashboards read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from components.observability.dashboards import all_dashboards
from components.observability.dashboards.panels import Dashboard, Panel, Query
from components.observability.delivery import rule_groups
from components.observability.objects import EnvironmentFacts

_RAW: Final = re.compile(r"\b(?:vllm:|kube_|keda_|interceptor_|DCGM_FI_)[A-Za-z0-9_:]+|\bup(?=\{)")


def raw_series(facts: EnvironmentFacts) -> list[str]:
    """Names of all series that a rule, a panel or a dashboard's choice reads and that no rule has recorded."""
    texts = [rule.expr for groups in rule_groups(facts).values() for group in groups for rule in group.rules]
    texts += [query.expr for _, _, query in panel_queries()]
    texts += [query for dashboard in all_dashboards() for _, query in dashboard.variables]
    return sorted({name for text in texts for name in _RAW.findall(text)})


def panel_queries() -> Iterator[tuple[Dashboard, Panel, Query]]:
    """Every query of every panel."""
    for dashboard in all_dashboards():
        for panel in dashboard.panels:
            for query in panel.queries:
                yield dashboard, panel, query


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What is chosen at the top of the dashboards."""

    namespace: str
    model: str
    node: str

    def fill(self, expr: str) -> str:
        """A panel's query, as Grafana would send it."""
        return expr.replace("$namespace", self.namespace).replace("$model", self.model).replace("$node", self.node)


def legend(template: str, metric: Mapping[str, str]) -> str:
    """A series' name in the legend, as Grafana makes it of a template."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: metric.get(found[1], ""), template).strip()
