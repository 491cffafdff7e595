"""The plan as tables for people."""

from __future__ import annotations

from typing import Any

from stacks.console import console, table

NARROWEST = 140
"""Columns to use where the output is not a terminal: the widest of these tables."""


def print_plan(plan: dict[str, Any]) -> None:
    """Print a plan in its JSON form."""
    out = console(NARROWEST)
    out.print(f"Plan of {plan['environment']} on {plan['cloud']}", markup=False)
    out.print(table("Node pools", ("pool", "instance type", "GPUs", "capacity"), POOL_RIGHT, _pools(plan)))
    out.print(table("Models, per replica", ("model", "on"), MODEL_RIGHT, _models(plan)))
    out.print(table("Cold start on a new node, seconds", ("model",), START_RIGHT, _starts(plan)))
    if sleeping := _sleepers(plan):
        out.print(table("Asleep when idle, per replica", ("model", "level"), SLEEP_RIGHT, sleeping))
    out.print(table("Money", ("model",), MONEY_RIGHT, _economy(plan)))
    out.print(_money(plan), markup=False)
    for note in plan["notes"]:
        out.print(f"note: {note}", style="yellow", markup=False)
    for item in plan["models"]:
        for note in item["notes"]:
            out.print(f"note: {item['name']}: {note}", style="yellow", markup=False)


POOL_RIGHT = ("nodes", "$/h each", "$/h", "spot saves $/h", "quota left")
MODEL_RIGHT = ("weights", "KV tokens", "context", "batch", "ms/token", "TTFT ms", "tokens/s")
MONEY_RIGHT = (
    *("$/h a replica", "$/M in", "$/M out", "scale to zero saves $/month"),
    *("always-on pays above h/day", "own GPUs pay above M tokens/day"),
)
SLEEP_RIGHT = ("idle s", "freed GiB/GPU", "kept GiB/GPU", "pod memory GiB", "falls asleep s", "wakes s")
START_RIGHT = ("node", "driver", "image", "weights", "engine", "in all", "range")


def _pools(plan: dict[str, Any]) -> list[list[str]]:
    return [
        [
            pool["name"],
            pool["instance_type"],
            f"{pool['gpus_per_node']} x {pool['gpu'].removeprefix('NVIDIA ')}",
            pool["capacity_type"],
            f"{pool['nodes_min']} to {pool['nodes_max']}",
            number(pool["price_per_hour"], 4) + ("~" if pool["price_is_estimate"] else ""),
            f"{number(pool['hourly_min'], 2)} to {number(pool['hourly_max'], 2)}",
            _spot(pool),
            "-" if pool["quota_nodes"] is None else f"{pool['quota_nodes']} nodes",
        ]
        for pool in plan["pools"]
    ]


def _spot(pool: dict[str, Any]) -> str:
    """What spot saves, and what is left of it where on-demand steps in while spot is away."""
    if pool["spot_saving_per_hour"] is None:
        return "-" if pool["spot_note"].startswith("not") else "?"
    low, high = pool["spot_saving_expected"]
    return f"{pool['spot_saving_per_hour']:.2f} ({low:.2f} to {high:.2f})"


def _economy(plan: dict[str, Any]) -> list[list[str]]:
    rows = []
    for item in plan["models"]:
        even = item["break_even_tokens_per_day"]
        rows.append(
            [
                item["name"],
                number(item["price_per_replica_hour"], 2),
                number(item["cost_per_million_input_tokens"], 2),
                number(item["cost_per_million_output_tokens"], 2),
                number(item["scale_to_zero_saving_per_month"]),
                "-" if item["replicas_min"] else number(item["always_on_break_even_hours_per_day"], 1),
                "-" if even is None else f"{even / 1e6:,.1f}",
            ]
        )
    return rows


def _models(plan: dict[str, Any]) -> list[list[str]]:
    rows = []
    for item in plan["models"]:
        band = "" if item["latency_error"] is None else f" ±{item['latency_error'] * 100:.0f}%"
        rows.append(
            [
                f"{item['name']}\n{item['model']}",
                f"{item['gpus_per_replica']} x {item['gpu'].removeprefix('NVIDIA ')}",
                "?" if item["weights_gib"] is None else f"{item['weights_gib']:.1f} GiB",
                number(item["kv_cache_tokens"]),
                number(item["max_model_len"]),
                number(item["max_num_seqs"]),
                number(item["tpot_ms"], 1) + band + (" est." if item["estimate"] else ""),
                number(item["ttft_ms"]),
                number(item["tokens_per_s"]),
            ]
        )
    return rows


def _starts(plan: dict[str, Any]) -> list[list[str]]:
    return [
        [
            item["name"],
            *(number(start[f"{part}_s"]) for part in ("node", "driver", "image", "weights", "engine")),
            number(item["cold_start_s"]),
            f"{start['low_s']:.0f} to {start['high_s']:.0f}",
        ]
        for item in plan["models"]
        if (start := item["cold_start"]) is not None
    ]


def _sleepers(plan: dict[str, Any]) -> list[list[str]]:
    return [
        [
            item["name"],
            str(sleep["level"]),
            number(sleep["after_seconds"]),
            number(sleep["freed_gib"], 1),
            number(sleep["kept_gib"], 1),
            number(sleep["host_gib"], 1),
            number(sleep["sleep_seconds"], 1),
            number(sleep["wake_seconds"], 2),
        ]
        for item in plan["models"]
        if (sleep := item["sleep"]) is not None
    ]


def _money(plan: dict[str, Any]) -> str:
    text = (
        f"${plan['hourly_min']:.2f} to ${plan['hourly_max']:.2f} per hour, ${plan['monthly_min']:,.0f} to "
        f"${plan['monthly_max']:,.0f} per month at list prices; per token at {plan['utilization'] * 100:.0f} % of a "
        "full batch. TTFT is without queue; est.: no measured row backs it."
    )
    if plan["hourly_now_known"]:
        text = f"${plan['hourly_now']:.2f} per hour now. " + text
    traffic = plan["traffic"]
    if traffic is not None:
        text += (
            f"\nThe traffic given: ${traffic['monthly']:,.0f} per month, ${traffic['monthly_always_on']:,.0f} with its "
            f"peak always on ({traffic['saved'] * 100:.0f} % saved)."
        )
        if traffic["unserved_share"]:
            text += f" {traffic['unserved_share'] * 100:.1f} % of the requests are beyond max_replicas."
    if plan["simulated"]:
        text += " Here the nodes are simulated: this is what they would cost."
    if not plan["within_budget"]:
        text += f"\nOVER BUDGET: {plan['hourly_max']:.2f} is more than {plan['budget_per_hour']:.2f} per hour."
    if plan["over_quota"]:
        text += f"\nOVER QUOTA: {', '.join(plan['over_quota'])} cannot reach its most nodes; ask for a higher quota."
    return text


def number(value: float | None, digits: int = 0) -> str:
    """A number, `?` for none."""
    return "?" if value is None else f"{value:,.{digits}f}"


def print_diff(changes: list[tuple[str, object, object]]) -> None:
    """Print what changed between two plans."""
    rows = [[path, _shown(old), _shown(new), _change(old, new)] for path, old, new in changes]
    if not rows:
        console(NARROWEST).print("The plans are alike.")
        return
    console(NARROWEST).print(table("Changes", ("what",), ("before", "after", "change"), rows))


def _shown(value: object) -> str:
    """A value as people write it: no brackets, no None."""
    if value is None or value == []:
        return "-"
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return f"{value:,}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _change(old: object, new: object) -> str:
    if isinstance(old, (int, float)) and isinstance(new, (int, float)) and old and not isinstance(old, bool):
        return f"{(new / old - 1) * 100:+.1f} %"
    return ""
