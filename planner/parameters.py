"""How many weights an architecture has, and how many of them one token passes through."""

from __future__ import annotations

from dataclasses import dataclass

STATE_ELEMENT_BYTES = 4
"""Linear attention keeps its state in float32 (mamba_ssm_dtype of Qwen3.5)."""

CONVOLUTION_ELEMENT_BYTES = 2


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A decoder-only transformer; names and units as in `planner.catalog.Model`.

    Attributes:
        dense_intermediate: width of the feed-forward block of layers without experts.
        q_lora_rank: width of the latent query of multi-latent attention, 0 for none.
        qk_nope_head_dim: part of a head's query and key without rotation (multi-latent attention).
        v_head_dim: width of a head's value (multi-latent attention).
        index_heads: heads of the indexer of sparse attention.
        index_head_dim: their width.
        output_gate: attention's output is gated by a second projection of the query's width.
        linear_layers: layers with linear attention (gated delta net) in place of softmax attention.
        linear_key_heads: their key heads; likewise `linear_value_heads`, and the widths `linear_key_dim`,
            `linear_value_dim` of one head.
        linear_kernel: taps of their convolution.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied_embeddings: bool = False
    attention_bias: bool = False
    qk_norm: bool = False
    norms_per_layer: int = 2
    experts: int = 0
    active_experts: int = 0
    shared_experts: int = 0
    dense_layers: int = 0
    dense_intermediate: int = 0
    q_lora_rank: int = 0
    kv_lora_rank: int = 0
    qk_nope_head_dim: int = 0
    qk_rope_head_dim: int = 0
    v_head_dim: int = 0
    index_heads: int = 0
    index_head_dim: int = 0
    output_gate: bool = False
    linear_layers: int = 0
    linear_key_heads: int = 0
    linear_value_heads: int = 0
    linear_key_dim: int = 0
    linear_value_dim: int = 0
    linear_kernel: int = 0

    @property
    def linear_width(self) -> int:
        """Channels of the convolution of linear attention."""
        return 2 * self.linear_key_heads * self.linear_key_dim + self.linear_value_heads * self.linear_value_dim

    @property
    def state_bytes(self) -> int:
        """What linear attention keeps of one sequence, over all layers: the state and the convolution's last taps."""
        state = self.linear_value_heads * self.linear_key_dim * self.linear_value_dim * STATE_ELEMENT_BYTES
        convolution = self.linear_width * max(0, self.linear_kernel - 1) * CONVOLUTION_ELEMENT_BYTES
        return self.linear_layers * (state + convolution)


def count(model: Architecture) -> tuple[int, int]:
    """Weights of the whole model, and of one token's path (all but the experts that it does not choose)."""
    attention = (model.layers - model.linear_layers) * _attention(model) + model.linear_layers * _linear(model)
    norms = (model.layers * model.norms_per_layer + 1) * model.hidden
    embeddings = model.vocab * model.hidden * (1 if model.tied_embeddings else 2)
    expert = 3 * model.hidden * model.intermediate
    if not model.experts:
        every = embeddings + norms + attention + model.layers * expert
        return every, every
    sparse = model.layers - model.dense_layers
    forward = model.dense_layers * 3 * model.hidden * model.dense_intermediate
    forward += sparse * (model.shared_experts * expert + model.hidden * model.experts)
    always = embeddings + norms + attention + forward
    return always + sparse * model.experts * expert, always + sparse * model.active_experts * expert


def _attention(model: Architecture) -> int:
    if model.kv_lora_rank:
        return _latent(model)
    query, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    weights = model.hidden * (query * (3 if model.output_gate else 2) + 2 * keys)
    weights += (query + 2 * keys) if model.attention_bias else 0
    return weights + (2 * model.head_dim if model.qk_norm else 0)


def _latent(model: Architecture) -> int:
    head = model.qk_nope_head_dim + model.qk_rope_head_dim
    narrow = model.q_lora_rank
    query = (
        model.hidden * narrow + narrow * model.heads * head + narrow if narrow else model.hidden * model.heads * head
    )
    down = model.hidden * (model.kv_lora_rank + model.qk_rope_head_dim) + model.kv_lora_rank
    up = model.kv_lora_rank * model.heads * (model.qk_nope_head_dim + model.v_head_dim)
    indexer = (narrow or model.hidden) * model.index_heads * model.index_head_dim
    indexer += model.hidden * (model.index_head_dim + model.index_heads) + 2 * model.index_head_dim
    return query + down + up + model.heads * model.v_head_dim * model.hidden + (indexer if model.index_heads else 0)


def _linear(model: Architecture) -> int:
    values = model.linear_value_heads * model.linear_value_dim
    inward = model.hidden * (model.linear_width + values + 2 * model.linear_value_heads)
    convolution = model.linear_width * model.linear_kernel
    return inward + convolution + 2 * model.linear_value_heads + model.linear_value_dim + values * model.hidden
