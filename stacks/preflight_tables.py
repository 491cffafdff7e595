"""A preflight's report as tables for people."""

from __future__ import annotations

from rich.table import Table

from stacks.console import console, table
from stacks.preflight import PreflightReport


def print_report(report: PreflightReport, stack: str) -> None:
    """Print the tables and what it comes to; plain text where the output is not a terminal."""
    out = console()
    out.print(f"{stack}: {report.cloud}, account {report.account}, region {report.region}", markup=False)
    out.print(_quotas(report))
    out.print(_offers(report))
    if report.spot_prices:
        out.print(_prices(report))
    for note in report.notes:
        out.print(f"note: {note}.", style="yellow", markup=False)
    for problem in report.problems:
        out.print(f"problem: {problem}.", style="red", markup=False)
    end = "The environment can grow to its largest." if report.fits else "The environment cannot grow to its largest."
    out.print(end, style="green" if report.fits else "red", markup=False)


def _word(fits: bool) -> str:
    return "yes" if fits else "NO"


def _quotas(report: PreflightReport) -> Table:
    rows = []
    for row in report.quotas:
        limit = "?" if row.limit is None else f"{row.limit:,.0f}"
        cells = [row.unit, limit, f"{row.used:,.0f}", f"{row.needed:,.0f}", _word(row.fits)]
        rows.append([row.quota, row.instance_type, row.gpu, *cells])
    return table("Quota", ("quota", "machines", "GPU"), ("unit", "limit", "used by others", "needed", "fits"), rows)


def _offers(report: PreflightReport) -> Table:
    rows = []
    for row in report.offers:
        zones, wanted = ", ".join(row.zones) or "none", ", ".join(row.wanted) or "any"
        rows.append([row.instance_type, zones, wanted, _word(row.fits)])
    return table("Where machines are to be had", ("machine", "zones", "wanted in"), ("fits",), rows)


def _prices(report: PreflightReport) -> Table:
    rows = []
    for row in report.spot_prices:
        span = ("" if price is None else f"{price:.4f}" for price in (row.lowest, row.highest))
        rows.append([row.instance_type, row.zone, f"{row.price:.4f}", *span, row.as_of[:16]])
    return table("Spot prices, $/h", ("machine", "zone"), ("latest", "lowest", "highest", "as of"), rows)
