"""From arguments, environment and facts to the sizes of one engine: what vLLM derives when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from local.engine_simulator import memory
from local.engine_simulator.adapters import slot_bytes, updates_allowed
from local.engine_simulator.arguments import ServeArguments
from local.engine_simulator.core import EngineLimits
from local.engine_simulator.environment import Simulation
from local.engine_simulator.facts import DTYPE_BYTES, GpuFacts, ModelFacts
from local.engine_simulator.latency import StepCost, step_cost
from local.engine_simulator.nixl import TransferSettings, read_transfer

# vLLM's defaults for its API server by GPU (EngineArgs.get_batch_defaults): more where memory is large, but
# not on A100, where large steps lose throughput (vLLM PR 17885).
_LARGE_GPU_GIB = 70
_LARGE_DEFAULTS = (1024, 8192)
_SMALL_DEFAULTS = (256, 2048)


class StartError(Exception):
    """The engine cannot start with these arguments on this GPU; one line for the user, exit status 1."""


@dataclass(frozen=True, slots=True)
class _KvCache:
    """What is left for the KV cache on each GPU; ``bytes_per_gpu`` is negative if the weights do not fit."""

    bytes_per_gpu: float
    bytes_per_token: float
    blocks: int


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """All that the server needs to know about its engine."""

    arguments: ServeArguments
    simulation: Simulation
    model: ModelFacts
    gpu: GpuFacts
    limits: EngineLimits
    cost: StepCost
    api_keys: tuple[str, ...]
    dev_mode: bool
    lora_updates: bool = False
    transfer: TransferSettings | None = None
    kv_bytes_per_token: float = 0.0

    @property
    def kv_cache_tokens(self) -> int:
        """Tokens that the KV cache holds."""
        return self.limits.num_blocks * self.limits.block_size


def resolve(
    arguments: ServeArguments,
    simulation: Simulation,
    model: ModelFacts,
    gpu: GpuFacts,
    environ: Mapping[str, str],
) -> EngineSettings:
    """Derive the sizes and the cost of a step.

    Raises:
        StartError: the weights or one full sequence do not fit, or sizes contradict each other; vLLM refuses
        the same.
    """
    parallel = arguments.tensor_parallel_size
    if model.heads % parallel:
        raise StartError(
            f"--tensor-parallel-size {parallel} does not divide {model.hf_id}'s {model.heads} attention heads"
        )
    quantization = arguments.quantization or model.quantization
    if quantization is not None and quantization not in memory.QUANTIZED_WEIGHT_BYTES:
        raise StartError(f"{model.hf_id} is quantized with {quantization!r}, which the simulator does not know")
    dtype_bytes = DTYPE_BYTES.get(arguments.dtype, model.dtype_bytes)
    weights = memory.weight_bytes(model, quantization, dtype_bytes)
    element_bytes = 1.0 if arguments.kv_cache_dtype.startswith("fp8") else dtype_bytes
    kv_bytes = memory.kv_bytes_per_token_and_gpu(model, parallel, element_bytes)
    seqs, tokens = _batch(arguments, gpu)
    slots = slot_bytes(model, arguments.max_loras, arguments.max_lora_rank, parallel)
    cache_bytes = -slots + memory.kv_cache_bytes_per_gpu(
        model, gpu.memory_gib, arguments.gpu_memory_utilization, weights, parallel, seqs, tokens
    )
    cache = _KvCache(
        bytes_per_gpu=cache_bytes,
        bytes_per_token=kv_bytes,
        blocks=arguments.num_gpu_blocks_override or memory.kv_cache_blocks(cache_bytes, kv_bytes, arguments.block_size),
    )
    return EngineSettings(
        arguments=arguments,
        simulation=simulation,
        model=model,
        gpu=gpu,
        limits=_limits(arguments, model, gpu, cache),
        cost=step_cost(
            model,
            gpu,
            tensor_parallel=parallel,
            weight_bytes=weights,
            kv_bytes_per_token=kv_bytes * parallel,
            fp8_compute=memory.QUANTIZED_WEIGHT_BYTES.get(quantization or "") == 1.0,
            speedup=simulation.speedup,
        ),
        api_keys=arguments.api_keys or tuple(filter(None, [environ.get("VLLM_API_KEY")])),
        dev_mode=environ.get("VLLM_SERVER_DEV_MODE") == "1",
        lora_updates=bool(arguments.max_loras) and updates_allowed(environ),
        transfer=_transfer(arguments, environ),
        kv_bytes_per_token=kv_bytes * parallel,
    )


def _transfer(arguments: ServeArguments, environ: Mapping[str, str]) -> TransferSettings | None:
    try:
        return read_transfer(arguments.kv_transfer, environ)
    except ValueError as error:
        raise StartError(f"the side channel of NIXL: {error}") from None


def _batch(arguments: ServeArguments, gpu: GpuFacts) -> tuple[int, int]:
    """Sequences and tokens of a step."""
    large = gpu.memory_gib >= _LARGE_GPU_GIB and not gpu.name.startswith("a100")
    default_seqs, default_tokens = _LARGE_DEFAULTS if large else _SMALL_DEFAULTS
    tokens = arguments.max_num_batched_tokens or default_tokens
    # As vLLM: a derived number of sequences never exceeds the tokens of a step, a given one must not.
    seqs = arguments.max_num_seqs or min(default_seqs, tokens)
    if tokens < seqs:
        raise StartError(f"--max-num-batched-tokens {tokens} must be at least --max-num-seqs {seqs}")
    return seqs, tokens


def _limits(arguments: ServeArguments, model: ModelFacts, gpu: GpuFacts, cache: _KvCache) -> EngineLimits:
    seqs, tokens = _batch(arguments, gpu)
    return EngineLimits(
        max_num_seqs=seqs,
        max_num_batched_tokens=tokens,
        max_model_len=_max_model_len(arguments, model, gpu, cache),
        num_blocks=cache.blocks,
        block_size=arguments.block_size,
        prefix_caching=arguments.enable_prefix_caching,
    )


def _max_model_len(arguments: ServeArguments, model: ModelFacts, gpu: GpuFacts, cache: _KvCache) -> int:
    where = f"{arguments.tensor_parallel_size} x {gpu.name} ({gpu.memory_gib:.2f} GiB each)"
    capacity = cache.blocks * arguments.block_size
    if capacity < 1:
        raise StartError(
            f"no memory for the KV cache: {model.hf_id} does not fit on {where} with "
            f"--gpu-memory-utilization {arguments.gpu_memory_utilization:g} "
            f"({-cache.bytes_per_gpu / memory.GIB:.2f} GiB short per GPU); raise it, add GPUs or quantize"
        )
    if arguments.fit_model_len:
        return min(model.max_position_embeddings, capacity)
    length = arguments.max_model_len or model.max_position_embeddings
    if length > model.max_position_embeddings:
        raise StartError(f"--max-model-len {length} exceeds {model.hf_id}'s own {model.max_position_embeddings}")
    if length > capacity:
        needed, left = (tokens * cache.bytes_per_token / memory.GIB for tokens in (length, capacity))
        raise StartError(
            f"one sequence of --max-model-len {length} needs {needed:.2f} GiB of KV cache per GPU, but "
            f"{left:.2f} GiB ({capacity} tokens) are left beside the weights of {model.hf_id} on {where}; "
            f"lower --max-model-len to at most {capacity}"
        )
    return length
