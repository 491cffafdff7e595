"""The engine: continuous batching over a paged KV cache, in virtual time.

No I/O and no clock in here: the caller says what time it is. One step is ``schedule`` (what runs, how long it
takes) and, when that time has passed, ``complete`` (which sequences have a new token). The rules are those of
vLLM's V1 scheduler: running sequences first, in order of admission, then waiting ones, first come first
served; prompts are cut into chunks so that a step holds at most ``max_num_batched_tokens``; a sequence that
needs a block when there is none pushes the youngest running one back to the head of the queue, to be
recomputed; a prompt is admitted only if all of it fits in the blocks that are available
(``scheduler_reserve_full_isl``, vLLM's default).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from local.engine_simulator.blocks import BlockPool
from local.engine_simulator.latency import StepCost
from local.engine_simulator.sequence import EngineSequence, State
from local.engine_simulator.stats import EngineStats


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """Sizes of one engine, under vLLM's names. Lengths in tokens."""

    max_num_seqs: int
    max_num_batched_tokens: int
    max_model_len: int
    num_blocks: int
    block_size: int = 16
    prefix_caching: bool = True


class EngineCore:
    """One engine. Not thread-safe; all methods are to be called from one thread."""

    def __init__(self, limits: EngineLimits, cost: StepCost) -> None:
        if limits.num_blocks * limits.block_size < limits.max_model_len:
            raise ValueError(
                f"{limits.num_blocks} blocks of {limits.block_size} tokens cannot hold one sequence of "
                f"max_model_len {limits.max_model_len}"
            )
        self.limits = limits
        self.cost = cost
        self.stats = EngineStats(limits.max_model_len)
        self.blocks = BlockPool(limits.num_blocks)
        self.running: list[EngineSequence] = []
        self.waiting: deque[EngineSequence] = deque()
        self.sleep_level: int | None = None
        self._plan: list[tuple[EngineSequence, int]] = []
        self._last_step_end = 0.0

    @property
    def is_idle(self) -> bool:
        """True when nothing runs and nothing waits."""
        return not self.running and not self.waiting

    def add(self, sequence: EngineSequence, now: float) -> None:
        """Queue a sequence.

        Raises:
            ValueError: prompt and output do not fit in ``max_model_len``.
        """
        if sequence.prompt_tokens + sequence.max_output > self.limits.max_model_len:
            raise ValueError(
                f"prompt {sequence.prompt_tokens} + output {sequence.max_output} tokens exceed "
                f"max_model_len {self.limits.max_model_len}"
            )
        sequence.arrival = now - sequence.waited
        self.waiting.append(sequence)

    def abort(self, sequence: EngineSequence) -> None:
        """Drop a sequence wherever it is and free its blocks; no effect on a finished one."""
        if sequence.state is State.FINISHED:
            return
        if sequence.state is State.RUNNING:
            self.running.remove(sequence)
        else:
            self.waiting.remove(sequence)
        self._release(sequence)
        self._finish(sequence, "abort")

    def schedule(self, now: float) -> float | None:
        """Choose the batch of the next step.

        Returns:
            The seconds that the step takes, or None when there is nothing to run (idle or asleep).
        """
        if self.sleep_level is not None:
            return None
        plan: list[tuple[EngineSequence, int]] = []
        self._plan = plan
        budget = self.limits.max_num_batched_tokens
        budget = self._schedule_running(plan, budget)
        self._schedule_waiting(plan, budget, now)
        if not plan:
            return None
        context = prefill = 0
        for sequence, tokens in plan:
            context += sequence.computed + tokens
            if tokens > 1 or not sequence.generated:
                prefill += tokens
        return self.cost.seconds(context, prefill, len(plan))

    def complete(self, now: float) -> list[EngineSequence]:
        """End the step that :meth:`schedule` began.

        Returns:
            The sequences with one new token each; those that it finished are in state FINISHED.
        """
        plan, self._plan = self._plan, []
        emitted: list[EngineSequence] = []
        steady = finished = computed_prompts = 0
        for sequence, tokens in plan:
            if sequence.state is not State.RUNNING:
                continue  # aborted while the step ran
            sequence.computed += tokens
            if sequence.registered < len(sequence.prompt_hashes):
                self._register_prompt(sequence)
            if sequence.computed < sequence.total:
                continue  # part of a prompt
            sequence.generated += 1
            sequence.total += 1
            emitted.append(sequence)
            if sequence.generated == 1:
                computed_prompts += self._first_token(sequence, now)
            elif sequence.last_token == self._last_step_end:
                steady += 1
            else:
                self.stats.inter_token_latency.observe(now - sequence.last_token)
            sequence.last_token = now
            if sequence.generated >= sequence.max_output:
                finished += 1
                self._complete_sequence(sequence, now)
        if finished:
            self.running = [sequence for sequence in self.running if sequence.state is State.RUNNING]
        if steady:
            self.stats.inter_token_latency.observe(now - self._last_step_end, steady)
        self.stats.generation_tokens += len(emitted)
        self.stats.iteration_tokens.observe(computed_prompts + len(emitted))
        self._last_step_end = now
        return emitted

    def abort_all(self) -> None:
        """Abort every sequence, running or waiting."""
        for sequence in [*self.running, *self.waiting]:
            self.abort(sequence)

    def sleep(self, level: int) -> None:
        """Stop stepping. Level 0 pauses; 1 and 2 also drop the KV cache, so running sequences are aborted."""
        if level > 0:
            self.abort_all()
            self.blocks.forget_prefixes()
        self.sleep_level = level

    def wake(self) -> None:
        """Step again; sequences that arrived meanwhile are waiting."""
        self.sleep_level = None

    def reset_prefix_cache(self) -> None:
        """Forget all cached prefixes."""
        self.blocks.forget_prefixes()

    def _schedule_running(self, plan: list[tuple[EngineSequence, int]], budget: int) -> int:
        running = self.running
        block_size = self.limits.block_size
        index = 0
        while index < len(running) and budget:
            sequence = running[index]
            tokens = sequence.total - sequence.computed
            tokens = min(tokens, budget)
            room = len(sequence.blocks) * block_size - sequence.computed
            if tokens > room and not self._grow(sequence, -(-(tokens - room) // block_size)):
                break  # the sequence itself was pushed back: it was the youngest
            plan.append((sequence, tokens))
            budget -= tokens
            index += 1
        return budget

    def _grow(self, sequence: EngineSequence, blocks: int) -> bool:
        while self.blocks.available < blocks:
            victim = self.running.pop()
            self._preempt(victim)
            if victim is sequence:
                return False
        sequence.blocks += self.blocks.allocate(blocks)
        return True

    def _preempt(self, sequence: EngineSequence) -> None:
        self._release(sequence)
        sequence.computed = sequence.remote = 0
        sequence.state = State.WAITING
        sequence.preemptions += 1
        self.stats.preemptions += 1
        self.waiting.appendleft(sequence)

    def _schedule_waiting(self, plan: list[tuple[EngineSequence, int]], budget: int, now: float) -> None:
        while self.waiting and budget and len(self.running) < self.limits.max_num_seqs:
            sequence = self.waiting[0]
            if sequence.arrival > now:
                return  # a step that a late timer begins afterwards began without it
            tokens = self._admit(sequence, budget)
            if not tokens:
                return  # first come, first served: nobody overtakes
            self.waiting.popleft()
            self.running.append(sequence)
            sequence.state = State.RUNNING
            if sequence.first_scheduled is None:
                sequence.first_scheduled = now
            plan.append((sequence, tokens))
            budget -= tokens

    def _admit(self, sequence: EngineSequence, budget: int) -> int:
        block_size = self.limits.block_size
        # The last token is computed in any case: its logits are what the first output token comes from.
        usable = min(len(sequence.prompt_hashes), (sequence.total - 1) // block_size)
        shared = self.blocks.find(sequence.prompt_hashes[:usable]) if usable else []
        needed = -(-sequence.total // block_size) - len(shared)
        if needed > self.blocks.available - self.blocks.idle(shared):
            return 0
        self.blocks.share(shared)
        local = len(shared) * block_size
        hit = max(local, sequence.remote)
        tokens = min(sequence.total - hit, budget)
        sequence.blocks = shared + self.blocks.allocate(-(-(hit + tokens) // block_size) - len(shared))
        sequence.computed = hit
        sequence.registered = len(shared)
        if not sequence.preemptions:
            sequence.cached, sequence.external = hit, hit - local
            if self.limits.prefix_caching:
                self.stats.prefix_queries += sequence.total
                self.stats.prefix_hits += local
        return tokens

    def _register_prompt(self, sequence: EngineSequence) -> None:
        full = min(sequence.computed // self.limits.block_size, len(sequence.prompt_hashes))
        for index in range(sequence.registered, full):
            self.blocks.register(sequence.blocks[index], sequence.prompt_hashes[index])
        sequence.registered = full

    def _first_token(self, sequence: EngineSequence, now: float) -> int:
        sequence.first_token = now
        self.stats.time_to_first_token.observe(now - sequence.arrival)
        self.stats.prompt_tokens += sequence.prompt_tokens
        self.stats.cached_prompt_tokens += sequence.cached
        self.stats.external_prompt_tokens += sequence.external
        return sequence.prompt_tokens - sequence.cached

    def _complete_sequence(self, sequence: EngineSequence, now: float) -> None:
        stats = self.stats
        scheduled = sequence.arrival if sequence.first_scheduled is None else sequence.first_scheduled
        decode = now - sequence.first_token
        stats.e2e_latency.observe(now - sequence.arrival)
        stats.queue_time.observe(scheduled - sequence.arrival)
        stats.prefill_time.observe(sequence.first_token - scheduled)
        stats.decode_time.observe(decode)
        stats.inference_time.observe(now - scheduled)
        stats.time_per_output_token.observe(decode / (sequence.generated - 1) if sequence.generated > 1 else 0.0)
        stats.request_prompt_tokens.observe(sequence.prompt_tokens)
        stats.request_generation_tokens.observe(sequence.generated)
        stats.prefill_computed_tokens.observe(sequence.prompt_tokens - sequence.cached)
        if sequence.requested_max_tokens is not None:
            stats.request_max_tokens.observe(sequence.requested_max_tokens)
        self._release(sequence)
        self._finish(sequence, sequence.natural_finish)

    def _release(self, sequence: EngineSequence) -> None:
        self.blocks.release(sequence.blocks)
        sequence.blocks = []

    def _finish(self, sequence: EngineSequence, reason: str) -> None:
        sequence.state = State.FINISHED
        sequence.finish_reason = reason
        self.stats.finished[reason] += 1
        if sequence.on_finish is not None:
            sequence.on_finish(sequence)
