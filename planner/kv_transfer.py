"""Disaggregated prefill and decode: what moving a prompt's keys and values costs, and how many workers of each kind.

    transfer = setup + prompt tokens * KV bytes per token (over all GPUs) / bandwidth
    prefill workers per decode worker = requests per second of a decode worker * seconds of one prefill

Both constants are ASSUMPTIONS, not measurements: a network of 100 Gbit/s of which blocks of a few hundred KiB get 80
percent, and a handshake over TCP. With RDMA the bandwidth is that of the adapter; give it where it is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from planner.catalog import Model
from planner.memory import kv_bytes_per_token

if TYPE_CHECKING:
    from planner.request import RoleRequest

BANDWIDTH_GB_S: Final = 10.0
SETUP_SECONDS: Final = 0.002


def transfer_seconds(tokens: float, bytes_per_token: float, bandwidth_gb_s: float = BANDWIDTH_GB_S) -> float:
    """Seconds until a decode worker has the keys and values of so many tokens.

    Args:
        tokens: that it does not have yet; nothing is moved, and no time taken, for none.
        bytes_per_token: over all GPUs of the replica.
        bandwidth_gb_s: between two workers, 1e9 bytes per second.

    Raises:
        ValueError: no bandwidth.
    """
    if bandwidth_gb_s <= 0:
        raise ValueError(f"a bandwidth of {bandwidth_gb_s} GB/s moves nothing")
    return 0.0 if tokens <= 0 else SETUP_SECONDS + tokens * bytes_per_token / (bandwidth_gb_s * 1e9)


def transfer_of(model: Model, tokens: float, tensor_parallel: int = 1, kv_cache_dtype: str = "auto") -> float:
    """Seconds for so many tokens of a model."""
    return transfer_seconds(tokens, kv_bytes_per_token(model, tensor_parallel, kv_cache_dtype) * tensor_parallel)


@dataclass(frozen=True, kw_only=True)
class RolePlan:
    """A kind of worker; prices in US dollars per hour, null where no source has them."""

    role: str
    replicas_min: int
    replicas_max: int
    gpus_min: int
    gpus_max: int
    hourly_min: float | None
    hourly_max: float | None


def plan_roles(roles: Sequence[RoleRequest], gpus_per_replica: int, hourly: float | None) -> tuple[RolePlan, ...]:
    """What each kind of worker takes."""
    return tuple(
        RolePlan(
            role=item.role,
            replicas_min=item.min_replicas,
            replicas_max=item.max_replicas,
            gpus_min=item.min_replicas * gpus_per_replica,
            gpus_max=item.max_replicas * gpus_per_replica,
            hourly_min=None if hourly is None else round(item.min_replicas * hourly, 4),
            hourly_max=None if hourly is None else round(item.max_replicas * hourly, 4),
        )
        for item in roles
    )


def prefill_per_decode(prefill_seconds: float, tokens_per_s: float, output_tokens: float) -> float:
    """Prefill workers that keep one decode worker busy."""
    return prefill_seconds * tokens_per_s / output_tokens
