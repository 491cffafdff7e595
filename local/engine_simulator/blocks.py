"""The paged KV cache: fixed blocks, reference counts, reuse of blocks that hold an equal prompt prefix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class BlockPool:
    """Blocks of the KV cache by number.

    A block is in use (referenced by one or more sequences), evictable (unreferenced, but its content may
    still serve a prompt with the same prefix; the longest unused goes first) or free. Evictable blocks count
    as free, as in vLLM.
    """

    def __init__(self, blocks: int) -> None:
        if blocks < 1:
            raise ValueError(f"a KV cache needs at least 1 block, got {blocks}")
        self.size = blocks
        self._free = list(range(blocks - 1, -1, -1))
        self._evictable: dict[int, None] = {}
        self._references = [0] * blocks
        self._hash_of: dict[int, int] = {}
        self._block_of: dict[int, int] = {}

    @property
    def available(self) -> int:
        """Blocks that can be handed out: free and evictable."""
        return len(self._free) + len(self._evictable)

    @property
    def usage(self) -> float:
        """Share of the blocks in use, 0 to 1."""
        return 1.0 - self.available / self.size

    def allocate(self, count: int) -> list[int]:
        """Hand out ``count`` blocks.

        Raises:
            ValueError: fewer are available (callers look first).
        """
        if count > self.available:
            raise ValueError(f"{count} blocks asked, {self.available} available")
        return [self._take() for _ in range(count)]

    def find(self, hashes: Iterable[int]) -> list[int]:
        """Blocks that hold the longest known prefix of a chain of block hashes; references are unchanged."""
        found = []
        for value in hashes:
            block = self._block_of.get(value)
            if block is None:
                break
            found.append(block)
        return found

    def idle(self, blocks: Iterable[int]) -> int:
        """How many of these blocks count as available now (nobody references them)."""
        return sum(1 for block in blocks if not self._references[block])

    def share(self, blocks: Iterable[int]) -> None:
        """Reference blocks that :meth:`find` returned."""
        for block in blocks:
            if not self._references[block]:
                del self._evictable[block]
            self._references[block] += 1

    def register(self, block: int, value: int) -> None:
        """Remember what a full block of a prompt holds; of two equal blocks the first is kept."""
        if value not in self._block_of and block not in self._hash_of:
            self._block_of[value] = block
            self._hash_of[block] = value

    def release(self, blocks: Sequence[int]) -> None:
        """Drop one reference to each block; a sequence's end goes first, so that its prefix lives longest."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if self._references[block]:
                continue
            if block in self._hash_of:
                self._evictable[block] = None
            else:
                self._free.append(block)

    def forget_prefixes(self) -> None:
        """Empty the prefix cache; blocks in use stay with their sequences."""
        self._free.extend(self._evictable)
        self._evictable.clear()
        self._hash_of.clear()
        self._block_of.clear()

    def _take(self) -> int:
        if self._free:
            block = self._free.pop()
        else:
            block = next(iter(self._evictable))
            del self._evictable[block]
            del self._block_of[self._hash_of.pop(block)]
        self._references[block] = 1
        return block
