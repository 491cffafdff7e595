"""Pictures of the dashboards, drawn from what Prometheus answered to their queries in a recorded run.

There is no Grafana here: these are not screenshots. Layout, titles, queries, units and legends are the dashboards' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from components.observability.dashboards import all_dashboards
from components.observability.dashboards.panels import HEIGHT, STAT_HEIGHT, WIDTH, Dashboard, Panel
from local.recording.graph import FAINT, INK, Box, Time, graph, number, text
from local.recording.record import Answers

COLUMN: Final = 52
ROW: Final = 27
GAP: Final = 6
MARGIN: Final = 16
HEAD: Final = 70
BACKGROUND: Final = "#f3f6fa"
CAPTION: Final = (
    "Drawn from the answers to this dashboard's queries in a recorded run on the embedded cluster; not a screenshot of "
    "Grafana."
)
SIMULATED: Final = "GPUs and engines are simulated. Dashed lines: the load begins and ends. Time in minutes."


def draw_all(answers: Answers) -> dict[str, str]:
    """Every dashboard as SVG, by file name."""
    return {f"dashboard-{dashboard.key}.svg": draw(dashboard, answers) for dashboard in all_dashboards()}


def draw(dashboard: Dashboard, answers: Answers) -> str:
    """One dashboard as SVG.

    Args:
        dashboard: what is shown, and where.
        answers: to its queries.

    Raises:
        KeyError: the recorded run is older than the dashboard, and lacks a panel: record anew.
    """
    shown = answers.panels[dashboard.key]
    marks = (answers.about["load_began_s"], answers.about["load_ended_s"])
    time = Time(answers.step_seconds, answers.count, marks)
    places = layout(dashboard.panels)
    width = WIDTH * COLUMN + 2 * MARGIN
    height = round(max(box.y + box.height for box in places) + MARGIN)
    parts = [
        f'<rect width="{width}" height="{height}" fill="{BACKGROUND}"/>',
        text(MARGIN, 28, heading(dashboard, answers), size=18, fill=INK, more=' font-weight="600"'),
        text(MARGIN, 46, CAPTION, size=11, fill=FAINT),
        text(MARGIN, 61, SIMULATED, size=11, fill=FAINT),
    ]
    for panel, box in zip(dashboard.panels, places, strict=True):
        part = number if panel.number else graph
        parts += part(box, panel, shown[panel.title], time)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    label = f'role="img" aria-label="{escape(dashboard.title)}" font-family="Inter, Helvetica, Arial, sans-serif"'
    return f"{head} {label}>\n" + "\n".join(parts) + "\n</svg>\n"


def heading(dashboard: Dashboard, answers: Answers) -> str:
    """Title and what was chosen at the top of the dashboard."""
    chosen = ", ".join(f"{name} = {answers.about[name]}" for name, _ in dashboard.variables)
    return f"{dashboard.title} ({chosen})"


def layout(panels: Sequence[Panel]) -> list[Box]:
    """Panels from left to right, top to bottom, as Grafana's builder places them."""
    boxes, x, y, row = [], 0, 0, 0
    for panel in panels:
        height = STAT_HEIGHT if panel.number else HEIGHT
        if x + panel.width > WIDTH:
            x, y, row = 0, y + row, 0
        left, top = MARGIN + x * COLUMN, HEAD + y * ROW
        boxes.append(Box(left + GAP / 2, top + GAP / 2, panel.width * COLUMN - GAP, height * ROW - GAP))
        x, row = x + panel.width, max(row, height)
    return boxes
