"""The engine core in virtual time: batching, chunked prefill, queueing, preemption, prefix cache, times.

Not proven here: that real vLLM schedules the same batch step for step.
"""

from __future__ import annotations

import pytest

from local.engine_simulator.core import EngineCore, EngineLimits
from local.engine_simulator.prompts import block_hashes
from tests.unit.engine_simulator.engine_doubles import (
    COST,
    VirtualEngine,
    blocks_in_use,
    finished,
    make_core,
)

pytestmark = pytest.mark.unit


def test_one_request_takes_a_prefill_step_and_one_step_per_further_token() -> None:
    engine = VirtualEngine(make_core())
    request = engine.add(prompt=20, output=3)
    assert engine.run() == 3
    # Context: 20 prompt tokens, then one more each step.
    assert engine.now == pytest.approx(3 * 0.01 + (20 + 21 + 22) * 1e-6 + 20 * 1e-4)
    assert (request.generated, request.finish_reason) == (3, "length")
    assert request.first_token == pytest.approx(0.01 + 20e-6 + 20e-4)


def test_a_step_holds_at_most_max_num_batched_tokens_and_chunks_the_prompt() -> None:
    engine = VirtualEngine(make_core(batched_tokens=64))
    request = engine.add(prompt=150, output=2)
    assert engine.step() == pytest.approx(0.01 + 64e-6 + 64e-4)
    assert engine.step() == pytest.approx(0.01 + 128e-6 + 64e-4)
    assert engine.emitted == []
    assert engine.step() == pytest.approx(0.01 + 150e-6 + 22e-4)
    assert engine.emitted == [request]


def test_decoding_goes_on_while_another_prompt_is_prefilled() -> None:
    engine = VirtualEngine(make_core(batched_tokens=64))
    first = engine.add(prompt=10, output=10)
    engine.step()
    second = engine.add(prompt=100, output=1)
    engine.step()
    # 1 token of decoding leaves 63 of the budget for the prompt.
    assert (first.generated, second.computed) == (2, 63)
    engine.step()
    assert (first.generated, second.generated) == (3, 1)


def test_no_more_than_max_num_seqs_run_and_the_rest_wait_in_order() -> None:
    engine = VirtualEngine(make_core(seqs=2))
    requests = [engine.add(prompt=4, output=output) for output in (1, 3, 2, 1)]
    engine.step()
    assert [len(engine.core.running), len(engine.core.waiting)] == [1, 2]  # the first is done, two are not admitted
    engine.step()
    assert [request.generated for request in requests] == [1, 2, 1, 0]
    engine.run()
    assert all(map(finished, requests))


def test_a_prompt_is_admitted_only_when_all_of_it_fits() -> None:
    engine = VirtualEngine(make_core(blocks=16, model_len=256, batched_tokens=256))
    engine.add(prompt=200, output=8)  # 13 blocks
    late = engine.add(prompt=100, output=1)  # 7 blocks
    engine.step()
    assert (late.computed, len(engine.core.waiting)) == (0, 1)
    engine.run()
    assert finished(late)
    assert late.first_scheduled is not None
    assert late.first_scheduled > 7 * 0.01


def test_nobody_overtakes_a_request_that_does_not_fit_yet() -> None:
    engine = VirtualEngine(make_core(blocks=16, batched_tokens=256))
    engine.add(prompt=200, output=8)
    engine.add(prompt=100, output=1)
    small = engine.add(prompt=4, output=1)
    engine.step()
    assert small.computed == 0


def test_the_youngest_is_preempted_recomputed_and_loses_no_token() -> None:
    core = make_core(blocks=16, seqs=4, batched_tokens=256)
    engine = VirtualEngine(core)
    tokens: list[int] = []
    old = engine.add(prompt=112, output=100)  # 7 blocks, grows to 14
    young = engine.add(prompt=112, output=60, on_token=tokens.append)
    engine.run()
    assert core.stats.preemptions == 1
    assert (old.preemptions, young.preemptions) == (0, 1)
    assert (old.generated, young.generated) == (100, 60)
    assert core.stats.generation_tokens == 160
    # Prompt tokens count once, also when they are computed twice.
    assert core.stats.prompt_tokens == 224
    assert blocks_in_use(core) == 0


def test_the_preempted_request_is_first_in_the_queue() -> None:
    core = make_core(blocks=16, seqs=2, batched_tokens=256)
    engine = VirtualEngine(core)
    engine.add(prompt=112, output=100)
    young = engine.add(prompt=112, output=60)
    late = engine.add(prompt=16, output=1)
    while not young.preemptions:
        assert engine.step() is not None
    assert list(core.waiting) == [young, late]
    # The prompt of `late` would fit; it does not overtake.
    assert core.blocks.available >= 1


def test_idle_cached_blocks_are_not_counted_twice() -> None:
    # 6 cached blocks are idle and 10 are in use: sharing the 6 leaves none for the rest of the prompt.
    core = make_core(blocks=16, batched_tokens=256, prefix_caching=True)
    engine = VirtualEngine(core)
    ids = list(range(96))
    engine.add(96, 1, block_hashes(ids, 16))
    engine.run()
    engine.add(150, 10)
    engine.step()
    assert (blocks_in_use(core), core.blocks.available) == (10, 6)
    late = engine.add(112, 1, block_hashes([*ids, *ids[:16]], 16))
    engine.step()
    assert late.computed == 0
    engine.run()
    assert (finished(late), late.cached) == (True, 96)


def test_abort_frees_the_blocks_of_running_and_waiting_requests() -> None:
    core = make_core(seqs=1)
    engine = VirtualEngine(core)
    running, waiting = engine.add(prompt=40, output=9), engine.add(prompt=40, output=9)
    engine.step()
    assert blocks_in_use(core) == 3
    core.abort(waiting)
    core.abort(running)
    core.abort(running)  # again: no effect
    assert (blocks_in_use(core), core.is_idle, core.stats.finished["abort"]) == (0, True, 2)
    assert engine.step() is None


def test_a_request_aborted_while_a_step_runs_gets_no_token_of_it() -> None:
    core = make_core()
    engine = VirtualEngine(core)
    request = engine.add(prompt=8, output=9)
    assert core.schedule(0.0) is not None
    core.abort(request)
    assert core.complete(1.0) == []
    assert (request.generated, core.stats.generation_tokens) == (0, 0)


def test_equal_prompts_share_blocks_and_skip_their_prefill() -> None:
    core = make_core(prefix_caching=True, batched_tokens=256)
    engine = VirtualEngine(core)
    ids = list(range(100))
    hashes = block_hashes(ids, 16)
    engine.add(100, 2, hashes)
    engine.run()
    again = engine.add(100, 2, hashes)
    duration = engine.step()
    # 6 full blocks of 16 are known; 4 tokens are left to compute.
    assert again.cached == 96
    assert duration == pytest.approx(0.01 + 100e-6 + 4e-4)
    assert (core.stats.prefix_queries, core.stats.prefix_hits) == (200, 96)
    assert core.stats.cached_prompt_tokens == 96


def test_a_fully_known_prompt_still_computes_its_last_block() -> None:
    core = make_core(prefix_caching=True)
    engine = VirtualEngine(core)
    hashes = block_hashes(list(range(48)), 16)
    engine.add(48, 1, hashes)
    engine.run()
    again = engine.add(48, 1, hashes)
    engine.run()
    assert again.cached == 32  # vLLM recomputes at least one token, in whole blocks


def test_sharing_ends_where_the_prompts_differ() -> None:
    core = make_core(prefix_caching=True)
    engine = VirtualEngine(core)
    engine.add(48, 1, block_hashes([*range(32), *[7] * 16], 16))
    engine.run()
    other = engine.add(64, 1, block_hashes([*range(32), *[8] * 32], 16))
    engine.run()
    assert other.cached == 32


def test_times_of_a_request_add_up() -> None:
    core = make_core(seqs=1)
    engine = VirtualEngine(core)
    engine.add(prompt=16, output=2)
    engine.add(prompt=16, output=2)
    engine.run()
    stats = core.stats
    assert stats.e2e_latency.total == pytest.approx(
        stats.queue_time.total + stats.prefill_time.total + stats.decode_time.total
    )
    assert stats.queue_time.total == pytest.approx(engine.now / 2)  # the second waited for the first
    assert stats.inference_time.total == pytest.approx(stats.prefill_time.total + stats.decode_time.total)
    assert stats.inter_token_latency.count == 2
    assert stats.inter_token_latency.total == pytest.approx(stats.decode_time.total)
    assert stats.time_to_first_token.count == stats.e2e_latency.count == 2
    assert stats.finished == {"stop": 0, "length": 2, "abort": 0, "error": 0, "repetition": 0}


def test_asleep_nothing_runs_and_requests_wait_for_the_wake() -> None:
    core = make_core(prefix_caching=True)
    engine = VirtualEngine(core)
    running = engine.add(prompt=40, output=9)
    engine.step()
    core.sleep(1)
    assert (running.finish_reason, blocks_in_use(core)) == ("abort", 0)
    late = engine.add(prompt=40, output=2)
    assert engine.step() is None
    core.wake()
    engine.run()
    assert finished(late)


def test_what_can_never_run_is_refused() -> None:
    core = make_core(model_len=256)
    with pytest.raises(ValueError, match="prompt 250 \\+ output 7 tokens exceed max_model_len 256"):
        VirtualEngine(core).add(prompt=250, output=7)
    limits = EngineLimits(max_num_seqs=1, max_num_batched_tokens=16, max_model_len=256, num_blocks=15)
    with pytest.raises(ValueError, match="15 blocks of 16 tokens cannot hold one sequence"):
        EngineCore(limits, COST)
