"""The summary of an environment as tables for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stacks.summary import ModelSummary, PoolSummary, Summary

NARROWEST = 110
"""Columns to use where the output is not a terminal: files and pipes do not wrap."""


def print_summary(summary: Summary) -> None:
    """Print the tables; plain text where the output is not a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(NARROWEST, console.width))
    console.print(f"{summary.stack}: cloud {summary.cloud}, serving stack {summary.serving_stack}", markup=False)
    console.print(_pools(summary.pools))
    console.print(_models(summary.models))
    console.print(_prices(summary), markup=False)
    for warning in summary.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False)


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def _pools(pools: tuple[PoolSummary, ...]) -> Table:
    table = _table("Node pools", ("pool", "instance type", "GPUs per node", "sharing", "capacity"), ("nodes", "$/h"))
    for pool in pools:
        table.add_row(
            Text(pool.name),
            pool.instance_type,
            f"{pool.gpus_per_node} x {pool.gpu}",
            pool.sharing,
            pool.capacity_type,
            _span(pool.nodes_min, pool.nodes_max),
            _price(pool),
        )
    return table


def _models(models: tuple[ModelSummary, ...]) -> Table:
    right = ("GPUs", "weights", "KV tokens", "context", "batch", "replicas")
    table = _table("Model deployments (sizes per replica)", ("model", "pool"), right)
    for model in models:
        table.add_row(
            Text(f"{model.name}\n{model.model}"),
            Text(model.node_pool),
            str(model.gpus_per_replica),
            "?" if model.weights_gib is None else f"{model.weights_gib:.1f} GiB",
            _number(model.kv_cache_tokens),
            _number(model.max_model_len),
            _number(model.max_num_seqs),
            _span(model.replicas_min, model.replicas_max),
        )
    return table


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
