"""The plan as one HTML page: inline style and SVG, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid #dde3ea;text-align:right;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left} th{font-weight:600;color:#55606e}
.cards{display:flex;gap:1rem;flex-wrap:wrap}.card{border:1px solid #dde3ea;border-radius:8px;padding:.8rem 1.2rem}
.card b{display:block;font-size:1.5rem}svg{max-width:100%;height:auto}small{color:#55606e}
svg text{font:12px system-ui,sans-serif;fill:#1c2430}
"""
COLOURS = ("#3b6fb5", "#5aa469", "#d59b3a", "#b5533b", "#7d5ba6")
STAGES = ("node", "driver", "image", "weights", "engine")


def page(plan: Mapping[str, Any]) -> str:
    """The page for a plan in its JSON form."""
    name = escape(str(plan["environment"]))
    simulated = "<p>Simulated here: this is what the nodes would cost.</p>" if plan["simulated"] else ""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Plan of {name}</title><style>{STYLE}</style></head><body>
<h1>Plan of {name}</h1>{simulated}
<div class="cards">{_card("per hour, fewest nodes", plan["hourly_min"], 2)}
{_card("per hour, most nodes", plan["hourly_max"], 2)}{_card("per month, most nodes", plan["monthly_max"], 0)}</div>
<h2>Topology</h2>{_topology(plan)}
<h2>Models, per replica</h2>{_table(MODEL_COLUMNS, plan["models"])}
<h2>Milliseconds per output token</h2>{_bars([(m["name"], m["tpot_ms"], m["latency_error"]) for m in plan["models"]])}
<h2>Cold start on a new node</h2>{_stages(plan["models"])}
<h2>Node pools</h2>{_table(POOL_COLUMNS, plan["pools"])}
<p><small>List prices, dated per pool ({_sources(plan)}); never a bill. Whiskers: the error that 90 % of comparable
measurements stay below. TTFT is that of a request that does not wait. Prices per token at
{plan["utilization"] * 100:.0f} % of a full batch.</small></p>
</body></html>
"""


MODEL_COLUMNS = {
    "name": "model",
    "gpu": "GPU",
    "gpus_per_replica": "GPUs",
    "weights_gib": "weights GiB",
    "kv_cache_tokens": "KV tokens",
    "max_model_len": "context",
    "tpot_ms": "ms/token",
    "ttft_ms": "TTFT ms",
    "tokens_per_s": "tokens/s",
    "cold_start_s": "cold start s",
    "cost_per_million_output_tokens": "$/M out",
    "estimate": "estimate",
}
POOL_COLUMNS = {
    "name": "pool",
    "instance_type": "instance",
    "capacity_type": "capacity",
    "nodes_min": "min",
    "nodes_max": "max",
    "price_per_hour": "$/h each",
    "hourly_max": "$/h at most",
    "spot_note": "spot",
    "as_of": "price of",
}


def _card(label: str, value: float, digits: int) -> str:
    return f'<div class="card"><b>${value:,.{digits}f}</b>{escape(label)}</div>'


def _sources(plan: Mapping[str, Any]) -> str:
    return escape("; ".join(sorted({f"{pool['source'].partition(':')[0]}, {pool['as_of']}" for pool in plan["pools"]})))


def _table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in columns.values())
    body = "".join("<tr>" + "".join(f"<td>{_cell(row[key])}</td>" for key in columns) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, (int, float)) else escape(str(value))


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _bars(rows: Sequence[tuple[str, float | None, float | None]]) -> str:
    known = [(name, value, error or 0.0) for name, value, error in rows if value is not None]
    most = max((value * (1 + error) for _, value, error in known), default=1.0) or 1.0
    parts = []
    for index, (name, value, error) in enumerate(known):
        y, width = index * 28, value / most * 560
        low, high = 200 + value * (1 - error) / most * 560, 200 + value * (1 + error) / most * 560
        parts.append(
            f'<text x="0" y="{y + 17}">{escape(name)}</text>'
            f'<rect x="200" y="{y + 4}" width="{width:.1f}" height="18" fill="{COLOURS[0]}"/>'
            f'<path d="M{low:.1f} {y + 13}H{high:.1f}" stroke="#1c2430" stroke-width="2"/>'
            f'<text x="{high + 8:.1f}" y="{y + 17}">{value:.1f}</text>'
        )
    return _svg(840, max(28, len(known) * 28), "time per output token", parts)


def _stages(rows: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in rows if row["cold_start"] is not None]
    most = max((row["cold_start_s"] for row in known), default=1.0) or 1.0
    parts = []
    for index, row in enumerate(known):
        x, y = 200.0, index * 28
        parts.append(f'<text x="0" y="{y + 17}">{escape(row["name"])}</text>')
        for colour, stage in zip(COLOURS, STAGES, strict=True):
            width = row["cold_start"][f"{stage}_s"] / most * 560
            parts.append(f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="18" fill="{colour}"/>')
            x += width
        parts.append(f'<text x="{x + 8:.1f}" y="{y + 17}">{row["cold_start_s"]:.0f} s</text>')
    bottom = len(known) * 28
    for index, (colour, stage) in enumerate(zip(COLOURS, STAGES, strict=True)):
        x = 200 + index * 100
        parts.append(f'<rect x="{x}" y="{bottom + 8}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="{bottom + 18}">{stage}</text>')
    return _svg(840, bottom + 28, "stages of a cold start", parts)


def _topology(plan: Mapping[str, Any]) -> str:
    models, pools = plan["models"], plan["pools"]
    height = max(len(models), len(pools), 1) * 46 + 10
    middle = height / 2
    at_pool = {pool["name"]: index * 46 + 26 for index, pool in enumerate(pools)}
    parts = [_box(0, middle, 120, "gateway", "OpenAI API")]
    for index, item in enumerate(models):
        y = index * 46 + 26
        parts.append(_line(120, middle, 220, y))
        span = f"{item['replicas_min']} to {item['replicas_max']} replicas of {item['gpus_per_replica']} GPU"
        parts.append(_box(220, y, 260, item["name"], span))
        parts.append(_line(480, y, 580, at_pool[item["pool"]]))
    for pool in pools:
        span = f"{pool['nodes_min']} to {pool['nodes_max']} x {pool['instance_type']}"
        parts.append(_box(580, at_pool[pool["name"]], 260, pool["name"], span))
    return _svg(840, height, "topology", parts)


def _box(x: float, y: float, width: float, title: str, below: str) -> str:
    return (
        f'<rect x="{x + 1}" y="{y - 19}" width="{width - 2}" height="38" rx="6" fill="#f3f6fa" stroke="{COLOURS[0]}"/>'
        f'<text x="{x + 10}" y="{y - 3}" font-weight="600">{escape(title)}</text>'
        f'<text x="{x + 10}" y="{y + 13}">{escape(below)}</text>'
    )


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = (x + to_x) / 2
    return f'<path d="M{x} {y}C{bend} {y} {bend} {to_y} {to_x} {to_y}" fill="none" stroke="#9aa7b5"/>'
