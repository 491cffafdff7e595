"""Graphs over time as SVG, for dashboards: axes with round figures, lines, a legend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from components.observability.dashboards.panels import Panel
from local.recording.series import Samples

COLOURS: Final = (
    *("#3b6fb5", "#d5852e", "#4f9d5d", "#b5433b", "#7d5ba6", "#2f9c9c"),
    *("#8c6d46", "#c2578f", "#6b7a8f", "#a3a138", "#1f4e79", "#e0a96d"),
)
INK, FAINT, LINE, PAPER, EDGE = "#1c2430", "#66727f", "#e3e8ee", "#ffffff", "#d5dce4"
TITLE, BOTTOM, LEFT, RIGHT = 30, 20, 56, 12
LEGEND_ROW = 16
LETTER = 6.6
"""Width of a letter of the legend, about."""
TICKS = 4


@dataclass(frozen=True)
class Box:
    """Where something is drawn."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Time:
    """What lies along the x axis.

    Attributes:
        step_seconds: between two samples.
        count: of samples.
        marks: seconds at which the load began and ended.
    """

    step_seconds: int
    count: int
    marks: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """From first to last."""
        return self.step_seconds * max(1, self.count - 1)


def text(x: float, y: float, words: str, *, size: int = 11, fill: str = FAINT, more: str = "") -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{more}>{escape(words)}</text>'


def amount(value: float, unit: str) -> str:
    """A figure as people read it, in Grafana's units."""
    if unit == "currencyUSD":
        return f"${value:,.0f}" if value >= 100 else f"${value:,.2f}"  # noqa: PLR2004 - cents no longer matter
    if unit == "s" and 0 < abs(value) < 1:
        return f"{value * 1000:.3g} ms"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    suffix = {"s": " s", "watt": " W", "celsius": " °C", "reqps": " req/s"}.get(unit, "")
    thousands = abs(value) >= 1000  # noqa: PLR2004 - a thousand
    return f"{value / 1000:.3g}k{suffix}" if thousands else f"{value:.3g}{suffix}"


def nice_step(most: float, ticks: int = TICKS) -> float:
    """A round distance between ticks: 1, 2, 2.5 or 5 times a power of ten."""
    if most <= 0:
        return 1.0 / ticks
    rough = most / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)


@dataclass(frozen=True)
class Scale:
    """The y axis: where a value lies, as a share of the height.

    Attributes:
        ticks: values with a line of the grid, the lowest and the highest at the edges.
        logarithmic: shares grow with the logarithm.
    """

    ticks: tuple[float, ...]
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """0 at the bottom, 1 at the top."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            return max(0.0, math.log(max(value, low) / low) / math.log(high / low))
        return (value - low) / (high - low)


def linear(most: float) -> Scale:
    """From zero, in round steps."""
    step = nice_step(most)
    return Scale(tuple(step * tick for tick in range(max(1, math.ceil(most / step - 1e-9)) + 1)))


def powers_of_ten(series: Mapping[str, Samples]) -> Scale:
    """From the power of ten below the least positive sample to the one above the largest."""
    positive = [value for values in series.values() for value in values if value is not None and value > 0]
    low, high = (math.log10(edge(positive, default=1.0)) for edge in (min, max))
    first = math.floor(low)
    return Scale(tuple(10.0**power for power in range(first, max(first + 1, math.ceil(high)) + 1)), logarithmic=True)


def path(values: Samples, box: Box, scale: Scale) -> str:
    """A line through the samples, with gaps where there are none; points on a straight line are left out."""
    parts: list[str] = []
    run: list[tuple[float, float]] = []
    width = box.width / max(1, len(values) - 1)
    for index, value in enumerate([*values, None]):
        if value is not None:
            run.append((box.x + index * width, box.y + box.height * (1 - scale.share(value))))
        elif run:
            parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in _corners(run)))
            run = []
    return "".join(parts)


def _corners(run: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    kept = list(run[:1])
    for before, here, after in zip(run, run[1:], run[2:], strict=False):
        straight = (here[1] - before[1]) * (after[0] - here[0]) - (after[1] - here[1]) * (here[0] - before[0])
        if abs(straight) > 0.05:  # noqa: PLR2004 - far below a pixel
            kept.append(here)
    # A single sample is a dot, drawn as a line without length and with round ends.
    return [*kept, run[-1]]


def frame(box: Box, title: str) -> list[str]:
    """A panel's edge and title."""
    where = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    heading = text(box.x + 12, box.y + 20, title, size=13, fill=INK, more=' font-weight="600"')
    return [f'<rect {where} rx="4" fill="{PAPER}" stroke="{EDGE}"/>', heading]


def highest(series: Mapping[str, Samples]) -> float:
    """The largest sample; 0 if there is none."""
    return max((value for values in series.values() for value in values if value is not None), default=0.0)


def legend_rows(names: Sequence[str], width: float) -> list[list[str]]:
    """Names in rows that fit the width."""
    rows: list[list[str]] = [[]]
    used = 0.0
    for name in names:
        needed = 22 + len(name) * LETTER
        if rows[-1] and used + needed > width:
            rows.append([])
            used = 0.0
        rows[-1].append(name)
        used += needed
    return rows


def graph(box: Box, panel: Panel, series: Mapping[str, Samples], time: Time) -> list[str]:
    """A panel with lines over time."""
    names = [shorten(name, box.width - 46) for name in series]
    rows = legend_rows(names, box.width - 24)
    top, bottom = box.y + TITLE, box.y + box.height - BOTTOM - LEGEND_ROW * len(rows)
    plot = Box(box.x + LEFT, top, box.width - LEFT - RIGHT, bottom - top)
    scale = powers_of_ten(series) if panel.logarithmic else linear(highest(series))
    parts = [*frame(box, panel.title), *_grid(plot, scale, panel.unit), *_minutes(plot, time)]
    for index, values in enumerate(series.values()):
        stroke = f'stroke="{COLOURS[index % len(COLOURS)]}" stroke-width="1.7" stroke-linejoin="round"'
        parts.append(f'<path d="{path(values, plot, scale)}" fill="none" {stroke} stroke-linecap="round"/>')
    return [*parts, *_legend(box, rows)]


def shorten(name: str, width: float) -> str:
    """A name that fits the width."""
    letters = int(width / LETTER)
    stripped = name.strip() or "value"
    return stripped if len(stripped) <= letters else f"{stripped[: letters - 1]}…"


def _grid(plot: Box, scale: Scale, unit: str) -> list[str]:
    parts = []
    for tick in scale.ticks:
        y = plot.y + plot.height * (1 - scale.share(tick))
        parts.append(f'<path d="M{plot.x:.1f} {y:.1f}h{plot.width:.1f}" stroke="{LINE}"/>')
        parts.append(text(plot.x - 6, y + 4, amount(tick, unit), size=10, more=' text-anchor="end"'))
    return parts


def _minutes(plot: Box, time: Time) -> list[str]:
    parts = []
    every = max(1, round(time.seconds / 60 / 6))
    for minute in range(0, int(time.seconds // 60) + 1, every):
        x = plot.x + plot.width * minute * 60 / time.seconds
        label = f"{minute} min" if minute == 0 else str(minute)
        parts.append(text(x, plot.y + plot.height + 14, label, size=10, more=' text-anchor="middle"'))
    for mark in time.marks:
        x = plot.x + plot.width * mark / time.seconds
        line = f'stroke="{FAINT}" stroke-dasharray="2 3"'
        parts.append(f'<path d="M{x:.1f} {plot.y:.1f}v{plot.height:.1f}" {line}/>')
    return parts


def _legend(box: Box, rows: Sequence[Sequence[str]]) -> list[str]:
    parts, index = [], 0
    for number, row in enumerate(rows):
        x, y = box.x + 12, box.y + box.height - LEGEND_ROW * (len(rows) - number) + 6
        for name in row:
            colour = COLOURS[index % len(COLOURS)]
            parts.append(f'<rect x="{x:.1f}" y="{y - 8:.1f}" width="9" height="9" rx="2" fill="{colour}"/>')
            parts.append(text(x + 13, y, name))
            x += 22 + len(name) * LETTER
            index += 1
    return parts


def number(box: Box, panel: Panel, series: Mapping[str, Samples], time: Time) -> list[str]:
    """A panel with the last value, the largest beside it, and the run as a small area."""
    values = next(iter(series.values()), [])
    last = next((value for value in reversed(values) if value is not None), None)
    most = highest(series)
    plot = Box(box.x + 12, box.y + 62, box.width - 24, box.height - 72)
    line = path(values, plot, Scale((0.0, most or 1.0)))
    shown = "no data" if last is None else amount(last, panel.unit)
    parts = [
        *frame(box, panel.title),
        text(box.x + 12, box.y + 52, shown, size=26, fill=COLOURS[0], more=' font-weight="600"'),
        text(box.x + box.width - 12, box.y + 50, f"most: {amount(most, panel.unit)}", more=' text-anchor="end"'),
        f'<path d="{line}" fill="none" stroke="{COLOURS[0]}" stroke-width="1.5" stroke-linejoin="round"/>',
    ]
    for mark in time.marks:
        x = plot.x + plot.width * mark / time.seconds
        dashes = f'stroke="{FAINT}" stroke-dasharray="2 3"'
        parts.append(f'<path d="M{x:.1f} {plot.y:.1f}v{plot.height:.1f}" {dashes}/>')
    return parts
