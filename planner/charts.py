"""Charts of the plan's page as inline SVG: no script, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

COLOURS = ("#3b6fb5", "#5aa469", "#d59b3a", "#b5533b", "#7d5ba6")
INK, LINE, PAPER = "#1c2430", "#9aa7b5", "#f3f6fa"
STAGES = ("node", "driver", "image", "weights", "engine")
MEMORY = (
    ("weights", "weights_gib"),
    ("runtime", "runtime_gib"),
    ("KV cache", "kv_cache_gib"),
    ("LoRA adapters", "adapters_gib"),
    ("not used", "unused_gib"),
)
LABEL, BAR, ROW = 250.0, 600.0, 28
WIDTH = 960
NAME_LETTERS, BOX_LETTERS = 34, 36
MOST_GPUS = 16


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(label)}">'
    return start + "".join(parts) + "</svg>"


def _text(x: float, y: float, words: str, letters: int = 0, more: str = "") -> str:
    """A text, cut to so many letters with the whole as its tooltip."""
    shown = words if not letters or len(words) <= letters else words[: letters - 1] + "…"
    tip = "" if shown == words else f"<title>{escape(words)}</title>"
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{tip}{escape(shown)}</text>'


def _rect(x: float, y: float, width: float, colour: str, tip: str) -> str:
    shape = f'<rect x="{x:.1f}" y="{y + 4}" width="{max(0.0, width):.1f}" height="18" fill="{colour}">'
    return f"{shape}<title>{escape(tip)}</title></rect>"


def _legend(y: float, names: Sequence[str], colours: Sequence[str]) -> list[str]:
    parts = []
    for index, (name, colour) in enumerate(zip(names, colours, strict=True)):
        x = LABEL + index * 110
        parts.append(f'<rect x="{x}" y="{y + 8}" width="12" height="12" fill="{colour}"/>{_text(x + 18, y + 18, name)}')
    return parts


def bars(rows: Sequence[tuple[str, float | None, float | None]], unit: str) -> str:
    """A bar for each name and value, with the relative error as a whisker where there is one."""
    known = [(name, value, error) for name, value, error in rows if value is not None]
    most = max((value * (1 + (error or 0.0)) for _, value, error in known), default=1.0) or 1.0
    parts = []
    for index, (name, value, error) in enumerate(known):
        y, end = index * ROW, LABEL + value / most * BAR
        band = "" if error is None else f" ± {error * 100:.0f} %"
        parts.append(_text(0, y + 17, name, NAME_LETTERS))
        parts.append(_rect(LABEL, y, value / most * BAR, COLOURS[0], f"{name}: {value:,.1f} {unit}{band}"))
        if error is not None:
            low, end = LABEL + value * max(0.0, 1 - error) / most * BAR, LABEL + value * (1 + error) / most * BAR
            ends = f"M{low:.1f} {y + 8}v10M{end:.1f} {y + 8}v10"
            parts.append(f'<path d="M{low:.1f} {y + 13}H{end:.1f}{ends}" stroke="{INK}" stroke-width="1.5"/>')
        parts.append(_text(end + 8, y + 17, f"{value:,.1f}"))
    return _svg(max(ROW, len(known) * ROW), unit, parts)


def _stacked(
    rows: Sequence[tuple[str, Sequence[float], str]], names: Sequence[str], colours: Sequence[str], unit: str
) -> str:
    most = max((sum(values) for _, values, _ in rows), default=1.0) or 1.0
    parts = []
    for index, (name, values, end) in enumerate(rows):
        x, y = LABEL, index * ROW
        parts.append(_text(0, y + 17, name, NAME_LETTERS))
        for part, value, colour in zip(names, values, colours, strict=True):
            width = value / most * BAR
            parts.append(_rect(x, y, width, colour, f"{name}: {part} {value:,.1f} {unit}"))
            x += width
        parts.append(_text(x + 8, y + 17, end))
    bottom = len(rows) * ROW
    return _svg(bottom + ROW, f"{', '.join(names)}, {unit}", [*parts, *_legend(bottom, names, colours)])


def cold_starts(models: Sequence[Mapping[str, Any]]) -> str:
    """The stages of each model's cold start, seconds."""
    rows = [
        (row["name"], [row["cold_start"][f"{stage}_s"] for stage in STAGES], f"{row['cold_start_s']:.0f} s")
        for row in models
        if row["cold_start"] is not None
    ]
    return _stacked(rows, STAGES, COLOURS, "s")


def memories(models: Sequence[Mapping[str, Any]]) -> str:
    """Where the memory of each GPU goes, GiB."""
    known = [row for row in models if row["gpu_memory"] is not None]
    there = {key for row in known for key in row["gpu_memory"]}
    shown = [
        (name, key, colour)
        for (name, key), colour in zip(MEMORY, (*COLOURS[:4], "#dde3ea"), strict=True)
        if key in there or not known
    ]
    rows = []
    for row in known:
        parts = row["gpu_memory"]
        rows.append((row["name"], [parts.get(key, 0.0) for _, key, _ in shown], f"{sum(parts.values()):.1f} GiB"))
    return _stacked(rows, [name for name, _, _ in shown], tuple(colour for _, _, colour in shown), "GiB")


def topology(plan: Mapping[str, Any]) -> str:
    """Gateway, model deployments and node pools, with the GPUs of one node of each pool."""
    models, pools = plan["models"], plan["pools"]
    step = 56
    height = max(len(models), len(pools), 1) * step + 10
    middle = height / 2
    top = {
        "models": (height - len(models) * step) / 2 + step / 2,
        "pools": (height - len(pools) * step) / 2 + step / 2,
    }
    at_pool = {pool["name"]: index * step + top["pools"] for index, pool in enumerate(pools)}
    parts = []
    for index, item in enumerate(models):
        y = index * step + top["models"]
        parts += [_line(130, middle, 230, y), _line(560, y, 640, at_pool[item["pool"]])]
        gpus = f"{item['gpus_per_replica']} GPU{'s' if item['gpus_per_replica'] > 1 else ''}"
        span = f"{item['replicas_min']} to {item['replicas_max']} replicas of {gpus}"
        parts.append(_box(230, y, 330, item["name"], span))
    for pool in pools:
        y = at_pool[pool["name"]]
        span = f"{pool['nodes_min']} to {pool['nodes_max']} x {pool['instance_type']}, {pool['capacity_type']}"
        parts.append(_box(640, y, 318, pool["name"], span))
        tip = f"<title>{pool['gpus_per_node']} x {escape(pool['gpu'])} in each node</title>"
        for index in range(min(MOST_GPUS, pool["gpus_per_node"])):
            x = 944 - 11 * (index % 8 + 1)
            place = f'x="{x}" y="{y - 18 + 11 * (index // 8):.1f}" width="9" height="9"'
            parts.append(f'<rect {place} fill="{COLOURS[1]}">{tip}</rect>')
    parts.append(_box(0, middle, 130, "gateway", "OpenAI API"))
    return _svg(int(height), "topology", parts)


def _box(x: float, y: float, width: float, title: str, below: str) -> str:
    shape = f'rx="6" fill="{PAPER}" stroke="{COLOURS[0]}"'
    return (
        f'<rect x="{x + 1}" y="{y - 23:.1f}" width="{width - 2}" height="46" {shape}/>'
        + _text(x + 12, y - 4, title, BOX_LETTERS, ' font-weight="600"')
        + _text(x + 12, y + 14, below, BOX_LETTERS + 16)
    )


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = (x + to_x) / 2
    curve = f"M{x} {y:.1f}C{bend} {y:.1f} {bend} {to_y:.1f} {to_x} {to_y:.1f}"
    return f'<path d="{curve}" fill="none" stroke="{LINE}"/>'
