"""`python -m planner`: size a model on a GPU, or rank all instances for it, without any stack."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from planner.catalog import gpus, instances, models
from planner.latency import predict
from planner.placement import Target, rank
from planner.plan import MEAN_INPUT_TOKENS, MEAN_OUTPUT_TOKENS
from planner.sizing import (
    DEFAULT_GPU_MEMORY_UTILIZATION,
    QUANTIZED_BYTES,
    DoesNotFitError,
    SizingError,
    budget,
    derive_engine_limits,
    mig_memory_gib,
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 fine, 1 does not fit or nothing found, 2 a wrong question."""
    options = _parser().parse_args(arguments)
    if options.model not in models():
        close = [key for key in models() if key.rpartition("/")[2].lower() == options.model.rpartition("/")[2].lower()]
        known = ", ".join(close or sorted(models()))
        print(f"planner: {options.model!r} is not in the catalogue; choose from {known}", file=sys.stderr)
        return 2
    try:
        return _size(options) if options.command == "size" else _rank(options)
    except SizingError as error:
        print(f"planner: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m planner", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    size = commands.add_parser("size", help="what a model takes on a GPU, and how quick it is")
    size.add_argument("--gpu", required=True, choices=sorted(gpus()))
    size.add_argument("--tensor-parallel", type=int, default=1, metavar="N")
    size.add_argument("--gpu-memory-utilization", type=float, default=DEFAULT_GPU_MEMORY_UTILIZATION)
    size.add_argument("--mig-profile")
    size.add_argument("--kv-cache-dtype", choices=("auto", "fp8"), default="auto")
    size.add_argument("--concurrency", type=int, default=16)
    ranked = commands.add_parser("rank", help="all instances that serve a model, the least costly first")
    ranked.add_argument("--requests-per-second", type=float)
    ranked.add_argument("--max-tpot-ms", type=float)
    ranked.add_argument("--max-ttft-ms", type=float)
    ranked.add_argument("--budget", type=float, help="dollars per hour")
    ranked.add_argument("--capacity-type", choices=("on-demand", "spot"), default="on-demand")
    ranked.add_argument("--cloud", action="append", choices=sorted({row.cloud for row in instances().values()}))
    ranked.add_argument("--top", type=int, default=10)
    for command in (size, ranked):
        command.add_argument("model", help="Hugging Face id, a row of the catalogue")
        command.add_argument("--max-model-len", type=int)
        command.add_argument("--quantization", choices=sorted(QUANTIZED_BYTES))
        command.add_argument("--input-tokens", type=float, default=MEAN_INPUT_TOKENS)
        command.add_argument("--output-tokens", type=float, default=MEAN_OUTPUT_TOKENS)
        command.add_argument("--json", action="store_true", dest="as_json")
    return parser


def _size(options: argparse.Namespace) -> int:
    model, gpu = models()[options.model], gpus()[options.gpu]
    try:
        limits = derive_engine_limits(
            model,
            gpu,
            options.tensor_parallel,
            options.gpu_memory_utilization,
            options.max_model_len,
            mig_profile=options.mig_profile,
            quantization=options.quantization,
            kv_cache_dtype=options.kv_cache_dtype,
        )
    except DoesNotFitError as error:
        print(f"planner: {error}", file=sys.stderr)
        return 1
    memory = gpu.memory_gib if options.mig_profile is None else mig_memory_gib(gpu.mig_profiles[options.mig_profile])
    parts = budget(
        model,
        memory,
        options.tensor_parallel,
        options.gpu_memory_utilization,
        quantization=options.quantization,
        kv_cache_dtype=options.kv_cache_dtype,
    )
    result = predict(
        model,
        gpu,
        tensor_parallel=options.tensor_parallel,
        input_tokens=options.input_tokens,
        output_tokens=options.output_tokens,
        concurrency=options.concurrency,
        quantization=options.quantization,
        kv_cache_dtype=options.kv_cache_dtype,
        kv_cache_tokens=limits.kv_cache_tokens,
    )
    shown: dict[str, Any] = {**asdict(limits), **asdict(parts), "kv_cache_gib": parts.kv_cache_gib, **asdict(result)}
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in shown.items()}
    shown["weights_gib"], shown["weights_gib_per_gpu"] = round(limits.weights_gib, 3), round(parts.weights_gib, 3)
    if options.as_json:
        print(json.dumps({"model": model.key, "gpu": gpu.key, **shown}, indent=2))
    else:
        for key, value in shown.items():
            print(f"{key:24} {value:,}" if not isinstance(value, bool) else f"{key:24} {value}")
    return 0


def _rank(options: argparse.Namespace) -> int:
    target = Target(
        input_tokens=options.input_tokens,
        output_tokens=options.output_tokens,
        requests_per_s=options.requests_per_second,
        max_tpot_ms=options.max_tpot_ms,
        max_ttft_ms=options.max_ttft_ms,
        budget_per_hour=options.budget,
        max_model_len=options.max_model_len,
        capacity_type=options.capacity_type,
        quantization=options.quantization,
        clouds=frozenset(options.cloud or {"aws", "azure", "gcp"}),
    )
    found = rank(models()[options.model], target)[: options.top]
    if options.as_json:
        print(json.dumps([item.to_json() for item in found], indent=2))
    elif found:
        print(f"{'instance type':28}{'TP':>3}{'batch':>6}{'ms/token':>15}{'tokens/s':>10}", end="")
        print(f"{'$/h':>9}{'$/M out':>9}{'start':>7}")
        for item in found:
            band = f"{item.tpot_ms:.1f} ±{item.latency_error * 100:.0f}%{'*' if item.estimate else ''}"
            print(f"{item.instance_type:28}{item.tensor_parallel:3}{item.concurrency:6}{band:>15}", end="")
            print(f"{item.tokens_per_s:10,.0f}{item.hourly:9.2f}", end="")
            print(f"{item.cost_per_million_output_tokens:9.2f}{item.cold_start_s:6.0f}s")
        print("* an estimate: no measured row backs it. Prices are list prices; $/h is for whole nodes.")
    else:
        print("planner: no instance of the catalogue meets this target; relax a limit", file=sys.stderr)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
