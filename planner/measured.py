"""The measured rows that the latency formula is fitted to and held against, and what is wrong with some of them.

Rows: `measured.csv`, a part of AIConfigurator's `silicon_sample.csv` (Apache-2.0, NVIDIA, 2026-04), which is not part
of this repository. What its columns mean was read off the rows themselves:

- the same measurement stands there under several ids: repetitions are dropped;
- `batch_size` is for each rank of data-parallel attention: the `c` of most ids is the product of the two;
- where tensor and expert parallelism are both above 1, some rows give their product for the former (64 where a twin
  with an older id, the same latencies and the same node of 8 GPUs says 8): it is taken back;
- KV caches are taken as fp8 where a dense row says fp8 or fp4, as NVIDIA's checkpoints and the recipes of these runs
  have it; nothing in the rows says so;
- a dense vLLM row with `_epnone_` in its id and fp8 comes from a harness whose prompts were not computed: 3 of these 14
  rows are quicker than the arithmetic of their prompts would be at the peak of the data sheet (`bound_ms`). They are
  predicted with prompts that the prefix cache has;
- in rows with `_epnone_` in their id all requests start together: at 8 requests their TTFT is 3 (vLLM) to 4.5
  (TensorRT-LLM) times the time of one prompt, whatever its length, as if half of the others came first.

Not used for fitting, but held against the formula all the same (`Row.doubt`): rows of that harness; rows that a slower
twin contradicts (same model, GPU, engine, lengths, parallelism and batch, 20 percent and more: an option that the rows
do not name, such as speculative decoding); rows quicker than the same deployment with a quarter of the requests; tensor
parallelism over more than 16 GPUs or a number that does not divide the attention heads.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from planner.catalog import Gpu, Model, gpus, models
from planner.memory import GIB, QUANTIZED_BYTES, kv_bytes_per_token
from planner.step import Batch, prompt_batch, steady_batch, step_terms

MEASURED = Path(__file__).resolve().parents[2] / "shared" / "data" / "silicon" / "measured.csv"

ALIASES = {
    "meta-llama/Llama-3.1-70B": "meta-llama/Llama-3.1-70B-Instruct",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama/Llama-3.1-8B-Instruct",
    "nvidia/Qwen3-32B-NVFP4": "Qwen/Qwen3-32B",
    "nvidia/DeepSeek-R1-NVFP4": "deepseek-ai/DeepSeek-R1",
    "nvidia/DeepSeek-V3.1-NVFP4": "deepseek-ai/DeepSeek-V3",
    "zhipuai/GLM-5": "zai-org/GLM-5-FP8",
}
SYSTEMS = {"h100_sxm": "h100", "h200_sxm": "h200", "b200_sxm": "b200", "b300_sxm": "b300", "gb200": "gb200"}
PRECISIONS = {"": None, "bf16": None, "fp8": "fp8", "fp4": "nvfp4", "int4": "int4-g32"}
MXFP4_ONLY = frozenset({"openai/gpt-oss-120b"})
"""Their weights are mxfp4 whatever the row says of activations."""

MOST_TENSOR_PARALLEL = 16
"""No engine splits a layer over more GPUs: rows that say so are whole clusters."""

ELSEWHERE_SOURCE = (
    "post 양자화 3종 벤치마크 by jinwoong, 2026-08-19: vLLM 0.8.5.post1, Qwen2.5-7B, L40S (g6e.xlarge), ShareGPT"
)
ELSEWHERE = (
    (None, ((1, 21.12), (10, 22.58), (100, 42.47), (300, 74.63))),
    ("fp8", ((1, 13.97), (10, 14.74), (100, 29.45), (300, 59.92))),
    ("int4", ((1, 8.61), (10, 9.37), (100, 29.52), (300, 69.27))),
)
"""Public measurements on a GPU of which the file has no row, never used for fitting: quantization, then requests and ms
per output token. They say how far the constants carry to cards without HBM and NVLink."""

ELSEWHERE_TOKENS = (220, 200)
"""Mean prompt and answer of ShareGPT as vLLM's own benchmark filters it (its logs: about 217 and 200 tokens)."""

CONTRADICTED = 1.2
FEWER_REQUESTS = 4
USABLE_MEMORY, RUNTIME_GIB = 0.95, 2.0
"""What engines leave of a GPU's memory at most, for the number of requests that fit: nothing in the rows says it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement, with what is needed to predict it.

    Attributes:
        concurrency: requests, over all ranks of data-parallel attention.
        tensor_parallel: GPUs of a rank.
        data_parallel: ranks.
        cached: share of the prompts taken as served from the prefix cache.
        cache_type: of the KV cache where it is known; else as the head of this file says.
        lockstep: its requests started together, so that prompts waited for each other.
        doubt: why the row is not used for fitting; empty if it is.
    """

    id: str
    model: Model
    gpu: Gpu
    engine: str
    precision: str
    quantization: str | None
    input_tokens: int
    output_tokens: int
    concurrency: float
    tensor_parallel: int
    data_parallel: int
    ttft_ms: float
    tpot_ms: float
    cached: float = 0.0
    lockstep: bool = False
    cache_type: str = ""
    doubt: str = ""

    @property
    def kv_cache_dtype(self) -> str:
        """See the head of this file."""
        if self.cache_type:
            return self.cache_type
        return "fp8" if self.model.experts == 0 and self.quantization in {"fp8", "nvfp4"} else "auto"

    @property
    def feed_forward(self) -> str:
        """What its constants are fitted by, beside the engine."""
        return "experts" if self.model.experts else "dense"

    @cached_property
    def terms(self) -> tuple[float, ...]:
        """Terms of its mean step, seconds at peak."""
        return self._terms(self._steady(self.cached))

    @cached_property
    def first_terms(self) -> tuple[float, ...]:
        """Terms of the step that takes up a prompt."""
        return self._terms(prompt_batch(self.input_tokens * (1 - self.cached)))

    def _terms(self, batch: Batch) -> tuple[float, ...]:
        return step_terms(
            self.model,
            self.gpu,
            batch,
            tensor_parallel=self.tensor_parallel,
            data_parallel=self.data_parallel,
            quantization=self.quantization,
            kv_cache_dtype=self.kv_cache_dtype,
        )

    def _steady(self, cached: float) -> Batch:
        sequences = max(1.0, min(self.concurrency / self.data_parallel, self._room()))
        return steady_batch(sequences, self.input_tokens, self.output_tokens, self.data_parallel, cached)

    def _room(self) -> float:
        """Requests that the KV cache of a rank holds; without limit where the weights alone seem too much."""
        model = self.model
        size = 2.0 if self.quantization is None else QUANTIZED_BYTES[self.quantization]
        experts = model.expert_parameters
        others = (model.parameters - experts) * (2.0 if model.quantized_experts_only else size)
        weights = experts * size / self.tensor_parallel / self.data_parallel + others / self.tensor_parallel
        left = self.gpu.memory_gib * GIB * USABLE_MEMORY - RUNTIME_GIB * GIB - weights
        length = self.input_tokens + self.output_tokens / 2
        each = kv_bytes_per_token(model, self.tensor_parallel, self.kv_cache_dtype) * length
        return left / (each + model.state_bytes / self.tensor_parallel) if left > 0 else float("inf")

    def bound_ms(self, cached: float = 0.0) -> float:
        """The least TPOT that the data sheet allows: reading weights and cache, or multiplying, at the peak."""
        weights, cache, linear, *_ = self._terms(self._steady(cached))
        return (weights + cache + linear) * 1e3


def read_rows(path: Path) -> list[Row]:
    """The distinct rows.

    Raises:
        OSError: the file cannot be read.
        KeyError: a model, a GPU or a column that is not known.
    """
    with path.open(encoding="utf-8", newline="") as file:
        found = [_row(raw) for raw in csv.DictReader(file)]
    distinct = {_identity(row): row for row in reversed(found)}
    return _doubted(list(reversed(distinct.values())))


def elsewhere_rows() -> list[Row]:
    """The measurements of `ELSEWHERE`."""
    return [
        Row(
            id=f"l40s-{stored}-{requests}",
            model=models()["Qwen/Qwen2.5-7B-Instruct"],
            gpu=gpus()["l40s"],
            engine="vllm",
            precision=stored or "",
            quantization=stored,
            input_tokens=ELSEWHERE_TOKENS[0],
            output_tokens=ELSEWHERE_TOKENS[1],
            concurrency=requests,
            tensor_parallel=1,
            data_parallel=1,
            ttft_ms=float("nan"),
            tpot_ms=milliseconds,
            cache_type="auto",
            lockstep=True,
            doubt="elsewhere",
        )
        for stored, points in ELSEWHERE
        for requests, milliseconds in points
    ]


def _identity(row: Row) -> tuple[object, ...]:
    return (*deployment(row), row.concurrency, row.ttft_ms, row.tpot_ms)


def deployment(row: Row) -> tuple[object, ...]:
    """What was run, but for the number of requests."""
    lengths = row.input_tokens, row.output_tokens
    return row.model.key, row.gpu.key, row.engine, row.precision, *lengths, row.tensor_parallel, row.data_parallel


def _row(raw: Mapping[str, str]) -> Row:
    model = models()[ALIASES.get(raw["model_path"], raw["model_path"])]
    quantization = PRECISIONS[raw["precision"]]
    if model.key in MXFP4_ONLY:
        quantization = "mxfp4"
    parallel, ranks = _parallel(raw)
    other = raw["backend"] == "vllm" and "_epnone_" in raw["id"] and raw["precision"] == "fp8"
    return Row(
        id=raw["id"],
        model=model,
        gpu=gpus()[SYSTEMS[raw["system"]]],
        engine=raw["backend"],
        precision=raw["precision"],
        quantization=quantization,
        input_tokens=int(raw["isl"]),
        output_tokens=int(raw["osl"]),
        concurrency=int(raw["batch_size"]) * _size(raw, "attention_dp_size"),
        tensor_parallel=parallel,
        data_parallel=ranks,
        ttft_ms=float(raw["silicon_ttft_ms"]),
        tpot_ms=float(raw["silicon_tpot_ms"]),
        lockstep="_epnone_" in raw["id"],
        cached=1.0 if other and not model.experts else 0.0,
        doubt="another harness" if other else "",
    )


def _size(raw: Mapping[str, str], name: str) -> int:
    return max(1, int(raw[name] or 1))


def _parallel(raw: Mapping[str, str]) -> tuple[int, int]:
    """Tensor-parallel size and ranks of data-parallel attention; see the head of this file."""
    parallel, ranks = _size(raw, "tp_size"), _size(raw, "attention_dp_size")
    wide, experts = _size(raw, "moe_tp_size"), _size(raw, "moe_ep_size")
    stated = int(raw["attention_dp_size"] or 0) > 0
    if stated and wide == experts > 1 and parallel * ranks == wide * experts:
        return (1, wide) if ranks > 1 else (wide, 1)
    if parallel == ranks > 1 and parallel * ranks == experts:
        return 1, ranks
    return max(parallel * ranks, wide * experts) // ranks, ranks


def _doubted(rows: Sequence[Row]) -> list[Row]:
    alike: defaultdict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        alike[deployment(row)].append(row)
    return [replace(row, doubt=row.doubt or _doubt(row, alike[deployment(row)])) for row in rows]


def _doubt(row: Row, alike: Iterable[Row]) -> str:
    if row.model.heads % row.tensor_parallel or row.tensor_parallel > MOST_TENSOR_PARALLEL:
        return "impossible parallelism"
    slower = [other for other in alike if other.tpot_ms > CONTRADICTED * row.tpot_ms]
    if any(other.concurrency == row.concurrency for other in slower):
        return "a slower twin"
    if any(other.concurrency * FEWER_REQUESTS <= row.concurrency for other in slower):
        return "quicker than with fewer requests"
    return ""
