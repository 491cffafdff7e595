"""Memory that LoRA adapters take on each GPU.

vLLM takes the memory of all slots when it starts, each for an adapter of the largest rank on every linear layer of the
decoder (0.32.0 `lora/layers/base_linear.py` and `column_parallel_linear.py`, `create_lora_weights`): A (rank x inputs)
and B (outputs x rank). With tensor parallelism a layer that divides its outputs (q, k, v, gate, up) keeps all of A, one
that divides its inputs (o, down) all of B.

Experts count each, as where an adapter has them; multi-latent attention counts as ordinary attention of its size. Both
make it an upper bound there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from planner.catalog import Model
from planner.memory import DTYPE_BYTES, GIB, SizingError

RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""vLLM 0.32.0's choices of --max-lora-rank."""


@dataclass(frozen=True)
class LoraSlots:
    """Room for adapters.

    Attributes:
        count: adapters on the GPU at once; 0 for none.
        rank: the largest of all adapters.

    Raises:
        SizingError: a rank above the largest that vLLM takes.
    """

    count: int = 0
    rank: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= RANKS[-1]:
            raise SizingError(f"a LoRA rank of {self.rank}; vLLM takes 1 to {RANKS[-1]}")

    @property
    def max_rank(self) -> int:
        """What --max-lora-rank is set to: the least of vLLM's choices that is enough."""
        return next(choice for choice in RANKS if choice >= self.rank)

    def gib(self, model: Model, tensor_parallel: int = 1) -> float:
        """GiB on each GPU."""
        return (
            self.bytes_of(
                layers=model.layers,
                hidden=model.hidden,
                intermediate=model.intermediate,
                heads=model.heads,
                kv_heads=model.kv_heads,
                head_dim=model.head_dim,
                experts=max(1, model.experts),
                dtype_bytes=DTYPE_BYTES.get(model.dtype, 2.0),
                tensor_parallel=tensor_parallel,
            )
            / GIB
        )

    def bytes_of(
        self,
        *,
        layers: int,
        hidden: int,
        intermediate: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        experts: int = 1,
        dtype_bytes: float = 2.0,
        tensor_parallel: int = 1,
    ) -> float:
        """Bytes on each GPU; sizes as in `planner.catalog.Model`."""
        queries, keys = heads * head_dim, kv_heads * head_dim
        outputs_divided = [
            (hidden, queries),
            *[(hidden, keys)] * 2,
            *[(hidden, intermediate)] * 2 * experts,
        ]
        inputs_divided = [(queries, hidden), *[(intermediate, hidden)] * experts]
        width = sum(inputs + outputs / tensor_parallel for inputs, outputs in outputs_divided)
        width += sum(inputs / tensor_parallel + outputs for inputs, outputs in inputs_divided)
        return self.count * layers * self.max_rank * width * dtype_bytes


NO_LORA: Final = LoraSlots()
