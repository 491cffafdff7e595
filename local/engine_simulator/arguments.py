"""The command line: vLLM's ``serve`` arguments; some shape the simulation, the rest is ignored."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from local.engine_simulator import vllm_flags
from local.engine_simulator.memory import QUANTIZED_WEIGHT_BYTES
from planner.lora import RANKS

PROGRAM = "engine_simulator"
USAGE_ERROR = 2

DTYPES = ("auto", "bfloat16", "float", "float16", "float32", "half")
KV_CACHE_DTYPES = ("auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc")


class UsageError(Exception):
    """The command line cannot be understood; one line for the user, exit status 2."""


@dataclass(frozen=True, slots=True)
class ServeArguments:
    """The arguments that the simulator acts on: vLLM's names, vLLM's defaults (None: derived)."""

    model: str
    host: str | None
    port: int
    uds: str | None
    served_model_names: tuple[str, ...]
    api_keys: tuple[str, ...]
    max_model_len: int | None
    fit_model_len: bool
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    gpu_memory_utilization: float
    tensor_parallel_size: int
    block_size: int
    num_gpu_blocks_override: int | None
    kv_cache_dtype: str
    dtype: str
    quantization: str | None
    enable_prefix_caching: bool
    enable_sleep_mode: bool
    enable_prompt_tokens_details: bool
    enable_force_include_usage: bool
    shutdown_timeout: int
    lora_modules: Mapping[str, str]
    max_loras: int
    max_lora_rank: int
    kv_transfer: Mapping[str, Any] | None
    ignored: tuple[str, ...]


def parse(argv: Sequence[str]) -> ServeArguments:
    """Parse ``serve MODEL [options]``.

    Raises:
        UsageError: unknown flag, bad value or no model.
        SystemExit: status 0 after ``--help``.
    """
    arguments, unknown = _parser().parse_known_args(_normalize(argv))
    if unknown:
        raise UsageError(_explain_unknown(unknown))
    model = arguments.model or arguments.model_tag
    if model is None:
        raise UsageError("no model: give it as `serve MODEL` or with --model")
    return ServeArguments(
        model=model,
        host=arguments.host,
        port=arguments.port,
        uds=arguments.uds,
        served_model_names=tuple(arguments.served_model_name or [model]),
        api_keys=tuple(arguments.api_key or ()),
        max_model_len=None if arguments.max_model_len == _FIT else arguments.max_model_len,
        fit_model_len=arguments.max_model_len == _FIT,
        max_num_seqs=arguments.max_num_seqs,
        max_num_batched_tokens=arguments.max_num_batched_tokens,
        gpu_memory_utilization=arguments.gpu_memory_utilization,
        tensor_parallel_size=arguments.tensor_parallel_size,
        block_size=arguments.block_size,
        num_gpu_blocks_override=arguments.num_gpu_blocks_override,
        kv_cache_dtype=arguments.kv_cache_dtype,
        dtype=arguments.dtype,
        quantization=arguments.quantization,
        enable_prefix_caching=arguments.enable_prefix_caching,
        enable_sleep_mode=arguments.enable_sleep_mode,
        enable_prompt_tokens_details=arguments.enable_prompt_tokens_details,
        enable_force_include_usage=arguments.enable_force_include_usage,
        shutdown_timeout=arguments.shutdown_timeout,
        lora_modules=_lora_modules(arguments),
        max_loras=arguments.max_loras if arguments.enable_lora else 0,
        max_lora_rank=arguments.max_lora_rank,
        kv_transfer=arguments.kv_transfer_config,
        ignored=tuple(arguments.ignored or ()),
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


class _Ignore(argparse.Action):
    """Takes a flag of vLLM's that the simulator has no use for, and notes its name."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option: str | None = None,
    ) -> None:
        del parser, values
        namespace.ignored = [*(namespace.ignored or []), option]


_FIT = -1  # --max-model-len auto


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} serve MODEL [vLLM serve arguments]",
        description="SIMULATOR of the vLLM OpenAI server (image vllm/vllm-openai v0.32): no GPU, no "
        "weights. Text is synthetic; latencies come from a formula over the model and the GPU.",
        epilog="All other flags of `vllm serve` are accepted and ignored. Environment: "
        "SIMULATION_STARTUP_SECONDS (0), SIMULATION_SPEEDUP (1), SIMULATION_GPU (l4), SIMULATION_GPU_SHARE (1), "
        "SIMULATION_GPU_MEMORY_GIB (the GPU's), VLLM_API_KEY, VLLM_SERVER_DEV_MODE (0).",
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=["serve"], metavar="serve")
    parser.add_argument("model_tag", nargs="?", metavar="MODEL", help="Hugging Face id, a row of planner/catalog")
    parser.set_defaults(ignored=None)
    _add_server(parser)
    _add_engine(parser)
    _add_adapters(parser)
    _add_ignored(parser)
    return parser


def _add_server(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", help="the same as MODEL")
    add("--host", help="address to listen on (default: all, as vLLM)")
    add("--port", type=_integer(1, 65535), default=8000, help="default 8000")
    add("--uds", help="path of a Unix socket to listen on instead of host and port")
    add("--served-model-name", nargs="+", help="names in the API; metrics carry the first")
    add("--api-key", nargs="+", help="bearer tokens that /v1 asks for")
    add(
        "--shutdown-timeout",
        type=_integer(0),
        default=0,
        help="seconds to drain after SIGTERM (default 0: abort)",
    )
    add("--enable-sleep-mode", action=argparse.BooleanOptionalAction, default=False)
    add("--enable-prompt-tokens-details", action=argparse.BooleanOptionalAction, default=False)
    add("--enable-force-include-usage", action=argparse.BooleanOptionalAction, default=False)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--max-model-len",
        type=_model_len,
        help="tokens, such as 4096, 4k or 4K, or auto (default: the model's own)",
    )
    add(
        "--max-num-seqs",
        type=_integer(1),
        help="sequences in a step (default 256; 1024 on 70 GiB and more, not A100)",
    )
    add("--max-num-batched-tokens", type=_integer(1), help="tokens in a step (default 2048; 8192 likewise)")
    add("--gpu-memory-utilization", "--device-memory-utilization", type=_share, default=0.92, help="default 0.92")
    add("--tensor-parallel-size", "-tp", type=_integer(1), default=1, help="default 1")
    add("--block-size", type=_integer(1), default=16, help="tokens in a KV block (default 16)")
    add("--num-gpu-blocks-override", type=_integer(1), help="KV blocks instead of what fits in memory")
    add("--kv-cache-dtype", choices=KV_CACHE_DTYPES, default="auto", metavar="DTYPE")
    add("--dtype", choices=DTYPES, default="auto")
    add("--quantization", "-q", choices=sorted(QUANTIZED_WEIGHT_BYTES), metavar="METHOD")
    add("--enable-prefix-caching", action=argparse.BooleanOptionalAction, default=True)


def _add_adapters(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--enable-lora", action=argparse.BooleanOptionalAction, default=False, help="take the memory of adapters")
    add("--lora-modules", nargs="+", metavar="NAME=SOURCE", help="adapters that are served beside the model")
    add("--max-loras", type=_integer(1), default=1, help="adapters on the GPU at once (default 1)")
    add("--max-lora-rank", type=int, choices=RANKS, default=16, help="largest rank of an adapter (default 16)")
    add("--kv-transfer-config", type=_object, metavar="JSON", help="prefill and decode in two engines: NixlConnector")


def _lora_modules(arguments: argparse.Namespace) -> dict[str, str]:
    """Adapters by name."""
    modules = [item.partition("=") for item in arguments.lora_modules or ()]
    if modules and not arguments.enable_lora:
        raise UsageError("--lora-modules needs --enable-lora")
    for name, equals, source in modules:
        if not (name and equals and source):
            raise UsageError(f"--lora-modules {name}{equals}{source}: must be NAME=SOURCE")
    return {name: source for name, _, source in modules}


def _add_ignored(parser: argparse.ArgumentParser) -> None:
    nargs: dict[str, str | int | None] = {"value": None, "list": "+", "switch": 0, "optional": "?"}
    for flag in vllm_flags.ignored_flags():
        names = [flag.name, *([flag.negative] if flag.negative else []), *flag.aliases]
        if flag.name == "--optimization-level":
            # vLLM's parser takes this one apart before argparse sees it.
            names.append("-O")
        parser.add_argument(*names, action=_Ignore, nargs=nargs[flag.kind], dest="ignored", help=argparse.SUPPRESS)


def _normalize(argv: Sequence[str]) -> list[str]:
    """As vLLM: ``--max_model_len`` is ``--max-model-len``; ``--json-flag.key value`` is part of a flag."""
    normal = []
    for argument in argv:
        if not argument.startswith("-") or not argument.lstrip("-")[:1].isalpha():
            normal.append(argument)
            continue
        flag, equals, value = argument.partition("=")
        stem = flag.partition(".")[0].replace("_", "-")
        normal.append(f"{stem}{equals}{value}")
    return normal


def _explain_unknown(unknown: Sequence[str]) -> str:
    flag = next((argument for argument in unknown if argument.startswith("-")), None)
    if flag is None:
        return f"unexpected argument {unknown[0]!r}"
    # Only needed on the way out of a failed start.
    from difflib import get_close_matches

    name = flag.partition("=")[0]
    known = [option for action in _parser()._actions for option in action.option_strings]
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)
    return f"unknown flag {name}; the nearest valid flag is {nearest[0]}"


class _Bounded:
    """Argument type: a whole number within bounds."""

    def __init__(self, least: int, most: int | None) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < self._least or (self._most is not None and value > self._most):
            upper = f" to {self._most}" if self._most is not None else " or more"
            raise argparse.ArgumentTypeError(f"{value} is not {self._least}{upper}")
        return value


def _integer(least: int, most: int | None = None) -> _Bounded:
    return _Bounded(least, most)


def _share(text: str) -> float:
    value = _float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and at most 1")
    return value


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


_UNITS = {"k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20}


def _model_len(text: str) -> int:
    if text in ("auto", "-1"):
        return _FIT
    unit = _UNITS.get(text[-1:], 1)
    digits = text[:-1] if unit > 1 else text
    # vLLM reads 25.6k as a decimal number; binary units take whole numbers only.
    value = _float(digits) * unit
    if value < 1 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tokens such as 4096, 4k or 4K")
    return int(value)
