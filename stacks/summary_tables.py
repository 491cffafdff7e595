"""The summary of an environment as tables for people."""

from __future__ import annotations

from rich.table import Table

from stacks.console import console, table
from stacks.summary import ModelSummary, PoolSummary, Summary


def print_summary(summary: Summary) -> None:
    """Print the tables; plain text where the output is not a terminal."""
    out = console()
    out.print(f"{summary.stack}: cloud {summary.cloud}, serving stack {summary.serving_stack}", markup=False)
    out.print(_pools(summary.pools))
    out.print(_models(summary.models))
    out.print(_prices(summary), markup=False)
    for warning in summary.warnings:
        out.print(f"warning: {warning}", style="yellow", markup=False)


def _pools(pools: tuple[PoolSummary, ...]) -> Table:
    rows = [
        [
            pool.name,
            pool.instance_type,
            f"{pool.gpus_per_node} x {pool.gpu}",
            pool.sharing,
            pool.capacity_type,
            _span(pool.nodes_min, pool.nodes_max),
            _price(pool),
        ]
        for pool in pools
    ]
    left = ("pool", "instance type", "GPUs per node", "sharing", "capacity")
    return table("Node pools", left, ("nodes", "$/h"), rows)


def _models(models: tuple[ModelSummary, ...]) -> Table:
    rows = [
        [
            f"{model.name}\n{model.model}",
            model.node_pool,
            str(model.gpus_per_replica),
            "?" if model.weights_gib is None else f"{model.weights_gib:.1f} GiB",
            _number(model.kv_cache_tokens),
            _number(model.max_model_len),
            _number(model.max_num_seqs),
            _span(model.replicas_min, model.replicas_max),
        ]
        for model in models
    ]
    right = ("GPUs", "weights", "KV tokens", "context", "batch", "replicas")
    return table("Model deployments (sizes per replica)", ("model", "pool"), right, rows)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _price(pool: PoolSummary) -> str:
    if pool.hourly_min is None or pool.hourly_max is None:
        return "?"
    low, high = f"{pool.hourly_min:.2f}", f"{pool.hourly_max:.2f}"
    return low if low == high else f"{low} to {high}"


def _prices(summary: Summary) -> str:
    dates = sorted({f"{pool.region}, {pool.as_of}" for pool in summary.pools})
    text = f"Prices are on-demand list prices ({'; '.join(dates)})"
    if summary.cloud == "local":
        return f"{text}: what these nodes would cost; here they are simulated."
    return f"{text}, before spot, reservations and discounts."
