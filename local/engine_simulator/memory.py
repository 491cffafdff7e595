"""How many KV-cache blocks fit beside the weights on a GPU, as vLLM works it out when it starts.

    budget per GPU = visible memory * gpu_memory_utilization - weights / TP - overhead
    blocks         = floor(budget / (KV bytes per token and GPU) / block size)

Bytes per token are those of vLLM's ``v1/kv_cache_interface.py``: K and V of every layer; KV heads are divided over
the GPUs, and replicated where there are fewer heads than GPUs.

The overhead stands for what vLLM measures when it starts; it is the planner's (``planner/sizing.py`` states its
parts and their sources), so that what the plan calls fitting starts here.
"""

from __future__ import annotations

from local.engine_simulator.facts import ModelFacts
from planner.sizing import overhead_gib

GIB = 1024**3

_INT4 = 0.5 + 2 / 128  # AWQ and GPTQ: one 16-bit scale per group of 128

# Bytes per parameter of quantized linear layers.
QUANTIZED_WEIGHT_BYTES = {
    "fp8": 1.0,
    "fbgemm_fp8": 1.0,
    "ptpc_fp8": 1.0,
    "modelopt": 1.0,
    "experts_int8": 1.0,
    "awq": _INT4,
    "awq_marlin": _INT4,
    "gptq": _INT4,
    "gptq_marlin": _INT4,
    "bitsandbytes": _INT4,
    "modelopt_fp4": _INT4,
    "int4-g32": 0.5 + 2 / 32,
    "mxfp4": 0.5 + 1 / 32,
    "nvfp4": 0.5 + 1 / 16,
}


def weight_bytes(model: ModelFacts, quantization: str | None, dtype_bytes: float) -> float:
    """Bytes of all weights, over all GPUs; embeddings and output head are never quantized."""
    if quantization is None:
        return model.parameters * dtype_bytes
    layers = (model.parameters - model.embedding_parameters) * QUANTIZED_WEIGHT_BYTES[quantization]
    return layers + model.embedding_parameters * dtype_bytes


def kv_bytes_per_token_and_gpu(model: ModelFacts, tensor_parallel: int, element_bytes: float) -> float:
    """Bytes that one token takes in the KV cache of each GPU."""
    if model.kv_latent:
        return model.layers * model.kv_latent * element_bytes
    heads = max(1, -(-model.kv_heads // tensor_parallel))
    return 2 * model.layers * heads * model.head_dim * element_bytes


def kv_cache_bytes_per_gpu(  # noqa: PLR0917 - the order of the formula
    model: ModelFacts,
    memory_gib: float,
    utilization: float,
    all_weight_bytes: float,
    tensor_parallel: int,
    max_num_seqs: int,
    max_num_batched_tokens: int,
) -> float:
    """Bytes left for the KV cache on each GPU; negative when the weights do not fit."""
    overhead = overhead_gib(
        vocab=model.vocab,
        hidden=model.hidden,
        intermediate=model.intermediate,
        tensor_parallel=tensor_parallel,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
    )
    return (memory_gib * utilization - overhead) * GIB - all_weight_bytes / tensor_parallel


def kv_cache_blocks(cache_bytes: float, kv_bytes_per_token: float, block_size: int) -> int:
    """Whole blocks of ``block_size`` tokens that fit; 0 when nothing does."""
    return max(0, int(cache_bytes // (kv_bytes_per_token * block_size)))
