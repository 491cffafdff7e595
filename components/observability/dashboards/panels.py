"""Panels and dashboards as types, rendered by Grafana's own builders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    GraphGradientMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

DATA_SOURCE: Final = "prometheus"
"""Uid of the data source that kube-prometheus-stack gives to Grafana."""

HEIGHT: Final = 8
WIDTH: Final = 24
"""Of a dashboard, in Grafana's grid units."""

STAT_HEIGHT: Final = 4
LOGARITHM: Final = 10
"""Base of logarithmic axes."""


@dataclass(frozen=True)
class Query:
    """A query and how its series are called.

    Attributes:
        expr: PromQL; `$namespace`, `$model` and `$node` are the dashboard's variables.
        legend: Grafana's template, e.g. ``{{inference_model}}``.
    """

    expr: str
    legend: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A graph over time, or one number.

    Attributes:
        title: what is shown.
        queries: whose series are drawn.
        unit: Grafana's id of the unit.
        description: what it means and what is normal.
        width: of 24.
        number: show the last value large, not a graph.
        logarithmic: the axis is; for what starts a thousand times larger than it ends.
    """

    title: str
    queries: Sequence[Query]
    unit: str
    description: str
    width: int = 8
    number: bool = False
    logarithmic: bool = False


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A dashboard.

    Attributes:
        key: part of its uid and of object names.
        title: for people.
        description: the question that it answers.
        panels: from left to right, top to bottom.
        variables: name and PromQL `label_values(...)` of what can be chosen.
    """

    key: str
    title: str
    description: str
    panels: Sequence[Panel]
    variables: Sequence[tuple[str, str]]

    def to_json(self) -> str:
        """As Grafana loads it."""
        built = (
            dashboard.Dashboard(self.title)
            .uid(f"inference-{self.key}")
            .description(self.description)
            .tags(["inference-platform"])
            .time("now-1h", "now")
            .refresh("30s")
            .timezone("browser")
            .editable()
        )
        for name, query in self.variables:
            built = built.with_variable(
                dashboard.QueryVariable(name)
                .query(query)
                .datasource(_source())
                .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            )
        for item in self.panels:
            built = built.with_panel(_number(item) if item.number else _graph(item))
        text: str = JSONEncoder(sort_keys=True, indent=2).encode(built.build())
        return text


def _source() -> DataSourceRef:
    return DataSourceRef(type_val="prometheus", uid=DATA_SOURCE)


def _targets(item: Panel) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + index))
        for index, query in enumerate(item.queries)
    ]


def _graph(item: Panel) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(item.title)
        .description(item.description)
        .unit(item.unit)
        .span(item.width)
        .height(HEIGHT)
        .line_width(2)
        .fill_opacity(8)
        .gradient_mode(GraphGradientMode.OPACITY)
        .datasource(_source())
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if item.logarithmic:
        panel = panel.scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(LOGARITHM))
    else:
        panel = panel.min(0)
    for target in _targets(item):
        panel = panel.with_target(target)
    return panel


def _number(item: Panel) -> stats.Panel:
    panel = (
        stats.Panel()
        .title(item.title)
        .description(item.description)
        .unit(item.unit)
        .span(item.width)
        .height(STAT_HEIGHT)
        .graph_mode(BigValueGraphMode.AREA)
        .datasource(_source())
    )
    for target in _targets(item):
        panel = panel.with_target(target)
    return panel
