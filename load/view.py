"""Progress while a load runs: a live table on a terminal, a line every five seconds elsewhere.

The pure parts (sparkline, table, line) take the state and give text; ``show`` alone touches the terminal.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from load.replay import Progress
from load.replicas import Change
from load.stats import MILLISECONDS, percentile

BARS: Final = " ▁▂▃▄▅▆▇█"
LINE_SECONDS: Final = 5.0
REFRESH_SECONDS: Final = 0.5
_RATE_SECONDS: Final = 5.0
_WIDTH: Final = 40


def sparkline(values: Sequence[float]) -> str:
    """One character for each value; the highest value fills its cell, zero is blank."""
    top = max(values, default=0)
    if top <= 0:
        return BARS[0] * len(values)
    steps = len(BARS) - 1
    # Anything above zero shows at least the lowest bar: one replica is not none.
    return "".join(BARS[0] if value <= 0 else BARS[max(1, round(value / top * steps))] for value in values)


def resample(points: Sequence[tuple[float, float]], start: float, end: float, width: int) -> list[float]:
    """A step function as ``width`` values over ``start`` to ``end``: the highest value within each slice.

    Args:
        points: ``(time, value from then on)``, ascending; the value is 0 before the first.
        start: beginning of the first slice.
        end: end of the last slice.
        width: number of slices.
    """
    if end <= start:
        return [0.0] * width
    values, index, current = [], 0, 0.0
    for slice_number in range(width):
        until = start + (end - start) * (slice_number + 1) / width
        highest = current
        while index < len(points) and points[index][0] < until:
            current = points[index][1]
            # What held before the window began is its first value, not a peak in it.
            highest = current if points[index][0] <= start else max(highest, current)
            index += 1
        values.append(highest)
    return values


class Rates:
    """Chunks per second of each model over the last five seconds."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[float, int]]] = {}

    def sample(self, progress: Mapping[str, Progress], now: float) -> dict[str, float]:
        """Note the counts at ``now`` (clock) and give the rates."""
        rates = {}
        for model, counts in progress.items():
            samples = self._samples.setdefault(model, deque())
            samples.append((now, counts.chunks))
            while len(samples) > 2 and samples[1][0] <= now - _RATE_SECONDS:  # noqa: PLR2004 - both ends
                samples.popleft()
            seconds = now - samples[0][0]
            rates[model] = (counts.chunks - samples[0][1]) / seconds if seconds > 0 else 0.0
        return rates


def live_table(
    progress: Mapping[str, Progress],
    rates: Mapping[str, float],
    changes: Sequence[Change] | None,
    started: float,
    now: float,
) -> Table:
    """The state as a table, one row per model; ``changes`` is ``None`` when no cluster is watched."""
    grid = Table(title=f"{now - started:6.1f} s", title_justify="left", header_style="bold", pad_edge=False)
    grid.add_column("model")
    for heading in ("sent", "in flight", "done", "failed", "TTFT p50", "p95 ms", "chunks/s"):
        grid.add_column(heading, justify="right")
    if changes is not None:
        grid.add_column("replicas ready/wanted", justify="right")
        grid.add_column("ready over time", min_width=_WIDTH, no_wrap=True)
    for model, counts in progress.items():
        row = [
            model,
            str(counts.sent),
            str(counts.in_flight),
            str(counts.done),
            f"[bold red]{counts.failed}[/]" if counts.failed else "0",
            *_first_tokens(counts),
            f"{rates.get(model, 0.0):,.0f}",
        ]
        if changes is not None:
            own = [change for change in changes if change.model == model]
            points = [(change.at, float(change.ready)) for change in own]
            row += [_ready_of_wanted(own), sparkline(resample(points, started, now, _WIDTH))]
        grid.add_row(*row)
    return grid


def progress_line(
    progress: Mapping[str, Progress],
    rates: Mapping[str, float],
    changes: Sequence[Change] | None,
    seconds: float,
) -> str:
    """The state as one line of plain text."""
    parts = []
    for model, counts in progress.items():
        p50, p95 = _first_tokens(counts)
        part = (
            f"{model}: {counts.sent} sent, {counts.in_flight} in flight, {counts.done} done, "
            f"{counts.failed} failed, TTFT p50 {p50} p95 {p95} ms, {rates.get(model, 0.0):.0f} chunks/s"
        )
        if changes is not None:
            own = [change for change in changes if change.model == model]
            part += f", {_ready_of_wanted(own)} replicas ready"
        parts.append(part)
    return f"{seconds:6.1f} s  " + " | ".join(parts)


async def show(
    console: Console,
    progress: Mapping[str, Progress],
    changes: Sequence[Change] | None,
    started: Callable[[], float],
) -> None:
    """Keep showing the state until cancelled.

    Args:
        console: where to; a terminal gets a live table, anything else a line every five seconds.
        progress: live counts by model.
        changes: the growing list of replica changes, ``None`` when no cluster is watched.
        started: clock at the start of the replay, 0 while it has not begun.
    """
    rates = Rates()
    if not console.is_terminal:
        rates.sample(progress, time.monotonic())
        while True:
            await asyncio.sleep(LINE_SECONDS)
            now = time.monotonic()
            line = progress_line(progress, rates.sample(progress, now), changes, now - (started() or now))
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    with Live(console=console, auto_refresh=False) as live:

        def refresh() -> None:
            now = time.monotonic()
            rows = rates.sample(progress, now)
            live.update(live_table(progress, rows, changes, started() or now, now), refresh=True)

        try:
            while True:
                refresh()
                await asyncio.sleep(REFRESH_SECONDS)
        finally:
            refresh()


def _first_tokens(counts: Progress) -> tuple[str, str]:
    ordered = sorted(counts.recent_first_tokens)
    if not ordered:
        return "-", "-"
    return f"{percentile(ordered, 50) * MILLISECONDS:.0f}", f"{percentile(ordered, 95) * MILLISECONDS:.0f}"


def _ready_of_wanted(own: Sequence[Change]) -> str:
    return f"{own[-1].ready}/{own[-1].desired}" if own else "?"
