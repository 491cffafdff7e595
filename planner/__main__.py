"""`python -m planner`: size a model on a GPU, or rank all instances for it, without any stack."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from planner.alternatives import nearest_ways_on
from planner.catalog import Model, gpus, instances, models
from planner.checkpoint import CheckpointError, read_model
from planner.latency import predict
from planner.placement import Ranked, Target, rank
from planner.prices import OwnPrices, PriceError, read_prices
from planner.quotas import QuotaError, read_quotas
from planner.request import MEAN_INPUT_TOKENS, MEAN_OUTPUT_TOKENS
from planner.sizing import (
    DEFAULT_GPU_MEMORY_UTILIZATION,
    QUANTIZED_BYTES,
    DoesNotFitError,
    SizingError,
    budget,
    derive_engine_limits,
    memory_of,
)

ENGINES = ("vllm", "sglang", "trtllm")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 fine, 1 does not fit or nothing found, 2 a wrong question."""
    options = _parser().parse_args(arguments)
    try:
        model = _model(options.model)
        return _size(options, model) if options.command == "size" else _rank(options, model)
    except (SizingError, CheckpointError, PriceError, QuotaError) as error:
        print(f"planner: {error}", file=sys.stderr)
        return 2


def _model(name: str) -> Model:
    """A row of the catalogue, or the config.json of a checkpoint on this machine."""
    if name in models():
        return models()[name]
    path = Path(name)
    if path.exists():
        return read_model(path)
    close = [key for key in models() if key.rpartition("/")[2].lower() == name.rpartition("/")[2].lower()]
    known = ", ".join(close or sorted(models()))
    raise CheckpointError(f"{name!r} is neither in the catalogue nor a folder or config.json here; choose from {known}")


def _above_zero(kind: Callable[[str], float]) -> Callable[[str], float]:
    """Argument type: a number above 0."""

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            what = "a whole number of 1 or more" if kind is int else "a number above 0"
            raise argparse.ArgumentTypeError(f"{text!r} must be {what}")
        return value

    return read


COUNT, AMOUNT = _above_zero(int), _above_zero(float)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m planner", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    size = commands.add_parser("size", help="what a model takes on a GPU, and how quick it is")
    size.add_argument("--gpu", required=True, choices=sorted(gpus()))
    size.add_argument("--tensor-parallel", type=COUNT, default=1, metavar="N", help="GPUs that share each layer")
    size.add_argument("--pipeline-parallel", type=COUNT, default=1, metavar="N", help="stages of a pipeline")
    size.add_argument("--gpu-memory-utilization", type=AMOUNT, default=DEFAULT_GPU_MEMORY_UTILIZATION)
    part = size.add_mutually_exclusive_group()
    part.add_argument("--mig-profile", help="a slice of the GPU, e.g. 3g.20gb")
    part.add_argument("--replicas-per-gpu", type=COUNT, default=1, metavar="N", help="time-slicing or MPS")
    size.add_argument("--kv-cache-dtype", choices=("auto", "fp8"), default="auto")
    size.add_argument("--concurrency", type=COUNT, default=16)
    ranked = commands.add_parser("rank", help="all instances that serve a model, the least costly first")
    ranked.add_argument("--requests-per-second", type=AMOUNT)
    ranked.add_argument("--max-tpot-ms", type=AMOUNT)
    ranked.add_argument("--max-ttft-ms", type=AMOUNT)
    ranked.add_argument("--budget", type=AMOUNT, help="dollars per hour")
    ranked.add_argument("--capacity-type", choices=("on-demand", "spot", "reserved"), default="on-demand")
    ranked.add_argument("--cloud", action="append", choices=sorted({row.cloud for row in instances().values()}))
    ranked.add_argument("--prices", type=Path, help="own prices: TOML with [prices], [spot], [reserved]")
    ranked.add_argument("--quotas", type=Path, help="what a preflight found: JSON")
    ranked.add_argument("--by", choices=("cost", "cold-start"), default="cost", help="what comes first")
    ranked.add_argument("--top", type=COUNT, default=10)
    for command in (size, ranked):
        command.add_argument("model", help="Hugging Face id in the catalogue, or a folder or config.json here")
        command.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
        command.add_argument("--max-model-len", type=COUNT)
        command.add_argument("--quantization", choices=sorted(QUANTIZED_BYTES))
        command.add_argument("--input-tokens", type=AMOUNT, default=MEAN_INPUT_TOKENS)
        command.add_argument("--output-tokens", type=AMOUNT, default=MEAN_OUTPUT_TOKENS)
        command.add_argument("--json", action="store_true", dest="as_json")
    return parser


def _size(options: argparse.Namespace, model: Model) -> int:
    gpu = gpus()[options.gpu]
    share = 1 / options.replicas_per_gpu
    try:
        limits = derive_engine_limits(
            model,
            gpu,
            options.tensor_parallel,
            options.gpu_memory_utilization,
            options.max_model_len,
            mig_profile=options.mig_profile,
            share=share,
            pipeline_parallel=options.pipeline_parallel,
            quantization=options.quantization,
            kv_cache_dtype=options.kv_cache_dtype,
        )
    except DoesNotFitError as error:
        print(f"planner: {error}", file=sys.stderr)
        ways = nearest_ways_on(
            model,
            gpu,
            tensor_parallel=options.tensor_parallel,
            gpu_memory_utilization=options.gpu_memory_utilization,
            max_model_len=options.max_model_len,
            mig_profile=options.mig_profile,
            share=share,
            quantization=options.quantization,
            kv_cache_dtype=options.kv_cache_dtype,
        )
        for way in ways:
            print(f"planner: it would fit with {way}", file=sys.stderr)
        return 1
    parts = budget(
        model,
        memory_of(gpu, options.mig_profile, share),
        options.tensor_parallel,
        options.gpu_memory_utilization,
        pipeline_parallel=options.pipeline_parallel,
        quantization=options.quantization,
        kv_cache_dtype=options.kv_cache_dtype,
    )
    result = predict(
        model,
        gpu,
        engine=options.engine,
        tensor_parallel=options.tensor_parallel,
        pipeline_parallel=options.pipeline_parallel,
        input_tokens=options.input_tokens,
        output_tokens=options.output_tokens,
        concurrency=options.concurrency,
        quantization=options.quantization,
        kv_cache_dtype=options.kv_cache_dtype,
        kv_cache_tokens=limits.kv_cache_tokens,
    )
    partial = options.mig_profile is not None or options.replicas_per_gpu > 1
    shown: dict[str, Any] = {**asdict(limits), **asdict(parts), "kv_cache_gib": parts.kv_cache_gib, **asdict(result)}
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in shown.items()}
    shown["weights_gib"], shown["weights_gib_per_gpu"] = round(limits.weights_gib, 3), round(parts.weights_gib, 3)
    shown["estimate"] = result.estimate or partial
    if options.as_json:
        print(json.dumps({"model": model.key, "gpu": gpu.key, "engine": options.engine, **shown}, indent=2))
        return 0
    count = options.tensor_parallel * options.pipeline_parallel
    on = f"{count} x {gpu.name}" + (f", slice {options.mig_profile}" if options.mig_profile else "")
    print(f"{model.key} on {on}")
    for title, lines in _sections(shown, options, partial):
        print(f"\n{title}")
        for name, value in lines:
            print(f"  {name:34}{value}")
    return 0


def _sections(
    shown: dict[str, Any], options: argparse.Namespace, partial: bool
) -> list[tuple[str, list[tuple[str, str]]]]:
    band = f"within {shown['error'] * 100:.0f} % for 9 of 10 measured rows"
    speed = [
        ("time per output token", f"{shown['tpot_ms']:.1f} ms ({band})"),
        ("time to first token, no queue", f"{shown['ttft_ms']:.0f} ms (within {shown['ttft_error'] * 100:.0f} %)"),
        ("output tokens per second", f"{shown['tokens_per_s']:,.0f}"),
    ]
    if partial:
        speed.append(("of the whole GPU", "a slice or a turn of it is slower"))
    if shown["estimate"]:
        speed.append(("estimate", "no measured row backs this model kind, GPU and engine"))
    asked = f"{options.concurrency} requests of {options.input_tokens:.0f} + {options.output_tokens:.0f} tokens"
    return [
        (
            "Memory of each GPU, GiB",
            [
                ("the engine may take", f"{shown['usable_gib']:.2f}"),
                ("weights", f"{shown['weights_gib_per_gpu']:.2f} (the whole model: {shown['weights_gib']:.2f})"),
                ("runtime", f"{shown['overhead_gib']:.2f}"),
                ("KV cache", f"{shown['kv_cache_gib']:.2f}"),
            ],
        ),
        (
            "What one replica holds",
            [
                ("tokens in the KV cache", f"{shown['kv_cache_tokens']:,}"),
                ("longest request, tokens", f"{shown['max_model_len']:,}"),
                ("requests in one batch", f"{shown['max_num_seqs']:,}"),
            ],
        ),
        (f"Speed with {asked}, {options.engine}", speed),
    ]


def _rank(options: argparse.Namespace, model: Model) -> int:
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
        engine=options.engine,
        clouds=frozenset(options.cloud or {"aws", "azure", "gcp"}),
        quotas=() if options.quotas is None else read_quotas(options.quotas),
    )
    own = OwnPrices() if options.prices is None else read_prices(options.prices)
    found = rank(model, target, own, by_cold_start=options.by == "cold-start")[: options.top]
    if options.as_json:
        print(json.dumps([item.to_json() for item in found], indent=2))
    elif found:
        _print_ranking(found)
    else:
        print("planner: no instance of the catalogue meets this target; relax a limit", file=sys.stderr)
    return 0 if found else 1


def _print_ranking(found: tuple[Ranked, ...]) -> None:
    print(f"{'instance type':28}{'GPUs':>5}{'batch':>6}{'ms/token':>16}{'tokens/s':>10}", end="")
    print(f"{'$/h':>9}{'$/M out':>9}{'start':>7}")
    for item in found:
        band = f"{item.tpot_ms:.1f} ±{item.latency_error * 100:.0f}%{'*' if item.estimate else ' '}"
        count = f"{item.tensor_parallel}" + (f"x{item.pipeline_parallel}" if item.pipeline_parallel > 1 else "")
        print(f"{item.instance_type:28}{count:>5}{item.concurrency:6}{band:>16}", end="")
        print(f"{item.tokens_per_s:10,.0f}{item.hourly:9.2f}", end="")
        print(f"{item.cost_per_million_output_tokens:9.2f}{item.cold_start_s:6.0f}s")
    print("* an estimate: no measured row backs it. Prices are list prices; $/h is for whole nodes.")
    if any(item.pipeline_parallel > 1 for item in found):
        print("8x2: tensor parallel 8 in each of 2 nodes, which are the stages of a pipeline.")


if __name__ == "__main__":
    sys.exit(main())
