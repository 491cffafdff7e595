"""Small engines for tests: a core in virtual time, and settings whose steps are short."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from local.engine_simulator.arguments import parse
from local.engine_simulator.core import EngineCore, EngineLimits
from local.engine_simulator.environment import Simulation
from local.engine_simulator.facts import GpuFacts, ModelFacts
from local.engine_simulator.latency import StepCost
from local.engine_simulator.sequence import EngineSequence, State
from local.engine_simulator.settings import EngineSettings, resolve

# 10 ms, 1 us per token of context, 100 us per token of prefill: round numbers to reckon with.
COST = StepCost(base=0.01, per_context_token=1e-6, per_prefill_token=1e-4)

LLAMA_8B = ModelFacts(
    hf_id="meta-llama/Llama-3.1-8B-Instruct",
    parameters=8_030_261_248,
    layers=32,
    heads=32,
    kv_heads=8,
    head_dim=128,
    dtype_bytes=2.0,
    max_position_embeddings=131072,
    embedding_parameters=2 * 128256 * 4096,
    vocab=128256,
    hidden=4096,
    intermediate=14336,
)
L4 = GpuFacts(name="l4", memory_gib=22.03, bandwidth_gb_s=300, bf16_tflops=121, fp8_tflops=242, board_power_w=72)


def make_core(
    *,
    seqs: int = 4,
    batched_tokens: int = 64,
    model_len: int = 256,
    blocks: int = 64,
    prefix_caching: bool = False,
) -> EngineCore:
    """An engine with blocks of 16 tokens and the cost above."""
    limits = EngineLimits(
        max_num_seqs=seqs,
        max_num_batched_tokens=batched_tokens,
        max_model_len=model_len,
        num_blocks=blocks,
        prefix_caching=prefix_caching,
    )
    return EngineCore(limits, COST)


class VirtualEngine:
    """Runs a core step after step, as fast as the machine can, and keeps the time."""

    def __init__(self, core: EngineCore) -> None:
        self.core = core
        self.now = 0.0
        self.emitted: list[EngineSequence] = []

    def add(
        self, prompt: int, output: int, hashes: Sequence[int] = (), on_token: Callable[[int], None] | None = None
    ) -> EngineSequence:
        """Queue a request now."""
        sequence = EngineSequence(prompt, output, prompt_hashes=hashes, on_token=on_token)
        self.core.add(sequence, self.now)
        return sequence

    def step(self) -> float | None:
        """One step; its duration, or None when there was nothing to do."""
        duration = self.core.schedule(self.now)
        if duration is None:
            return None
        self.now += duration
        self.emitted = self.core.complete(self.now)
        return duration

    def run(self, most_steps: int = 100_000) -> int:
        """Step until idle; the number of steps."""
        for steps in range(most_steps):
            if self.step() is None:
                return steps
        raise AssertionError(f"not idle after {most_steps} steps")


def blocks_in_use(core: EngineCore) -> int:
    """Blocks that are neither free nor evictable."""
    return core.blocks.size - core.blocks.available


def finished(sequence: EngineSequence) -> bool:
    """Whether a sequence has left the engine."""
    return sequence.state is State.FINISHED


def make_settings(*arguments: str, speedup: float = 1000.0, **environ: str) -> EngineSettings:
    """Settings of an 8B model on an L4, a thousand times faster than that (a step takes 62 us)."""
    argv = ["serve", LLAMA_8B.hf_id, "--max-model-len", "4096", *arguments]
    return resolve(parse(argv), Simulation(speedup=speedup), LLAMA_8B, L4, environ)
