"""`python -m planner.fit`: fit the constants of the latency formula to measured rows, and say how wrong it is.

Rows: `measured.csv`, a part of AIConfigurator's `silicon_sample.csv` (Apache-2.0, NVIDIA, 2026-04), which is not part
of this repository; its place is `--measured`, default ../shared/data/silicon/measured.csv beside the repository.

What is fitted to what:

- the dense constants to every second row (by the CRC-32 of its id) of vLLM with Llama-3.1-70B and Qwen3-32B;
- the two constants of experts to every second row of vLLM with MiniMax-M2.5, gpt-oss-120b and Kimi-K2.5, with the
  dense constants as they are;
- the two constants of the first token to the TTFT of those of these rows with at most 8 requests.

All other rows are test rows. The 45 rows of vLLM with `_epnone_` in their id (Llama-3.1-8B-FP8 and Qwen3-235B on
H200, one of Qwen3-32B) are left out of the fit altogether: another harness took them, and for the dense ones the
prompts would take more arithmetic than the reported times leave room for, as if they were served from the prefix
cache. Their error is in the table. KV caches are taken as fp8 where a dense row says fp8 or fp4, as NVIDIA's
checkpoints and the recipes of these runs have it; nothing in the rows says so.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from planner.accuracy import write_report
from planner.catalog import Gpu, Model, gpus, models
from planner.latency import CONSTANTS_FILE, Constants, kind, predict
from planner.sizing import kv_cache_tokens

REPOSITORY = Path(__file__).resolve().parents[1]
MEASURED = REPOSITORY.parent / "shared" / "data" / "silicon" / "measured.csv"

ALIASES = {
    "meta-llama/Llama-3.1-70B": "meta-llama/Llama-3.1-70B-Instruct",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama/Llama-3.1-8B-Instruct",
    "nvidia/Qwen3-32B-NVFP4": "Qwen/Qwen3-32B",
    "nvidia/DeepSeek-R1-NVFP4": "deepseek-ai/DeepSeek-R1",
    "nvidia/DeepSeek-V3.1-NVFP4": "deepseek-ai/DeepSeek-V3",
}
SYSTEMS = {"h100_sxm": "h100", "h200_sxm": "h200", "b200_sxm": "b200", "b300_sxm": "b300", "gb200": "gb200"}
PRECISIONS = {"": None, "bf16": None, "fp8": "fp8", "fp4": "nvfp4", "int4": "int4"}
FITTED_DENSE = ("meta-llama/Llama-3.1-70B-Instruct", "Qwen/Qwen3-32B")

START = Constants(
    cache_efficiency=0.5,
    compute_efficiency=0.6,
    link_efficiency=0.3,
    layer_seconds=6e-5,
    sequence_seconds=5e-5,
    moe_layer_seconds=5e-5,
    moe_bandwidth_efficiency=0.6,
    first_token_seconds=0.03,
    first_token_factor=1.5,
)
DENSE = ("cache_efficiency", "compute_efficiency", "link_efficiency", "layer_seconds", "sequence_seconds")
EXPERTS = ("moe_layer_seconds", "moe_bandwidth_efficiency")
FIRST = ("first_token_seconds", "first_token_factor")
FEW_REQUESTS = 8
"""TTFT is fitted and compared where at most this many requests run: above, it is mostly queueing."""
UTILIZATION = 0.9
MOST_DAMPING = 1e8
ITERATIONS = 40


@dataclass(frozen=True)
class Row:
    """One measurement, with what is needed to predict it."""

    id: str
    model: Model
    gpu: Gpu
    engine: str
    other_harness: bool
    quantization: str | None
    input_tokens: int
    output_tokens: int
    concurrency: int
    tensor_parallel: int
    attention_parallel: int
    cache_tokens: int
    ttft_ms: float
    tpot_ms: float

    @property
    def for_fitting(self) -> bool:
        """Whether the constants may be fitted to this row; its twin half is for testing."""
        known = self.model.experts > 0 or self.model.key in FITTED_DENSE
        return self.engine == "vllm" and known and not self.other_harness and _half(self.id)

    @property
    def kv_cache_dtype(self) -> str:
        """See the head of this file."""
        dense = self.model.experts == 0 and self.quantization in {"fp8", "nvfp4"}
        return "fp8" if dense else "auto"


def _half(name: str) -> bool:
    return zlib.crc32(name.encode()) % 2 == 1


def read_rows(path: Path) -> tuple[list[Row], int]:
    """The rows whose model and GPU are in the catalogue, and how many are not.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        raw = list(csv.DictReader(file))
    rows = [row for row in map(_row, raw) if row is not None]
    return rows, len(raw) - len(rows)


def _row(raw: Mapping[str, str]) -> Row | None:
    model = models().get(ALIASES.get(raw["model_path"], raw["model_path"]))
    if model is None:
        return None
    gpu = gpus()[SYSTEMS[raw["system"]]]
    attention = max(1, int(raw["attention_dp_size"] or 1))
    parallel = max(int(raw["tp_size"]), attention, int(raw["moe_ep_size"] or 1) * int(raw["moe_tp_size"] or 1))
    quantization = PRECISIONS[raw["precision"]]
    if model.quantized_experts_only and quantization != "fp8":
        quantization = None
    row = Row(
        id=raw["id"],
        model=model,
        gpu=gpu,
        engine=raw["backend"],
        other_harness=raw["backend"] == "vllm" and "_epnone_" in raw["id"] and raw["precision"] == "fp8",
        quantization=quantization,
        input_tokens=int(raw["isl"]),
        output_tokens=int(raw["osl"]),
        concurrency=int(raw["batch_size"]),
        tensor_parallel=parallel,
        attention_parallel=attention,
        cache_tokens=0,
        ttft_ms=float(raw["silicon_ttft_ms"]),
        tpot_ms=float(raw["silicon_tpot_ms"]),
    )
    tokens = kv_cache_tokens(
        model, gpu.memory_gib, parallel, UTILIZATION, quantization=quantization, kv_cache_dtype=row.kv_cache_dtype
    )
    return replace(row, cache_tokens=tokens * attention)


def predicted(row: Row, fitted: Constants | None = None) -> tuple[float, float]:
    """TPOT and TTFT of a row in ms."""
    spread = row.attention_parallel if row.model.multi_latent_attention else None
    result = predict(
        row.model,
        row.gpu,
        tensor_parallel=row.tensor_parallel,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        concurrency=row.concurrency,
        quantization=row.quantization,
        kv_cache_dtype=row.kv_cache_dtype,
        kv_cache_tokens=row.cache_tokens or None,
        cache_parallel=spread,
        fitted=fitted,
    )
    return result.tpot_ms, result.ttft_ms


def error(row: Row, fitted: Constants) -> float:
    """Relative error of the TPOT."""
    return abs(predicted(row, fitted)[0] / row.tpot_ms - 1)


def errors(rows: Iterable[Row], fitted: Constants) -> list[float]:
    """Relative errors of the TPOT, ascending."""
    return sorted(error(row, fitted) for row in rows)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of the ascending values does not exceed."""
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def fit(rows: Sequence[Row], start: Constants, names: Sequence[str], *, first_token: bool = False) -> Constants:
    """Levenberg-Marquardt on the logarithms of constants and of TPOT (or TTFT), in plain Python.

    Args:
        rows: to fit to.
        start: where to begin; constants not in `names` stay.
        names: constants to fit.
        first_token: fit TTFT instead of TPOT.
    """
    which = int(first_token)

    def residuals(point: Sequence[float]) -> list[float]:
        trial = replace(start, **{name: math.exp(value) for name, value in zip(names, point, strict=True)})
        return [math.log(predicted(row, trial)[which] / (row.tpot_ms, row.ttft_ms)[which]) for row in rows]

    values = asdict(start)
    best = _minimize(residuals, [math.log(values[name]) for name in names])
    rounded = {name: float(f"{math.exp(value):.4g}") for name, value in zip(names, best, strict=True)}
    return replace(start, **rounded)


def _minimize(residuals: Callable[[Sequence[float]], list[float]], point: list[float]) -> list[float]:
    damping, step = 1e-2, 1e-4
    current = residuals(point)
    total = sum(value * value for value in current)
    for _ in range(ITERATIONS):
        columns = []
        for index in range(len(point)):
            moved = [value + (step if other == index else 0) for other, value in enumerate(point)]
            columns.append([(b - a) / step for a, b in zip(current, residuals(moved), strict=True)])
        normal = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in columns] for x in columns]
        gradient = [sum(a * b for a, b in zip(x, current, strict=True)) for x in columns]
        while damping < MOST_DAMPING:
            change = _solve(normal, gradient, damping)
            trial = [value + max(-1.0, min(1.0, delta)) for value, delta in zip(point, change, strict=True)]
            after = residuals(trial)
            improved = sum(value * value for value in after)
            if improved < total:
                break
            damping *= 4
        else:
            return point
        gain, point, current, total = total - improved, trial, after, improved
        damping = max(damping / 5, 1e-9)
        if gain < 1e-9 * total:
            return point
    return point


def _solve(normal: list[list[float]], gradient: list[float], damping: float) -> list[float]:
    """Gauss-Jordan elimination of (normal + damping * diagonal) x = -gradient."""
    size = len(gradient)
    rows = [
        [value + (damping * (value + 1e-9) if i == j else 0.0) for j, value in enumerate(line)] + [-gradient[i]]
        for i, line in enumerate(normal)
    ]
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(size):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def fit_all(rows: Sequence[Row]) -> Constants:
    """All constants, from the rows that are for fitting among these."""
    chosen = [row for row in rows if row.for_fitting]
    dense = fit([row for row in chosen if not row.model.experts], START, DENSE)
    few = [row for row in chosen if row.concurrency <= FEW_REQUESTS]
    both = fit([row for row in chosen if row.model.experts], dense, EXPERTS)
    return fit(few, both, FIRST, first_token=True)


def bands(rows: Sequence[Row], fitted: Constants) -> dict[str, float]:
    """The 90th percentile of the error on test rows of vLLM, by kind of model and GPU."""
    test = [row for row in rows if row.engine == "vllm" and not row.for_fitting and not row.other_harness]
    table: dict[str, float] = {}
    for name in ("dense", "moe", "mla"):
        own = [row for row in test if kind(row.model) == name]
        for gpu in sorted({row.gpu.key for row in own}):
            table[f"{name}-{gpu}"] = round(percentile(errors([r for r in own if r.gpu.key == gpu], fitted), 0.9), 3)
        # A GPU without rows: as wrong as the worst GPU was when all its own rows had been left out.
        table[f"{name}-unmeasured"] = max(table.values()) if not own else round(_unseen(rows, own), 3)
    return table


def _unseen(rows: Sequence[Row], own: Sequence[Row]) -> float:
    worst = 0.0
    for gpu in sorted({row.gpu.key for row in own}):
        without = fit_all([row for row in rows if row.gpu.key != gpu])
        worst = max(worst, percentile(errors([row for row in own if row.gpu.key == gpu], without), 0.9))
    return worst


def write_constants(path: Path, fitted: Constants, table: Mapping[str, float]) -> None:
    """Write catalog/constants.toml."""
    lines = ["# Written by `python -m planner.fit`, which says what is fitted to what. Do not edit.", "", "[constants]"]
    lines += [f"{name} = {value!r}" for name, value in asdict(fitted).items()]
    lines += ["", "# 90th percentile of the relative error of TPOT on rows of vLLM that were not used for fitting.", ""]
    lines += ["[errors]", *(f"{name} = {value!r}" for name, value in table.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Fit, write the constants and docs/plan-accuracy.md."""
    parser = argparse.ArgumentParser(prog="python -m planner.fit", description=__doc__.partition("\n")[0])
    parser.add_argument("--measured", type=Path, default=MEASURED, help="the measured rows (CSV)")
    arguments = parser.parse_args()
    try:
        rows, unknown = read_rows(arguments.measured)
    except OSError as problem:
        print(f"planner.fit: {arguments.measured}: {problem.strerror}; name the file with --measured", file=sys.stderr)
        return 1
    fitted = fit_all(rows)
    write_constants(CONSTANTS_FILE, fitted, bands(rows, fitted))
    write_report(REPOSITORY / "docs" / "plan-accuracy.md", rows, fitted, unknown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
