"""docs/plan-accuracy.md: how far the latency formula is from measurements, for every model, GPU and engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.fit import Row
    from planner.latency import Constants

HEAD = """# How accurate the plan's latencies are

Written by `python -m planner.fit` from {count} measured rows (`measured.csv`, a part of AIConfigurator's
`silicon_sample.csv`, Apache-2.0, NVIDIA, 2026-04); a test keeps this page fresh. {unknown} further rows are of models
without a sizing rule here (Qwen3.5 with linear attention, GLM-5 with sparse attention). `planner/fit.py` says which
rows the constants are fitted to: half of the rows of vLLM with five models. All figures below are from rows that were
**not used for fitting**, unless a line says otherwise. MAPE is the mean of |predicted / measured - 1|.

TTFT is that of a request which does not wait; it is compared where at most {low} requests run. Under load TTFT is
queueing, and a static formula is off by factors (300 to 650 % in published comparisons): simulate it instead.
SGLang and TensorRT-LLM are predicted with vLLM's constants: their lines say how far that carries.
"""


def write_report(path: Path, rows: Sequence[Row], fitted: Constants, unknown: int) -> None:
    """Write the page."""
    path.write_text(report(rows, fitted, unknown), encoding="utf-8")


def report(rows: Sequence[Row], fitted: Constants, unknown: int) -> str:
    """The page as Markdown."""
    from planner.fit import FEW_REQUESTS

    test = [row for row in rows if not row.for_fitting]
    parts = [HEAD.format(count=len(rows), unknown=unknown, low=FEW_REQUESTS)]
    parts.append("## Summary: TPOT of dense models on vLLM\n\n" + _table(_summary(rows, fitted)))
    parts.append("## Left out whole\n\nConstants fitted again without any row of it.\n\n" + _table(_left_out(rows)))
    lines: list[tuple[str, ...]] = [("model", "GPU", "engine", "rows", "TPOT MAPE", "p90", "bias", "TTFT MAPE (rows)")]
    groups: defaultdict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in test:
        note = " (other harness)" if row.other_harness else ""
        groups[row.model.key + note, row.gpu.key, row.engine].append(row)
    lines += [(*key, *_figures(group, fitted)) for key, group in sorted(groups.items())]
    parts.append("## Every model, GPU and engine\n\n" + _table(lines))
    return "\n".join(parts)


def _summary(rows: Sequence[Row], fitted: Constants) -> list[tuple[str, ...]]:
    dense = [row for row in rows if row.engine == "vllm" and not row.model.experts]
    test = [row for row in dense if not row.for_fitting]
    return [
        ("rows", "count", "MAPE", "p90"),
        ("not used for fitting", *_short([row for row in test if not row.other_harness], fitted)),
        ("the same with the 14 dense rows of another harness", *_short(test, fitted)),
        ("used for fitting", *_short([row for row in dense if row.for_fitting], fitted)),
    ]


def _left_out(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    from planner.fit import fit_all

    lines: list[tuple[str, ...]] = [("left out", "rows", "MAPE", "p90")]
    usable = [row for row in rows if row.engine == "vllm" and not row.other_harness]
    choices: tuple[tuple[str, Callable[[Row], str]], ...] = (
        ("model", lambda row: row.model.key),
        ("GPU", lambda row: row.gpu.key),
    )
    for what, of in choices:
        for value in sorted({of(row) for row in usable}):
            own = [row for row in usable if of(row) == value]
            rest = [row for row in usable if of(row) != value]
            for label, experts in (("dense", False), ("experts", True)):
                tested = [row for row in own if bool(row.model.experts) is experts]
                if tested and any(row.for_fitting for row in rest if bool(row.model.experts) is experts):
                    lines.append((f"{what} {value} ({label})", *_short(tested, fit_all(rest))))
    return lines


def _short(rows: Sequence[Row], fitted: Constants) -> tuple[str, ...]:
    from planner.fit import errors, percentile

    found = errors(rows, fitted)
    return str(len(rows)), _percent(sum(found) / len(found)), _percent(percentile(found, 0.9))


def _figures(rows: Sequence[Row], fitted: Constants) -> tuple[str, ...]:
    from planner.fit import FEW_REQUESTS, predicted

    pairs = [(row, *predicted(row, fitted)) for row in rows]
    bias = sum(tpot / row.tpot_ms - 1 for row, tpot, _ in pairs) / len(pairs)
    first = [abs(ttft / row.ttft_ms - 1) for row, _, ttft in pairs if row.concurrency <= FEW_REQUESTS]
    shown = f"{_percent(sum(first) / len(first))} ({len(first)})" if first else "-"
    return (*_short(rows, fitted), f"{bias * 100:+.0f} %", shown)


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _table(lines: Iterable[tuple[str, ...]]) -> str:
    head, *rest = lines
    rule = tuple("---" for _ in head)
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *rest))
