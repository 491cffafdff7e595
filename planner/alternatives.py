"""The nearest ways in which a model that does not fit would fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from planner.catalog import Gpu, Instance, Model, gpus, instances
from planner.lora import NO_LORA, LoraSlots
from planner.sizing import (
    DEFAULT_GPU_MEMORY_UTILIZATION,
    MIN_CONTEXT_TOKENS,
    Options,
    computes,
    fits,
    kv_cache_tokens,
    memory_of,
    mig_memory_gib,
    tensor_parallel_choices,
    weights_gib,
)

GPUS_PER_NODE, MOST_STAGES = 8, 4
"""Where no instance type is named: an HGX or DGX node, and as many of them as a replica may span."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A model on an instance type, as asked for.

    Attributes:
        model: the catalogue's row.
        instance: the catalogue's row.
        memory_gib: what CUDA offers on one GPU or slice, GiB.
        tensor_parallel: GPUs per replica.
        gpu_memory_utilization: share of the memory that the engine may take.
        max_model_len: tokens, None if not stated.
        quantization: how the engine stores linear layers, None for as the checkpoint has them.
        kv_cache_dtype: `auto` or `fp8`.
        mig_profile: name of the slice, None for whole GPUs.
        lora: room for adapters.
        clouds: where to look for larger instances.
    """

    model: Model
    instance: Instance
    memory_gib: float
    tensor_parallel: int
    gpu_memory_utilization: float
    max_model_len: int | None
    clouds: frozenset[str]
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    mig_profile: str | None = None
    lora: LoraSlots = NO_LORA

    def fits(
        self,
        memory_gib: float | None = None,
        tensor_parallel: int | None = None,
        quantization: str | None = None,
    ) -> bool:
        """Whether the model fits, with what is given changed."""
        return fits(
            self.model,
            memory_gib or self.memory_gib,
            tensor_parallel or self.tensor_parallel,
            self.gpu_memory_utilization,
            self.max_model_len,
            quantization=quantization or self.quantization,
            kv_cache_dtype=self.kv_cache_dtype,
            lora=self.lora,
        )


def nearest_ways(placement: Placement, most: int = 3) -> tuple[str, ...]:
    """Up to `most` changes, each enough by itself, the least far-reaching first.

    A shorter context, more GPUs of the same node, a larger MIG slice, fewer bits per weight, a larger GPU.
    """
    return tuple(islice(_ways(placement), most))


def nearest_ways_on(
    model: Model,
    gpu: Gpu,
    *,
    tensor_parallel: int = 1,
    gpu_memory_utilization: float = DEFAULT_GPU_MEMORY_UTILIZATION,
    max_model_len: int | None = None,
    mig_profile: str | None = None,
    share: float = 1.0,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    most: int = 3,
) -> tuple[str, ...]:
    """The same without an instance, as options of `python -m planner size`: up to 8 GPUs of a node, then more nodes."""

    def holds(memory: float, size: int, stages: int = 1, stored: str | None = quantization) -> bool:
        options = Options(pipeline_parallel=stages, quantization=stored, kv_cache_dtype=kv_cache_dtype)
        return fits(model, memory, size, gpu_memory_utilization, max_model_len, **options)

    here, partial = memory_of(gpu, mig_profile, share), mig_profile is not None or share < 1
    sizes = [size for size in tensor_parallel_choices(model, GPUS_PER_NODE) if size >= tensor_parallel]
    largest = sizes[-1] if sizes else tensor_parallel

    def ways() -> Iterator[str]:
        options = Options(quantization=quantization, kv_cache_dtype=kv_cache_dtype)
        tokens = kv_cache_tokens(model, here, tensor_parallel, gpu_memory_utilization, **options)
        if max_model_len is not None and MIN_CONTEXT_TOKENS <= tokens < max_model_len:
            yield f"--max-model-len {tokens}"
        if mig_profile is not None:
            slices = sorted(gpu.mig_profiles.values(), key=mig_memory_gib)
            larger = (item.name for item in slices if holds(mig_memory_gib(item), tensor_parallel))
            yield from (f"--mig-profile {name}" for name in islice(larger, 1))
        if partial and holds(gpu.memory_gib, tensor_parallel):
            yield "the whole GPU"
        more = [size for size in sizes if size > tensor_parallel and holds(gpu.memory_gib, size)]
        if not partial:
            yield from (f"--tensor-parallel {size}" for size in more[:1])
        if model.quantization is None and quantization is None:
            smaller = (kind for kind in ("fp8", "int4") if holds(here, tensor_parallel, stored=kind))
            yield from (f"--quantization {kind}" for kind in islice(smaller, 1))
        if not more:
            stages = (count for count in range(2, MOST_STAGES + 1) if holds(gpu.memory_gib, largest, count))
            yield from (f"--tensor-parallel {largest} --pipeline-parallel {count}" for count in islice(stages, 1))
        rows = sorted((row for row in gpus().values() if computes(row, model.dtype)), key=lambda row: row.memory_gib)
        enough = (row.key for row in rows if row.memory_gib > gpu.memory_gib and holds(row.memory_gib, tensor_parallel))
        yield from (f"--gpu {key}" + (" as a whole" if partial else "") for key in islice(enough, 1))

    return tuple(islice(ways(), most))


def _ways(placement: Placement) -> Iterator[str]:
    yield from _shorter_context(placement)
    if placement.mig_profile is None:
        yield from _more_gpus(placement)
    else:
        yield from _larger_slice(placement)
    fewer_bits = list(_fewer_bits(placement))
    yield from fewer_bits[:1]
    yield from _larger_gpu(placement)
    yield from fewer_bits[1:]


def _shorter_context(placement: Placement) -> Iterator[str]:
    if placement.max_model_len is None:
        return
    tokens = kv_cache_tokens(
        placement.model,
        placement.memory_gib,
        placement.tensor_parallel,
        placement.gpu_memory_utilization,
        quantization=placement.quantization,
        kv_cache_dtype=placement.kv_cache_dtype,
        lora=placement.lora,
    )
    if MIN_CONTEXT_TOKENS <= tokens < placement.max_model_len:
        yield f"engine.max_model_len {tokens}"


def _more_gpus(placement: Placement) -> Iterator[str]:
    for size in tensor_parallel_choices(placement.model, placement.instance.gpus):
        if size > placement.tensor_parallel and placement.fits(tensor_parallel=size):
            yield f"engine.tensor_parallel {size} (the instance has {placement.instance.gpus} GPUs)"
            return


def _larger_slice(placement: Placement) -> Iterator[str]:
    profiles = gpus()[placement.instance.gpu].mig_profiles.values()
    for profile in sorted(profiles, key=mig_memory_gib):
        if placement.fits(memory_gib=mig_memory_gib(profile)):
            yield f"MIG profile {profile.name} ({profile.per_gpu} per GPU)"
            return


def _fewer_bits(placement: Placement) -> Iterator[str]:
    if placement.model.quantization is not None or placement.quantization is not None:
        return
    whole = placement.mig_profile is None
    sizes = list(tensor_parallel_choices(placement.model, placement.instance.gpus)) if whole else [1]
    for bits, quantization in ((8, "int8"), (4, "int4")):
        for size in sizes:
            if size >= placement.tensor_parallel and placement.fits(tensor_parallel=size, quantization=quantization):
                weights = weights_gib(placement.model, quantization)
                more = "" if size == placement.tensor_parallel else f" and engine.tensor_parallel {size}"
                yield f"a checkpoint with {bits}-bit weights ({weights:.1f} GiB){more}"
                break


def _larger_gpu(placement: Placement) -> Iterator[str]:
    found: list[tuple[float, int, str]] = []
    for instance in instances().values():
        if instance.cloud not in placement.clouds or instance.price_per_hour is None:
            continue
        gpu = gpus()[instance.gpu]
        if not computes(gpu, placement.model.dtype):
            continue
        for size in tensor_parallel_choices(placement.model, instance.gpus):
            if placement.fits(memory_gib=gpu.memory_gib, tensor_parallel=size):
                found.append((instance.price_per_hour * size / instance.gpus, size, instance.key))
                break
    if found:
        # The least costly per replica; of equals, the one with fewer GPUs per replica.
        price, size, key = min(found)
        instance = instances()[key]
        yield (
            f"a node pool of {key} ({instance.gpus} x {gpus()[instance.gpu].name}) with "
            f"engine.tensor_parallel {size} (${price:.2f}/h per replica)"
        )
