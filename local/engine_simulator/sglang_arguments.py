"""SGLang's ``launch_server`` arguments in the simulator's own words, which are vLLM's.

All flags of the pinned SGLang are known (`planner/flags`): those that shape the simulation are translated, the rest is
checked and ignored, as the real engine would refuse what it does not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final, NoReturn

from components.versions import SGLANG_ENGINE
from local.engine_simulator.arguments import UsageError
from local.engine_simulator.facts import GpuFacts, ModelFacts
from planner.memory import MAX_BATCHED_TOKENS, MAX_DEFAULT_SEQS
from planner.sizing import overhead_gib

VERSION: Final = SGLANG_ENGINE.rpartition(":")[2].removeprefix("v")
NO_DEADLINE_SECONDS: Final = 86_400
"""SGLang drains until no request is left; who started it ends it sooner."""

SAME: Final = {
    "served_model_name": "--served-model-name",
    "host": "--host",
    "port": "--port",
    "tp_size": "--tensor-parallel-size",
    "context_length": "--max-model-len",
    "max_running_requests": "--max-num-seqs",
    "dtype": "--dtype",
    "quantization": "--quantization",
    "kv_cache_dtype": "--kv-cache-dtype",
    "api_key": "--api-key",
}
"""What both have, by SGLang's name."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse_known(argv: Sequence[str]) -> argparse.Namespace:
    """The flags that shape the simulation.

    Raises:
        UsageError: SGLang would refuse a flag or its value, or no model is given.
    """
    # Only needed here: the check brings the whole catalogue.
    from planner.flags.check import check_engine_arguments

    errors = check_engine_arguments("sglang", VERSION, list(argv))
    if errors:
        raise UsageError("; ".join(f"{error.flag}: {error.message}" for error in errors))
    parser = _Parser(prog="sglang.launch_server", allow_abbrev=False, add_help=False)
    parser.add_argument("--model-path", "--model", required=True)
    parser.add_argument("--served-model-name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default="30000")
    parser.add_argument("--tp-size", "--tensor-parallel-size", "--tp", default="1")
    parser.add_argument("--context-length")
    parser.add_argument("--max-running-requests")
    parser.add_argument("--mem-fraction-static", type=float)
    parser.add_argument("--dtype")
    parser.add_argument("--quantization")
    parser.add_argument("--kv-cache-dtype")
    parser.add_argument("--api-key")
    parser.add_argument("--enable-metrics", action="store_true")
    parser.add_argument("--disable-radix-cache", action="store_true")
    return parser.parse_known_args(argv)[0]


def translated(known: argparse.Namespace, model: ModelFacts, gpu: GpuFacts) -> list[str]:
    """The simulator's command line.

    Args:
        known: from `parse_known`.
        model: facts of the model.
        gpu: facts of the GPU.
    """
    words = ["serve", known.model_path, f"--shutdown-timeout={NO_DEADLINE_SECONDS}"]
    words += [f"{flag}={value}" for name, flag in SAME.items() if (value := getattr(known, name)) is not None]
    if known.mem_fraction_static is not None:
        words.append(f"--gpu-memory-utilization={_utilization(known, model, gpu):.6f}")
    if known.disable_radix_cache:
        words.append("--no-enable-prefix-caching")
    return words


def _utilization(known: argparse.Namespace, model: ModelFacts, gpu: GpuFacts) -> float:
    """SGLang's share is of weights and KV cache, vLLM's of all."""
    overhead = overhead_gib(
        vocab=model.vocab,
        hidden=model.hidden,
        intermediate=model.intermediate,
        tensor_parallel=int(known.tp_size),
        max_num_seqs=float(known.max_running_requests or MAX_DEFAULT_SEQS),
        max_num_batched_tokens=MAX_BATCHED_TOKENS,
    )
    return float(min(1.0, known.mem_fraction_static + overhead / gpu.memory_gib))
