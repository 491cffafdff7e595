"""`python -m planner.fit`: fit the constants of the latency formula to measured rows, and say how wrong it is.

The formula is a sum of terms times factors (`planner/step.py`), so that fitting is linear least squares of relative
errors, with the factors held in their physical range and drawn towards a prior. `planner/measured.py` reads the rows
(their file is `--measured`, default ../shared/data/silicon/measured.csv beside the repository) and says which are left
out of the fit and why. The prior of an engine's factors is the fit over all engines, whose own prior is `PRIOR`: an
engine with few rows of a kind keeps what the others teach.

Constants for use are fitted to all rows without doubt. Errors (docs/plan-accuracy.md, and the band that each prediction
carries) are those of rows that were **not** used: for every model, the constants are fitted again without any row of
it, whatever the engine and GPU; and again for every GPU and every engine.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from planner.accuracy import LeftOut, write_report
from planner.latency import CONSTANTS_FILE, Constants, kind
from planner.measured import MEASURED, Row, elsewhere_rows, read_rows
from planner.step import TERMS

REPOSITORY = Path(__file__).resolve().parents[1]
ENGINES = ("vllm", "sglang", "trtllm")
BLOCKS = ("dense", "experts")
FEW_REQUESTS = 4
"""TTFT is fitted and compared where at most this many requests run, one after the other: above, it mostly queues."""

PRIOR = {
    "weights": (1.1, 1.05),
    "cache": (1.2, 1.0),
    "linear": (1.4, 1.25),
    "layer_seconds": (6e-5, 5e-6),
    "sequence_seconds": (4e-5, 0.0),
    "reduce": (2.0, 0.2),
    "hop_seconds": (5e-6, 0.0),
    "attention": (4.0, 1.0),
    "experts": (1.1, 0.5),
    "expert_math": (3.0, 1.0),
    "expert_layer_seconds": (4e-5, 0.0),
    "latent": (1.5, 1.0),
    "state": (1.5, 0.5),
}
"""Where a factor starts and the least it may be. The data sheet cannot be beaten (1), kernels reach 95 percent of the
bandwidth and 80 percent of the FLOPS at best; fewer experts may be touched than independent choice would have it."""

FIRST_PRIOR = ((0.06, 0.0), (1.4, 0.2))
STRENGTH = 0.3
"""Rows that the prior counts for."""

ROBUST = 0.05
"""Relative error up to which an error counts with its square; above, it counts less, so that odd rows do not lead."""

ROUNDS = 6
SWEEPS = 400


@dataclass(frozen=True)
class Fitted:
    """Constants by engine and kind of feed-forward block."""

    table: Mapping[tuple[str, str], Constants]

    def of(self, row: Row) -> Constants:
        """The constants for a row."""
        return self.table[row.engine, row.feed_forward]


def predicted(row: Row, fitted: Fitted) -> tuple[float, float]:
    """TPOT and TTFT of a row in ms."""
    own = fitted.of(row)
    first = own.first_token_seconds + own.first_token_factor * own.seconds(row.first_terms)
    return own.seconds(row.terms) * 1e3, first * 1e3


def unhurried(row: Row) -> bool:
    """Whether its requests hardly wait for each other, so that its TTFT can be compared."""
    return row.concurrency <= FEW_REQUESTS and not (row.lockstep and row.concurrency > 1)


def errors(rows: Iterable[Row], fitted: Fitted) -> list[float]:
    """Relative errors of the TPOT, ascending."""
    return sorted(abs(predicted(row, fitted)[0] / row.tpot_ms - 1) for row in rows)


def first_errors(rows: Iterable[Row], fitted: Fitted) -> list[float]:
    """Relative errors of the TTFT of rows with few requests, ascending."""
    few = filter(unhurried, rows)
    return sorted(abs(predicted(row, fitted)[1] / row.ttft_ms - 1) for row in few)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the ascending values does not exceed."""
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def solve(lines: Sequence[Sequence[float]], prior: Sequence[tuple[float, float]]) -> list[float]:
    """Factors x of at least their bound that make every line's product with x about 1.

    Least squares in units of the prior with a ridge towards it, by coordinate descent on the normal equations; lines
    that stay far from 1 count less in each round.

    Args:
        lines: terms over what was measured.
        prior: where each factor is drawn to, and its least value.
    """
    size = len(prior)
    scaled = [[(i, term * prior[i][0]) for i, term in enumerate(line) if term] for line in lines]
    least = [bound / start for start, bound in prior]
    weights = [1.0] * len(scaled)
    point = [1.0] * size
    for _ in range(ROUNDS):
        normal = [[STRENGTH if i == j else 0.0 for j in range(size)] for i in range(size)]
        right = [STRENGTH] * size
        for weight, line in zip(weights, scaled, strict=True):
            for i, left in line:
                own, product = normal[i], weight * left
                right[i] += product
                for j, other in line:
                    own[j] += product * other
        _descend(normal, right, least, point)
        misses = (abs(sum(term * point[i] for i, term in line) - 1) for line in scaled)
        weights = [min(1.0, ROBUST / max(miss, 1e-9)) for miss in misses]
    return [float(f"{value * start:.4g}") for value, (start, _) in zip(point, prior, strict=True)]


def _descend(normal: list[list[float]], right: list[float], least: list[float], point: list[float]) -> None:
    """Minimize in place; the ridge makes the problem strictly convex, so that this ends at its one minimum."""
    for _ in range(SWEEPS):
        moved = 0.0
        for i, line in enumerate(normal):
            gradient = right[i] - sum(map(float.__mul__, line, point))
            value = max(least[i], point[i] + gradient / line[i])
            moved, point[i] = max(moved, abs(value - point[i])), value
        if moved < 1e-7:  # noqa: PLR2004 - of the prior: far below what is written down
            return


def fit_all(rows: Sequence[Row]) -> Fitted:
    """All constants, from the rows without doubt among these."""
    usable = [row for row in rows if not row.doubt]
    table = {}
    for feed_forward in BLOCKS:
        kin = [row for row in usable if row.feed_forward == feed_forward]
        shared = solve(_lines(kin), list(PRIOR.values()))
        bounds = [least for _, least in PRIOR.values()]
        for engine in ENGINES:
            own = [row for row in kin if row.engine == engine]
            factors = solve(_lines(own), _prior(shared, bounds))
            first = _first(own, kin, factors)
            names = dict(zip(TERMS, factors, strict=True))
            table[engine, feed_forward] = Constants(**names, first_token_seconds=first[0], first_token_factor=first[1])
    return Fitted(table)


def _lines(rows: Iterable[Row]) -> list[list[float]]:
    return [[term * 1e3 / row.tpot_ms for term in row.terms] for row in rows]


def _prior(values: Sequence[float], bounds: Sequence[float]) -> list[tuple[float, float]]:
    # A factor that came out as 0 has no unit to be measured in: it stays nearly there.
    return [(max(value, 1e-9), bound) for value, bound in zip(values, bounds, strict=True)]


def _first(own: Sequence[Row], kin: Sequence[Row], factors: Sequence[float]) -> list[float]:
    def lines(rows: Iterable[Row]) -> list[list[float]]:
        few = list(filter(unhurried, rows))
        steps = [sum(map(float.__mul__, factors, row.first_terms)) for row in few]
        return [[1e3 / row.ttft_ms, step * 1e3 / row.ttft_ms] for row, step in zip(few, steps, strict=True)]

    shared = solve(lines(kin), FIRST_PRIOR)
    return solve(lines(own), _prior(shared, [least for _, least in FIRST_PRIOR]))


def without(rows: Sequence[Row], of: Callable[[Row], str]) -> dict[str, Fitted]:
    """The constants fitted again without any row of each value."""
    return {value: fit_all([row for row in rows if of(row) != value]) for value in sorted({of(row) for row in rows})}


def model_of(row: Row) -> str:
    """What the first kind of leaving out goes by."""
    return row.model.key


def gpu_of(row: Row) -> str:
    """What the second kind of leaving out goes by."""
    return row.gpu.key


def engine_of(row: Row) -> str:
    """What the third kind of leaving out goes by: an engine without rows has what the others teach."""
    return row.engine


def bands(
    rows: Sequence[Row], used: Fitted, unseen: Mapping[str, Fitted], elsewhere: Mapping[str, Fitted]
) -> dict[str, float]:
    """The 90th percentile of the TPOT's error by engine, kind and GPU, on rows whose model the fit has not seen.

    Args:
        rows: all rows.
        used: constants from all rows, for the measurements of a GPU that has none.
        unseen: constants without each model.
        elsewhere: constants without each GPU; for a GPU that has no rows, the worst of those that have, and no less
            than on the public measurements of such a GPU.
    """
    apart_from_all = percentile(errors(elsewhere_rows(), used), 0.9)
    table: dict[str, float] = {}
    for engine in ENGINES:
        for name in ("dense", "moe", "mla"):
            own = [row for row in rows if row.engine == engine and kind(row.model) == name and not row.doubt]
            worst = apart_from_all
            for gpu in sorted({row.gpu.key for row in own}):
                here = [row for row in own if row.gpu.key == gpu]
                apart = sorted(abs(predicted(row, unseen[row.model.key])[0] / row.tpot_ms - 1) for row in here)
                table[f"{engine}-{name}-{gpu}"] = round(percentile(apart, 0.9), 3)
                worst = max(worst, percentile(apart, 0.9), percentile(errors(here, elsewhere[gpu]), 0.9))
            table[f"{engine}-{name}-unmeasured"] = round(worst, 3)
    return table


def first_bands(rows: Sequence[Row], unseen: Mapping[str, Fitted]) -> dict[str, float]:
    """The same of the TTFT of rows with few requests, by engine and kind."""
    table = {}
    for engine in ENGINES:
        for name in ("dense", "moe", "mla"):
            own = [row for row in rows if row.engine == engine and kind(row.model) == name and not row.doubt]
            found = sorted(miss for row in own for miss in first_errors([row], unseen[row.model.key]))
            if found:
                table[f"{engine}-{name}"] = round(percentile(found, 0.9), 3)
    return table


def write_constants(path: Path, fitted: Fitted, tpot: Mapping[str, float], ttft: Mapping[str, float]) -> None:
    """Write catalog/constants.toml."""
    lines = ["# Written by `python -m planner.fit`, which says what is fitted to what. Do not edit.", ""]
    for (engine, feed_forward), values in fitted.table.items():
        lines += [
            f"[constants.{engine}-{feed_forward}]",
            *(f"{name} = {value!r}" for name, value in asdict(values).items()),
            "",
        ]
    lines += ["# 90th percentile of the relative error on rows whose model was left out of the fit: TPOT, then TTFT."]
    lines += ["[errors]", *(f"{name} = {value!r}" for name, value in tpot.items()), ""]
    lines += ["[first_token_errors]", *(f"{name} = {value!r}" for name, value in ttft.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Fit, write the constants and docs/plan-accuracy.md."""
    parser = argparse.ArgumentParser(prog="python -m planner.fit", description=__doc__.partition("\n")[0])
    parser.add_argument("--measured", type=Path, default=MEASURED, help="the measured rows (CSV)")
    arguments = parser.parse_args()
    try:
        rows = read_rows(arguments.measured)
    except OSError as problem:
        print(f"planner.fit: {arguments.measured}: {problem.strerror}; name the file with --measured", file=sys.stderr)
        return 1
    fitted, unseen, elsewhere = fit_all(rows), without(rows, model_of), without(rows, gpu_of)
    others = without(rows, engine_of)
    write_constants(CONSTANTS_FILE, fitted, bands(rows, fitted, unseen, elsewhere), first_bands(rows, unseen))
    write_report(REPOSITORY / "docs" / "plan-accuracy.md", rows, LeftOut(fitted, unseen, elsewhere, others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
