"""Counting and hashing prompts without a tokenizer.

The rule: a token is four characters (rounded up, at least one), about what BPE tokenizers reach on English
text. Chat messages are joined as ``<|role|>``, newline, content, newline, and a closing ``<|assistant|>``
line. A completion prompt that is a list of token ids counts exactly. Output is made of four-character pieces,
so text sent back in the next turn counts for what it was.
"""

from __future__ import annotations

from collections.abc import Sequence

CHARACTERS_PER_TOKEN = 4

# Says of itself what it is; nine pieces of one token each.
SYNTHETIC_TEXT = "Simulated text: no models ran here. "
PIECES = tuple(
    SYNTHETIC_TEXT[start : start + CHARACTERS_PER_TOKEN]
    for start in range(0, len(SYNTHETIC_TEXT), CHARACTERS_PER_TOKEN)
)


def count_tokens(text: str) -> int:
    """Tokens of a text by the rule above."""
    return max(1, -(-len(text) // CHARACTERS_PER_TOKEN))


def synthetic_text(tokens: int) -> str:
    """The first ``tokens`` tokens of the output text."""
    length = tokens * CHARACTERS_PER_TOKEN
    return (SYNTHETIC_TEXT * (length // len(SYNTHETIC_TEXT) + 1))[:length]


def render_chat(messages: Sequence[tuple[str, str]]) -> str:
    """The prompt of a chat: (role, content) pairs and the assistant's turn."""
    turns = "".join(f"<|{role}|>\n{content}\n" for role, content in messages)
    return f"{turns}<|assistant|>\n"


def block_hashes(prompt: str | Sequence[int], block_size: int) -> list[int]:
    """One hash per full block of the prompt, over the block and all before it; valid within this process."""
    if isinstance(prompt, str):
        width = block_size * CHARACTERS_PER_TOKEN
        parts: list[object] = [prompt[start : start + width] for start in range(0, len(prompt) - width + 1, width)]
    else:
        full = len(prompt) - block_size + 1
        parts = [tuple(prompt[start : start + block_size]) for start in range(0, full, block_size)]
    hashes = []
    previous = 0
    for part in parts:
        previous = hash((previous, part))
        hashes.append(previous)
    return hashes
