"""Checks of a model's promises: only what can be counted can be promised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from components.observability.objects import FIRST_TOKEN_BOUNDS, OUTPUT_TOKEN_BOUNDS
from stacks.config.models_slo import ServiceLevel
from stacks.config.salvage import has
from stacks.errors import FieldError

BOUNDS: tuple[tuple[str, str, Sequence[float]], ...] = (
    ("ttft_p95_seconds", "vllm:time_to_first_token_seconds", FIRST_TOKEN_BOUNDS),
    ("tpot_p95_seconds", "vllm:request_time_per_output_token_seconds", OUTPUT_TOKEN_BOUNDS),
)


def check_slo(slo: ServiceLevel, path: str) -> Iterator[FieldError]:
    """Times that are no bucket's bound, and a band of GPU utilisation that is none.

    Args:
        slo: valid, or salvaged.
        path: where it stands.
    """
    for name, series, bounds in BOUNDS:
        if not has(slo, name) or (value := getattr(slo, name)) in bounds:
            continue
        below = max((bound for bound in bounds if bound < value), default=bounds[0])
        above = min((bound for bound in bounds if bound > value), default=bounds[-1])
        near = sorted({below, above}, key=lambda bound: abs(bound - value))
        others = sorted((bound for bound in bounds if bound not in near), key=lambda bound: abs(bound - value))
        yield FieldError(
            f"{path}.{name}",
            value,
            f"no bound of a bucket of {series}: requests are counted there and nowhere between",
            tuple(f"{bound:g}" for bound in (*near, *others)),
            f"Set it to {near[0]:g}.",
        )
    if has(slo, "gpu_low", "gpu_high") and slo.gpu_low >= slo.gpu_high:
        yield FieldError(
            f"{path}.gpu_low",
            slo.gpu_low,
            f"is not less than gpu_high, {slo.gpu_high:g}: every utilisation would be an alert",
            fix="Lower gpu_low or raise gpu_high.",
        )
