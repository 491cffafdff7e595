"""The engine under random traffic: no block leaks, no limit is broken, every request gets its tokens.

Not proven here: anything about the sequence of real vLLM's decisions, or about real time.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from local.engine_simulator.core import EngineCore
from local.engine_simulator.prompts import block_hashes
from local.engine_simulator.sequence import EngineSequence, State
from tests.unit.engine_simulator.engine_doubles import VirtualEngine, blocks_in_use, make_core

pytestmark = pytest.mark.unit

MODEL_LEN = 96


class EngineTraffic(RuleBasedStateMachine):
    """Adds, steps and aborts in any order; the KV cache is tight, so that preemption is common."""

    engine: VirtualEngine
    core: EngineCore

    @initialize(
        blocks=st.integers(6, 14), seqs=st.integers(1, 5), batched=st.integers(1, 80), prefix_caching=st.booleans()
    )
    def start(self, blocks: int, seqs: int, batched: int, prefix_caching: bool) -> None:
        self.core = make_core(
            blocks=blocks, seqs=seqs, batched_tokens=batched, model_len=MODEL_LEN, prefix_caching=prefix_caching
        )
        self.engine = VirtualEngine(self.core)
        self.tokens: dict[int, list[int]] = {}
        self.requests: list[EngineSequence] = []

    @rule(prompt=st.integers(1, 80), output=st.integers(1, 16), family=st.integers(0, 2))
    def add(self, prompt: int, output: int, family: int) -> None:
        ids = [family] * prompt
        hashes = block_hashes(ids, 16) if self.core.limits.prefix_caching else []
        seen: list[int] = []
        request = self.engine.add(prompt, output, hashes, on_token=seen.append)
        self.tokens[id(request)] = seen
        self.requests.append(request)

    @rule(steps=st.integers(1, 12))
    def steps(self, steps: int) -> None:
        for _ in range(steps):
            self.engine.step()
            for sequence in self.engine.emitted:
                if sequence.state is State.RUNNING and sequence.on_token is not None:
                    sequence.on_token(sequence.generated)
            self.engine.emitted = []
            self.within_limits()

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        if self.requests:
            self.core.abort(data.draw(st.sampled_from(self.requests)))

    @rule()
    def forget_prefixes(self) -> None:
        self.core.reset_prefix_cache()

    @invariant()
    def within_limits(self) -> None:
        if not hasattr(self, "core"):
            return
        core = self.core
        assert len(core.running) <= core.limits.max_num_seqs
        used = {block for sequence in core.running for block in sequence.blocks}
        assert len(used) == blocks_in_use(core)
        assert all(not sequence.blocks for sequence in core.waiting)
        assert all(sequence.computed <= len(sequence.blocks) * 16 for sequence in core.running)
        if not core.limits.prefix_caching:
            assert sum(len(sequence.blocks) for sequence in core.running) == len(used)

    def teardown(self) -> None:
        if not hasattr(self, "core"):
            return
        self.steps(5000)
        assert self.core.is_idle
        assert blocks_in_use(self.core) == 0
        assert self.core.blocks.available == self.core.limits.num_blocks
        for request in self.requests:
            assert request.state is State.FINISHED
            if request.finish_reason == "length":
                assert request.generated == request.max_output
                # Each token once and in order, also through preemptions; the last one comes with the finish.
                assert self.tokens[id(request)] == list(range(1, request.max_output))
        generated = sum(request.generated for request in self.requests)
        assert self.core.stats.generation_tokens == generated
        assert sum(self.core.stats.finished.values()) == len(self.requests)


TestEngineTraffic = EngineTraffic.TestCase
TestEngineTraffic.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
