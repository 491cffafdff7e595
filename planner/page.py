"""The plan as one HTML page: inline style and SVG, no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from planner.charts import bars, cold_starts, memories, topology

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430;background:#fff}
h2{margin:2rem 0 .5rem}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid #dde3ea;text-align:right;font-variant-numeric:tabular-nums}
.words{text-align:left} th{font-weight:600;color:#55606e}
.cards{display:flex;gap:1rem;flex-wrap:wrap}.card{border:1px solid #dde3ea;border-radius:8px;padding:.8rem 1.2rem}
.card b{display:block;font-size:1.5rem}svg{max-width:100%;height:auto}small{color:#55606e}
.bad{border-left:4px solid #b5533b;background:#fbf1ee;padding:.5rem 1rem}
.note{border-left:4px solid #d59b3a;background:#fdf7ec;padding:.5rem 1rem;margin:.5rem 0}
svg text{font:12px system-ui,sans-serif;fill:#1c2430}
"""

Column = tuple[str, str, int | None]
"""Key, heading, digits after the point (None: words)."""

MODEL_COLUMNS: tuple[Column, ...] = (
    ("name", "model", None),
    ("gpu", "GPU", None),
    ("gpus_per_replica", "GPUs", 0),
    ("weights_gib", "weights GiB", 1),
    ("kv_cache_tokens", "KV tokens", 0),
    ("max_model_len", "context", 0),
    ("max_num_seqs", "batch", 0),
    ("tpot_ms", "ms/token", 1),
    ("ttft_ms", "TTFT ms", 0),
    ("tokens_per_s", "tokens/s", 0),
    ("estimate", "estimate", None),
)
MONEY_COLUMNS: tuple[Column, ...] = (
    ("name", "model", None),
    ("price_per_replica_hour", "$/h a replica", 2),
    ("cost_per_million_input_tokens", "$/M in", 2),
    ("cost_per_million_output_tokens", "$/M out", 2),
    ("scale_to_zero_saving_per_month", "scale to zero saves $/month", 0),
    ("always_on_break_even_hours_per_day", "always-on pays above h/day", 1),
    ("break_even_tokens_per_day", "own GPUs pay above tokens/day", 0),
)
POOL_COLUMNS: tuple[Column, ...] = (
    ("name", "pool", None),
    ("instance_type", "instance", None),
    ("capacity_type", "capacity", None),
    ("sharing", "sharing", None),
    ("nodes_min", "min", 0),
    ("nodes_max", "max", 0),
    ("price_per_hour", "$/h each", 2),
    ("hourly_max", "$/h at most", 2),
    ("quota_nodes", "quota left, nodes", 0),
    ("spot_saving_per_hour", "spot saves $/h", 2),
    ("as_of", "price of", None),
)


def page(plan: Mapping[str, Any]) -> str:
    """The page for a plan in its JSON form."""
    name, models, pools = escape(str(plan["environment"])), plan["models"], plan["pools"]
    hourly = [(pool["name"], pool["hourly_max"], None) for pool in pools]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Plan of {name}</title><style>{STYLE}</style></head><body>
<h1>Plan of {name}</h1>{_warnings(plan)}
<div class="cards">{_cards(plan)}</div>
<h2>Topology</h2>{topology(plan)}
<h2>Models, per replica</h2>{_table(MODEL_COLUMNS, models)}
<h2>Memory of each GPU</h2>{memories(models)}
<h2>Milliseconds per output token</h2>{bars([(m["name"], m["tpot_ms"], m["latency_error"]) for m in models], "ms")}
<h2>Cold start on a new node</h2>{cold_starts(models)}
<h2>Money</h2>{_table(MONEY_COLUMNS, models)}
<h2>Dollars per hour with the most nodes</h2>{bars(hourly, "$/h")}
<h2>Node pools</h2>{_table(POOL_COLUMNS, pools)}{_spot(pools)}
<p><small>List prices, dated per pool ({_sources(plan)}); never a bill. Whiskers: the error that 90 % of comparable
measurements stay below; "estimate": no measurement of this kind of model on this GPU with this engine. TTFT is that
of a request that does not wait. Latencies and prices per token at {plan["utilization"] * 100:.0f} % of a full batch.
</small></p>
</body></html>
"""


def _warnings(plan: Mapping[str, Any]) -> str:
    found = []
    if plan["simulated"]:
        found.append(("note", "The nodes are simulated here: this is what they would cost."))
    if not plan["within_budget"]:
        over = f"${plan['hourly_max']:,.2f} is more than the budget of ${plan['budget_per_hour']:,.2f} per hour."
        found.append(("bad", over))
    if plan["over_quota"]:
        pools = ", ".join(plan["over_quota"])
        found.append(("bad", f"The quotas do not let {pools} reach the most nodes: ask for higher ones."))
    found += [("note", note) for note in plan["notes"]]
    found += [("note", f"{item['name']}: {note}") for item in plan["models"] for note in item["notes"]]
    return "".join(f'<p class="{kind}">{escape(words)}</p>' for kind, words in found)


def _cards(plan: Mapping[str, Any]) -> str:
    cards = [_card("per hour, fewest nodes", plan["hourly_min"], 2)]
    if plan["hourly_now_known"]:
        cards.append(_card("per hour, now", plan["hourly_now"], 2))
    cards += [
        _card("per hour, most nodes", plan["hourly_max"], 2),
        _card("per month, most nodes", plan["monthly_max"], 0),
    ]
    traffic = plan["traffic"]
    if traffic is not None:
        saved = f"{traffic['saved'] * 100:.0f} % below its peak always on"
        cards.append(_card(f"per month, the traffic given ({saved})", traffic["monthly"], 0))
    return "".join(cards)


def _card(label: str, value: float, digits: int) -> str:
    return f'<div class="card"><b>${value:,.{digits}f}</b>{escape(label)}</div>'


def _spot(pools: Sequence[Mapping[str, Any]]) -> str:
    notes = sorted({pool["spot_note"] for pool in pools if pool["spot_saving_per_hour"] is not None})
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<small>Spot nodes are:<ul>{lines}</ul></small>" if lines else ""


def _sources(plan: Mapping[str, Any]) -> str:
    return escape("; ".join(sorted({f"{pool['source'].partition(':')[0]}, {pool['as_of']}" for pool in plan["pools"]})))


def _table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th{_kind(digits)}>{escape(title)}</th>" for _, title, digits in columns)
    body = "".join(
        "<tr>" + "".join(f"<td{_kind(digits)}>{_cell(row[key], digits)}</td>" for key, _, digits in columns) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _kind(digits: int | None) -> str:
    return ' class="words"' if digits is None else ""


def _cell(value: object, digits: int | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.{digits or 0}f}" if isinstance(value, (int, float)) else escape(str(value))
