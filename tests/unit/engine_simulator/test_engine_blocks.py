"""The block pool by itself: eviction order and sharing. Leaks under traffic: test_engine_properties.

Not proven here: that vLLM evicts the very same block.
"""

from __future__ import annotations

import pytest

from local.engine_simulator.blocks import BlockPool

pytestmark = pytest.mark.unit


def test_allocate_and_release_change_the_usage() -> None:
    pool = BlockPool(8)
    blocks = pool.allocate(6)
    assert (len(set(blocks)), pool.available, pool.usage) == (6, 2, 0.75)
    pool.release(blocks)
    assert (pool.available, pool.usage) == (8, 0.0)


def test_more_than_there_is_is_an_error() -> None:
    pool = BlockPool(2)
    with pytest.raises(ValueError, match="3 blocks asked, 2 available"):
        pool.allocate(3)
    with pytest.raises(ValueError, match="at least 1 block"):
        BlockPool(0)


def test_a_released_prefix_is_found_until_its_blocks_are_needed() -> None:
    pool = BlockPool(4)
    blocks = pool.allocate(3)
    for block, value in zip(blocks, (11, 12, 13), strict=True):
        pool.register(block, value)
    pool.release(blocks)
    assert pool.find([11, 12, 13, 14]) == blocks
    pool.allocate(2)  # the free one, and of the prefix its end
    assert pool.find([11, 12, 13]) == blocks[:2]


def test_a_shared_block_is_released_by_the_last_owner() -> None:
    pool = BlockPool(2)
    (block,) = pool.allocate(1)
    pool.register(block, 5)
    pool.share([block])
    pool.release([block])
    assert pool.available == 1
    pool.release([block])
    assert (pool.available, pool.idle([block])) == (2, 1)


def test_sharing_an_idle_block_takes_it_out_of_the_available_ones() -> None:
    pool = BlockPool(2)
    blocks = pool.allocate(1)
    pool.register(blocks[0], 5)
    pool.release(blocks)
    pool.share(pool.find([5]))
    assert pool.available == 1


def test_of_two_equal_blocks_the_first_stays_known() -> None:
    pool = BlockPool(2)
    first, second = pool.allocate(2)
    pool.register(first, 5)
    pool.register(second, 5)
    assert pool.find([5]) == [first]


def test_forgetting_prefixes_keeps_blocks_in_use() -> None:
    pool = BlockPool(3)
    held, dropped = pool.allocate(2)
    pool.register(held, 1)
    pool.register(dropped, 2)
    pool.release([dropped])
    pool.forget_prefixes()
    assert (pool.find([1]), pool.find([2]), pool.available) == ([], [], 2)
    pool.release([held])
    assert pool.available == 3
