"""A preflight's report as tables for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from stacks.preflight import PreflightReport
from stacks.tables import NARROWEST


def print_report(report: PreflightReport, stack: str) -> None:
    """Print the tables and what it comes to; plain text where the output is not a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(NARROWEST, console.width))
    console.print(f"{stack}: {report.cloud}, account {report.account}, region {report.region}", markup=False)
    console.print(_quotas(report))
    console.print(_offers(report))
    if report.spot_prices:
        console.print(_prices(report))
    for note in report.notes:
        console.print(f"note: {note}.", style="yellow", markup=False)
    for problem in report.problems:
        console.print(f"problem: {problem}.", style="red", markup=False)
    end = "The environment can grow to its largest." if report.fits else "The environment cannot grow to its largest."
    console.print(end, style="green" if report.fits else "red", markup=False)


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def _word(fits: bool) -> str:
    return "yes" if fits else "NO"


def _quotas(report: PreflightReport) -> Table:
    table = _table("Quota", ("quota", "machines", "GPU"), ("unit", "limit", "used by others", "needed", "fits"))
    for row in report.quotas:
        limit = "?" if row.limit is None else f"{row.limit:,.0f}"
        cells = (row.unit, limit, f"{row.used:,.0f}", f"{row.needed:,.0f}", _word(row.fits))
        table.add_row(row.quota, row.instance_type, row.gpu, *cells)
    return table


def _offers(report: PreflightReport) -> Table:
    table = _table("Where machines are to be had", ("machine", "zones", "wanted in"), ("fits",))
    for row in report.offers:
        zones, wanted = ", ".join(row.zones) or "none", ", ".join(row.wanted) or "any"
        table.add_row(row.instance_type, zones, wanted, _word(row.fits))
    return table


def _prices(report: PreflightReport) -> Table:
    table = _table("Spot prices, $/h", ("machine", "zone"), ("latest", "lowest", "highest", "as of"))
    for row in report.spot_prices:
        span = ("" if price is None else f"{price:.4f}" for price in (row.lowest, row.highest))
        table.add_row(row.instance_type, row.zone, f"{row.price:.4f}", *span, row.as_of[:16])
    return table
