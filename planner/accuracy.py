"""docs/plan-accuracy.md: how far the latency formula is from measurements, for every model, GPU and engine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from planner.measured import ELSEWHERE_SOURCE, Row

if TYPE_CHECKING:
    from planner.fit import Fitted

HEAD = """# How accurate the plan's latencies are

Written by `python -m planner.fit` from {distinct} distinct measured rows (`measured.csv`, a part of AIConfigurator's
`silicon_sample.csv`, Apache-2.0, NVIDIA, 2026-04; its other rows repeat one of these); a test keeps this page fresh.
Every model of the file has its architecture in the catalogue. MAPE is the mean of |predicted / measured - 1|, p90 what
90 % of the rows stay below, bias the mean of predicted / measured - 1.

**No figure here is of rows that were used for fitting**, unless a line says so: "model unseen" means constants fitted
again without any row of that model on any engine and GPU, "GPU unseen" and "engine unseen" likewise. The band that the
plan prints with a latency is the p90 with the model unseen, of the same engine, kind of model (dense, mixture of
experts, multi-latent attention) and GPU; a GPU without rows has the worst band of the GPUs with rows, each unseen, at
least that of the public measurements on an L40S below, and the label "estimate".
"""

DOUBTS = """## Rows that the constants are not fitted to

`planner/measured.py` says how these are recognized, by rules that know nothing of the formula. They are held against it
all the same: the columns "all rows" below have them.
"""

TWINS = """## What the rows cannot tell

Where the file has the same model, GPU, engine, precision, lengths, parallelism and number of requests more than once,
the measurements themselves differ by this much: an option that the file does not name (speculative decoding, kernels,
versions). No formula of these columns can do better on them.
"""

FIRST = """TTFT is that of a request which does not wait; it is compared where at most 4 requests run and did not start
together. Under load TTFT is queueing, and a static formula is off by factors (300 to 650 % in published comparisons):
simulate it instead.
"""


ELSEWHERE_HEAD = """## A GPU of which the file has no row

{source}. Nothing of it was used for fitting.
"""


@dataclass(frozen=True)
class LeftOut:
    """Constants fitted to all rows, and again without each model, GPU and engine."""

    used: Fitted
    model: Mapping[str, Fitted]
    gpu: Mapping[str, Fitted]
    engine: Mapping[str, Fitted]


Choice = Callable[[Row], "Fitted"]


def write_report(path: Path, rows: Sequence[Row], left_out: LeftOut) -> None:
    """Write the page."""
    path.write_text(report(rows, left_out), encoding="utf-8")


def report(rows: Sequence[Row], left_out: LeftOut) -> str:
    """The page as Markdown."""
    doubts = Counter(row.doubt for row in rows if row.doubt)
    counted = [("why", "rows"), *((name, str(number)) for name, number in sorted(doubts.items()))]
    return "\n".join(
        (
            HEAD.format(distinct=len(rows)),
            "## TPOT of dense models on vLLM\n\n" + _table(_summary(rows, left_out)),
            DOUBTS + "\n" + _table(counted),
            "## Left out whole: TPOT\n\n" + _table(_left_out(rows, left_out)),
            "## Every model, GPU and engine\n\n" + FIRST + "\n" + _table(_each(rows, left_out)),
            ELSEWHERE_HEAD.format(source=ELSEWHERE_SOURCE) + "\n" + _table(_elsewhere(left_out.used)),
            TWINS + "\n" + _table(_twins(rows)),
        )
    )


def _unseen(left_out: LeftOut) -> Choice:
    return lambda row: left_out.model[row.model.key]


def _elsewhere(fitted: Fitted) -> list[tuple[str, ...]]:
    from planner.measured import elsewhere_rows

    lines: list[tuple[str, ...]] = [("weights", "requests", "measured ms", "predicted ms", "error")]
    rows = elsewhere_rows()
    for row in rows:
        ratio = _ratio(row, _always(fitted))
        figures = f"{row.tpot_ms:.2f}", f"{row.tpot_ms * ratio:.2f}", f"{(ratio - 1) * 100:+.1f} %"
        lines.append((row.quantization or "bf16", f"{row.concurrency:.0f}", *figures))
    count, mean, p90 = _short(rows, _always(fitted))
    lines.append((f"MAPE of {count}", "", "", "", f"{mean}, p90 {p90}"))
    return lines


def _always(fitted: Fitted) -> Choice:
    return lambda _: fitted


def _summary(rows: Sequence[Row], left_out: LeftOut) -> list[tuple[str, ...]]:
    dense = [row for row in rows if row.engine == "vllm" and not row.model.experts]
    prompts = [row for row in dense if row.cached]
    computed = [replace(row, cached=0.0) for row in prompts]
    own = [row for row in dense if not row.doubt]
    beaten = sum(row.bound_ms() > row.tpot_ms for row in prompts)
    unseen = _unseen(left_out)
    return [
        ("rows", "count", "MAPE", "p90"),
        ("all, model unseen", *_short(dense, unseen)),
        ("those without doubt, model unseen", *_short(own, unseen)),
        ("those without doubt, GPU unseen", *_short(own, lambda row: left_out.gpu[row.gpu.key])),
        ("those without doubt, engine unseen", *_short(own, lambda row: left_out.engine[row.engine])),
        ("those without doubt, used for fitting", *_short(own, _always(left_out.used))),
        ("the other harness, prompts taken as cached, model unseen", *_short(prompts, unseen)),
        (f"the same with computed prompts ({beaten} of them then beat the data sheet)", *_short(computed, unseen)),
    ]


def _left_out(rows: Sequence[Row], left_out: LeftOut) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [("left out", "engine", "rows", "MAPE", "p90", "all rows", "MAPE of all")]
    kinds: tuple[tuple[str, Callable[[Row], str], Mapping[str, Fitted]], ...] = (
        ("model", lambda row: row.model.key, left_out.model),
        ("GPU", lambda row: row.gpu.key, left_out.gpu),
        ("engine", lambda row: row.engine, left_out.engine),
    )
    for what, of, fitted in kinds:
        keyed = {id(row): (of(row), row.engine, row.feed_forward) for row in rows}
        for (value, engine, feed_forward), found in _grouped(rows, lambda row, keyed=keyed: keyed[id(row)]):  # type: ignore[misc]
            own = [row for row in found if not row.doubt]
            figures = _short(own, _always(fitted[value])) if own else ("0", "-", "-")
            every = _short(found, _always(fitted[value]))
            name = f"{what} {value}" + ("" if what == "model" else f" ({feed_forward})")
            lines.append((name, engine, *figures, every[0], every[1]))
    return lines


def _each(rows: Sequence[Row], left_out: LeftOut) -> list[tuple[str, ...]]:
    head = (
        "model",
        "GPU",
        "engine",
        "rows",
        "model unseen",
        "p90",
        "bias",
        "GPU unseen",
        "all rows",
        "MAPE",
        "TTFT (rows)",
    )
    lines: list[tuple[str, ...]] = [head]
    unseen = _unseen(left_out)
    for (model, gpu, engine), found in _grouped(rows, lambda row: (row.model.key, row.gpu.key, row.engine)):
        own = [row for row in found if not row.doubt]
        if own:
            ratios = [_ratio(row, unseen) for row in own]
            elsewhere = _short(own, lambda row: left_out.gpu[row.gpu.key])[1]
            figures = (*_short(own, unseen), f"{(sum(ratios) / len(ratios) - 1) * 100:+.0f} %", elsewhere)
        else:
            figures = ("0", "-", "-", "-", "-")
        every = _short(found, unseen)
        lines.append((model, gpu, engine, *figures, every[0], every[1], _first(own, unseen)))
    return lines


def _first(rows: Sequence[Row], of: Choice) -> str:
    from planner.fit import first_errors

    found = [miss for row in rows for miss in first_errors([row], of(row))]
    return f"{_percent(sum(found) / len(found))} ({len(found)})" if found else "-"


def _twins(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    from planner.latency import kind
    from planner.measured import deployment

    spread: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for _, alike in _grouped(rows, lambda row: (*map(str, deployment(row)), str(row.concurrency))):
        if len(alike) > 1:
            times = [row.tpot_ms for row in alike]
            spread[alike[0].engine, kind(alike[0].model)].append(max(times) / min(times))
    lines: list[tuple[str, ...]] = [("engine", "kind", "measured more than once", "median slowest / quickest", "most")]
    for (engine, name), found in sorted(spread.items()):
        lines.append((engine, name, str(len(found)), f"{median(found):.2f}", f"{max(found):.2f}"))
    return lines


def _grouped(rows: Iterable[Row], of: Callable[[Row], tuple[str, ...]]) -> list[tuple[tuple[str, ...], list[Row]]]:
    groups: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[of(row)].append(row)
    return sorted(groups.items())


def _ratio(row: Row, of: Choice) -> float:
    from planner.fit import predicted

    return predicted(row, of(row))[0] / row.tpot_ms


def _short(rows: Sequence[Row], of: Choice) -> tuple[str, str, str]:
    """Number, MAPE and 90th percentile of the TPOT's error."""
    from planner.fit import percentile

    found = sorted(abs(_ratio(row, of) - 1) for row in rows)
    return str(len(found)), _percent(sum(found) / len(found)), _percent(percentile(found, 0.9))


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _table(lines: Iterable[tuple[str, ...]]) -> str:
    head, *rest = lines
    rule = tuple("---" for _ in head)
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *rest))
