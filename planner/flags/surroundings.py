"""What flags demand of the GPU, the model and the router that the engine runs with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from planner.catalog import Gpu, Model
from planner.flags.catalogue import Catalogue
from planner.flags.errors import FlagError, did_you_mean, ordered
from planner.flags.rules import Setting
from planner.sizing import tensor_parallel_choices

BFLOAT16_CAPABILITY: Final = 8.0
"""vLLM 0.32.0 platforms/cuda.py check_if_supports_dtype."""

QUANTIZED_CACHE_CAPABILITY: Final = 8.0
"""FlashInfer reads a quantized KV cache from 8.0 on, the other backends from 8.9 or 9.0 on: vLLM 0.32.0
v1/attention/backends/flashinfer.py supports_compute_capability, triton_attn.py, flash_attn.py."""

NATIVE_FP8_CAPABILITY: Final = 8.9
"""vLLM 0.32.0 v1/attention/backends/triton_attn.py __init__."""

STORED_QUANTIZATION: Final = frozenset(
    {"awq", "auto_awq", "awq_marlin", "gptq", "auto_gptq", "gptq_marlin", "compressed-tensors", "modelopt_fp4"}
)
"""Methods that read weights which were quantized before (their `from_config` needs the checkpoint's
quantization_config): vLLM 0.32.0 model_executor/model_loader/weight_utils.py get_quant_config."""

CACHE_AWARE: Final = frozenset({"cache_aware", "kv_aware", "kvaware", "prefixaware", "prefix_aware"})
"""Routing policies that send a prompt to where its prefix is cached."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What an engine runs with; None where it is not known, and then not checked.

    Attributes:
        model: what it serves.
        gpu: what it runs on.
        gpus: how many GPUs a replica can have at most.
        router_policy: how requests are spread over the replicas.
    """

    model: Model | None = None
    gpu: Gpu | None = None
    gpus: int | None = None
    router_policy: str | None = None


Check = Callable[[Catalogue, Mapping[str, Setting], Surroundings], Iterator[FlagError]]


def check_surroundings(catalogue: Catalogue, found: Mapping[str, Setting], around: Surroundings) -> Iterator[FlagError]:
    """What is set and cannot work there.

    Args:
        catalogue: the engine's flags; vLLM's and SGLang's names are known, of other engines nothing is checked.
        found: what is set.
        around: where.
    """
    for check in (_dtype, _quantization, _cache_dtype, _tensor_parallel, _prefix_caching):
        yield from check(catalogue, found, around)


def _dtype(_: Catalogue, found: Mapping[str, Setting], around: Surroundings) -> Iterator[FlagError]:
    dtype, gpu = found.get("--dtype"), around.gpu
    if dtype is None or gpu is None or gpu.compute_capability >= BFLOAT16_CAPABILITY:
        return
    if dtype.values[0] == "bfloat16":
        message = (
            f"the {gpu.name} (compute capability {gpu.compute_capability:g}) cannot compute bfloat16: it takes 8.0"
        )
        yield FlagError(dtype.given.written, "bfloat16", message, ("half", "float16", "float32"), "Write half.")


def _quantization(catalogue: Catalogue, found: Mapping[str, Setting], around: Surroundings) -> Iterator[FlagError]:
    setting = found.get("--quantization")
    if setting is None:
        return
    method, gpu, model = setting.values[0], around.gpu, around.model
    least = catalogue.quantization.get(method, {}).get("min_capability")
    if gpu is not None and least is not None and round(gpu.compute_capability * 10) < least:
        able = ordered(
            method,
            (
                name
                for name, facts in catalogue.quantization.items()
                if facts["min_capability"] <= round(gpu.compute_capability * 10) and not facts.get("deprecated")
            ),
        )
        message = f"the {gpu.name} has compute capability {gpu.compute_capability:g}, and {method} takes {least / 10:g}"
        fix = " ".join(part for part in (did_you_mean(method, able), "Or choose a pool with a newer GPU.") if part)
        yield FlagError(setting.given.written, method, message, able, fix)
    if model is not None and model.quantization is None and method in STORED_QUANTIZATION:
        message = f"the checkpoint of {model.key} is not quantized, and {method} reads weights that are"
        fix = "Name a checkpoint that is, or write fp8, which quantizes while it loads."
        yield FlagError(setting.given.written, method, message, ("fp8",), fix)


def _cache_dtype(_: Catalogue, found: Mapping[str, Setting], around: Surroundings) -> Iterator[FlagError]:
    setting, gpu = found.get("--kv-cache-dtype"), around.gpu
    if setting is None or gpu is None or setting.values[0] in {"auto", "float16"}:
        return
    dtype, capability = setting.values[0], gpu.compute_capability
    backend = found.get("--attention-backend")
    least = QUANTIZED_CACHE_CAPABILITY
    if dtype.startswith("fp8") and backend is not None and backend.is_one_of(["TRITON_ATTN"]):
        least = NATIVE_FP8_CAPABILITY
    if capability < least:
        message = f"the {gpu.name} has compute capability {capability:g}, and a {dtype} KV cache takes {least:g}"
        yield FlagError(setting.given.written, dtype, message, ("auto", "float16"), "Write auto, or leave it out.")


def _tensor_parallel(_: Catalogue, found: Mapping[str, Setting], around: Surroundings) -> Iterator[FlagError]:
    setting = found.get("--tensor-parallel-size")
    if setting is None or not setting.values[0].isdigit():
        return
    size, model, gpus = int(setting.values[0]), around.model, around.gpus
    if gpus is not None and size > gpus:
        message = f"is more than the {gpus} GPUs that a replica can have"
        yield FlagError(setting.given.written, size, message, (str(gpus),), f"Write {gpus} or less.")
    elif model is not None and size > 0:
        sizes = tuple(tensor_parallel_choices(model, max(gpus or 0, size)))
        if size not in sizes:
            message = f"does not divide the {model.heads} heads ({model.kv_heads} KV heads) of {model.key}"
            choices = tuple(str(item) for item in sorted(sizes, key=lambda item: (abs(item - size), item)))
            yield FlagError(setting.given.written, size, message, choices, "Choose one of them.")


def _prefix_caching(_: Catalogue, found: Mapping[str, Setting], around: Surroundings) -> Iterator[FlagError]:
    setting, policy = found.get("--enable-prefix-caching"), around.router_policy
    if setting is not None and setting.values == ("false",) and policy in CACHE_AWARE:
        message = f"the router sends prompts to where their prefix is cached (policy {policy}), and nothing is"
        fix = "Leave it out, or choose another policy, e.g. power_of_two."
        yield FlagError(setting.given.written, "false", message, ("true",), fix)
