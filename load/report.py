"""Sums up what happened: figures for machines (one JSON object) and a table for people. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from load.replay import Outcome
from load.stats import Spread, spread_ms

_LAG_WORTH_A_WORD_MS = 50.0


@dataclass(slots=True)
class Run:
    """What a replay left behind.

    Attributes:
        outcomes: of the requests that ended.
        duration: seconds from the start to the last answer.
        speed_up: what the trace's times were divided by.
        models: names of the models that were asked.
        aborted: requests that this client gave up (Ctrl-C).
        not_sent: requests of the schedule that were not sent (Ctrl-C).
        clipped: requests whose prompt or answer was made shorter than the trace says.
        replicas: timeline by model, ``[[t, desired, ready], ...]``.
        scaled_by: see :func:`load.scaling.scaled_by`.
        notes: further lines for people.
    """

    outcomes: Sequence[Outcome]
    duration: float
    speed_up: float
    models: Sequence[str]
    aborted: int = 0
    not_sent: int = 0
    clipped: int = 0
    replicas: dict[str, list[list[float]]] = field(default_factory=dict)
    scaled_by: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def figures(outcomes: Sequence[Outcome], duration: float) -> dict[str, Any]:
    """Counts, times and rates of some requests.

    * ``ttft_ms``: from sending to the first chunk with text, streamed answers only;
    * ``itl_ms``: per request, (last chunk - first chunk) / (tokens - 1), as AIPerf defines it;
    * ``longest_gap_ms``: per request, the longest wait between two reads of text: stalls and buffering;
    * ``e2e_ms``: from sending to the end of the answer;
    * ``tokens_per_s``: generated tokens of whole answers over ``duration``;
    * ``send_lag_ms``: how late this client sent, against the recorded time.

    Times of failed requests do not count, but for ``send_lag_ms``.
    """
    good = [outcome for outcome in outcomes if outcome.failure is None]
    tokens = sum(outcome.output_tokens for outcome in good)
    return {
        "requests": len(outcomes),
        "failed": len(outcomes) - len(good),
        "failures": failures(outcomes),
        "ttft_ms": spread_ms(outcome.first_token for outcome in good if outcome.first_token is not None),
        "itl_ms": spread_ms(
            (outcome.last_token - outcome.first_token) / (outcome.output_tokens - 1)
            for outcome in good
            if outcome.first_token is not None and outcome.last_token is not None and outcome.output_tokens > 1
        ),
        "longest_gap_ms": spread_ms(outcome.longest_gap for outcome in good if outcome.chunks > 1),
        "e2e_ms": spread_ms(outcome.finished for outcome in good),
        "tokens_per_s": round(tokens / duration, 3) if duration > 0 else 0.0,
        "output_tokens": tokens,
        "prompt_tokens": sum(outcome.prompt_tokens for outcome in good),
        "send_lag_ms": spread_ms(outcome.lag for outcome in outcomes),
    }


def failures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Failures by cause, the most frequent first: ``{"count": n, "first": what the first one said}``."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.failure is not None:
            counts[outcome.failure.cause] += 1
            first.setdefault(outcome.failure.cause, f"{outcome.model}: {outcome.failure.detail}")
    return {cause: {"count": count, "first": first[cause]} for cause, count in counts.most_common()}


def summarise(run: Run) -> dict[str, Any]:
    """The object of the last line; ``requests`` counts what ended, not what was aborted or never sent."""
    by_model: dict[str, list[Outcome]] = {model: [] for model in run.models}
    for outcome in run.outcomes:
        by_model.setdefault(outcome.model, []).append(outcome)
    return {
        **figures(run.outcomes, run.duration),
        "aborted": run.aborted,
        "not_sent": run.not_sent,
        "clipped": run.clipped,
        "duration_s": round(run.duration, 3),
        "speed_up": run.speed_up,
        "models": {
            model: {
                **figures(outcomes, run.duration),
                "answered_as": dict(Counter(o.answered_as for o in outcomes if o.answered_as is not None)),
            }
            for model, outcomes in by_model.items()
        },
        "replicas": run.replicas,
        "scaled_by": run.scaled_by,
        "simulated": any(outcome.simulated for outcome in run.outcomes),
    }


def last_line(summary: dict[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(summary, allow_nan=False)


def table(summary: dict[str, Any], notes: Sequence[str] = ()) -> RenderableType:
    """The summary as people read it."""
    grid = Table(title="Load", title_justify="left", header_style="bold", row_styles=("",), pad_edge=False)
    grid.add_column("model")
    for heading in (
        "requests",
        "failed",
        "TTFT p50",
        "p95",
        "p99 ms",
        "ITL p50",
        "p95 ms",
        "e2e p50",
        "p95 ms",
        "tokens/s",
        "replicas",
    ):
        grid.add_column(heading, justify="right")
    rows = [*summary["models"].items()]
    if len(rows) != 1:
        rows.append(("all", summary))
    for name, row in rows:
        grid.add_row(
            name,
            str(row["requests"]),
            Text(str(row["failed"]), style="bold red" if row["failed"] else ""),
            *_cells(row["ttft_ms"], "p50", "p95", "p99"),
            *_cells(row["itl_ms"], "p50", "p95", digits=1),
            *_cells(row["e2e_ms"], "p50", "p95"),
            f"{row['tokens_per_s']:,.0f}",
            replicas_cell(summary["replicas"].get(name)),
        )
    lines = [
        *failure_lines(summary["failures"]),
        *scaling_lines(summary["scaled_by"]),
        *_remarks(summary),
        *notes,
    ]
    return Group(grid, *(Text(line) for line in lines))


def replicas_cell(line: Sequence[Sequence[float]] | None) -> str:
    """``first, most, last`` ready replicas of a timeline, such as ``0 → 3 → 0``; empty without one."""
    if not line:
        return ""
    ready = [int(entry[2]) for entry in line]
    return f"{ready[0]} → {max(ready)} → {ready[-1]}"


def failure_lines(causes: dict[str, Any]) -> list[str]:
    """One line for each cause of failure."""
    return [f"failed: {entry['count']} x {cause}; first: {entry['first']}" for cause, entry in causes.items()]


def scaling_lines(scaled_by: dict[str, Any]) -> list[str]:
    """What shows who scaled, a line each."""
    lines = []
    for reason, entry in scaled_by.get("events", {}).items():
        least = "at least " if entry["at_least"] else ""
        example = next(iter(entry["messages"]))
        lines.append(f"event: {least}{entry['count']} x {reason} by {entry['by']}; such as: {example}")
    decided = scaled_by.get("decided", {})
    if decided:
        lines.append("decided: " + ", ".join(f"{count} x {what}" for what, count in decided.items()))
    return lines


def _remarks(summary: dict[str, Any]) -> list[str]:
    remarks = [
        f"{summary['requests']} requests in {summary['duration_s']:.1f} s, "
        f"{summary['output_tokens']:,} tokens, speed-up {summary['speed_up']:g}"
    ]
    if summary["simulated"]:
        remarks.append("simulated: the engines are simulators; their latencies come from a formula, not from a GPU")
    for key, text in (
        ("aborted", "given up by this client"),
        ("not_sent", "of the trace not sent"),
        ("clipped", "with a shorter prompt or answer than the trace says"),
    ):
        if summary[key]:
            remarks.append(f"{summary[key]} requests {text}")
    lag = summary["send_lag_ms"]["p99"]
    if lag is not None and lag > _LAG_WORTH_A_WORD_MS:
        remarks.append(f"this client was late: p99 of {lag:.0f} ms behind the recorded times (busy machine?)")
    return remarks


def _cells(times: Spread, *keys: str, digits: int = 0) -> list[str]:
    values: dict[str, float | None] = dict(times.items())  # type: ignore[arg-type]
    return ["-" if (value := values[key]) is None else f"{value:,.{digits}f}" for key in keys]
