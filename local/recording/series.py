"""Raw series as they are kept: one sample per step, as `promtool test rules` writes them, in one compressed file."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Samples = Sequence[float | None]
"""One value per step; None where the series was not there."""

DROPPED_LABELS: Final = frozenset(
    (
        *("__name__", "instance", "job", "UUID", "engine", "model_name"),
        *("uid", "host_ip", "pod_ip", "host_network", "created_by_kind", "created_by_name", "priority_class"),
    )
)
"""Nothing in our rules and dashboards reads them, and they would make the file large."""

_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Series of one run.

    Attributes:
        about: where they come from, for people.
        step_seconds: between two samples.
        count: samples of each series.
        series: by name with labels, as PromQL has them.
    """

    about: Mapping[str, Any]
    step_seconds: int
    count: int
    series: Mapping[str, Samples]

    def save(self, path: Path) -> None:
        """Write the file; the same bytes for the same series."""
        document = {
            "about": dict(self.about),
            "step_seconds": self.step_seconds,
            "count": self.count,
            "series": {name: notation(self.series[name]) for name in sorted(self.series)},
        }
        write_compressed(path, document)

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read a file that `save` has written."""
        document = read_compressed(path)
        series = {name: samples(text) for name, text in document.pop("series").items()}
        return cls(series=series, **document)

    def of(self, name: str, **labels: str) -> dict[str, Samples]:
        """The series of this name with these labels, by all their labels."""
        return {
            key: values
            for key, values in self.series.items()
            if key.partition("{")[0] == name and labels.items() <= labels_of(key).items()
        }


def write_compressed(path: Path, document: Mapping[str, Any]) -> None:
    """JSON, compressed; no time stamp in it, so that the same content is the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_compressed(path: Path) -> dict[str, Any]:
    """What `write_compressed` has written."""
    document: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return document


def series_names(metrics: Sequence[Mapping[str, str]]) -> list[str]:
    """Series as PromQL selects them, without the labels that nobody reads, as long as they can be told apart."""
    short = [_name(metric, DROPPED_LABELS) for metric in metrics]
    return [
        _name(metric, {"__name__"}) if short.count(name) > 1 else name
        for metric, name in zip(metrics, short, strict=True)
    ]


def _name(metric: Mapping[str, str], dropped: Collection[str]) -> str:
    labels = ",".join(f'{key}="{metric[key]}"' for key in sorted(metric) if key not in dropped and metric[key])
    return f"{metric['__name__']}{{{labels}}}"


def labels_of(name: str) -> dict[str, str]:
    """Labels of a series."""
    return dict(_LABEL.findall(name))


def on_grid(values: Sequence[tuple[float, str]], start: float, step: int, count: int) -> list[float | None]:
    """Samples of a range query as one value per step."""
    row: list[float | None] = [None] * count
    for moment, value in values:
        row[round((moment - start) / step)] = float(value)
    return row


def notation(values: Samples) -> str:
    """As `promtool test rules` reads them: runs are folded, and a series that ends is marked as stale."""
    words: list[str] = []
    index = 0
    while index < len(values):
        value = values[index]
        length = next((i for i in range(index, len(values)) if values[i] != value), len(values)) - index
        if value is None:
            if index > 0:
                words.append("stale")
                index, length = index + 1, length - 1
            if length:
                words.append(f"_x{length}")
        else:
            number = f"{value:.12g}"
            words.append(number if length == 1 else f"{number}x{length - 1}")
        index += length
    return " ".join(words)


def samples(text: str) -> list[float | None]:
    """The values that `notation` has written."""
    values: list[float | None] = []
    for word in text.split():
        number, _, times = word.partition("x")
        if number == "_":
            values += [None] * int(times or 1)
        elif number == "stale":
            values.append(None)
        else:
            values += [float(number)] * (int(times or 0) + 1)
    return values
