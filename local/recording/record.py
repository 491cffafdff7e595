"""One run, recorded: deploy, load, drain, wait until every rate has fallen to zero, read all that is worth keeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from components.versions import VLLM_ENGINE
from load.replay import Outcome
from local.recording.environment import NAMESPACE, RecordingError, Running, facts, schedule, wait_for
from local.recording.queries import Choices, legend, panel_queries, raw_series
from local.recording.series import Recording, Samples, notation, on_grid, samples, series_names

STEP_SECONDS: Final = 5
"""As the platform's Prometheus scrapes pods; the embedded cluster's own scrapes every second."""

LEAD_SECONDS: Final = 75
ZERO_SECONDS: Final = 180.0
TAIL_SECONDS: Final = 320.0
"""After the last answer: longer than the five minutes over which most rules take a rate."""

SHOWN_MODEL: Final = "chat"


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What the clients of one model counted, whom nothing of the platform told anything."""

    requests: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What Prometheus answered to the dashboards' queries.

    Attributes:
        about: where they come from.
        step_seconds: between two samples.
        count: samples of each series.
        panels: by dashboard, title and legend.
    """

    about: Mapping[str, Any]
    step_seconds: int
    count: int
    panels: Mapping[str, Mapping[str, Mapping[str, Samples]]]

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        panels = {
            key: {title: {name: notation(row) for name, row in rows.items()} for title, rows in titles.items()}
            for key, titles in self.panels.items()
        }
        return {"about": dict(self.about), "step_seconds": self.step_seconds, "count": self.count, "panels": panels}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Answers:
        """From what `document` gave."""
        panels = {
            key: {title: {name: samples(text) for name, text in rows.items()} for title, rows in titles.items()}
            for key, titles in document["panels"].items()
        }
        return cls(
            about=document["about"], step_seconds=document["step_seconds"], count=document["count"], panels=panels
        )


@dataclass(frozen=True)
class Window:
    """The time that is kept, on the grid of the steps; seconds since 1970."""

    start: float
    count: int

    @property
    def end(self) -> float:
        """Of the last sample."""
        return self.start + (self.count - 1) * STEP_SECONDS


def record(running: Running, progress: Callable[[str], None], scale: float = 1.0) -> tuple[Recording, Answers]:
    """Load a deployed environment, let it fall to zero, and read what came of it.

    Args:
        running: nothing has been asked of it yet.
        progress: is told what goes on.
        scale: factor on the load's length.

    Raises:
        RecordingError: a request failed, an engine did not go, or Prometheus knows nothing of the run.
        PrometheusError: it refuses a query.
    """
    running.await_rules()
    start = time.time()
    pass_time(start + LEAD_SECONDS)
    requests = schedule(scale=scale)
    progress(f"sending {len(requests)} requests over {requests[-1].at:.0f} s")
    begun = time.time()
    outcomes = running.load(requests)
    ended = time.time()
    node = running.prometheus.ask(f'up{{inference_component="engine",inference_model="{SHOWN_MODEL}"}}')
    progress(f"all answered after {ended - begun:.0f} s; waiting for zero")
    choices = Choices(namespace=NAMESPACE, model=SHOWN_MODEL, node=node[0]["metric"]["node"] if node else "")
    # What cannot be read is found out now, not in six minutes.
    read_series(running, Window(start, 2), {})
    read_panels(running, Window(start, 2), {}, choices)
    wait_for(lambda: running.engines() == 0, ZERO_SECONDS, "no engine left")
    progress(f"no engine left after {time.time() - ended:.0f} s; waiting for rates to fall to zero")
    pass_time(ended + TAIL_SECONDS)
    window = Window(start, int((time.time() - start) / STEP_SECONDS))
    about = {
        "source": "one run of `python -m local.recording record`: the embedded cluster, simulated GPUs and engines",
        "engine": VLLM_ENGINE,
        "namespace": NAMESPACE,
        "load_began_s": round(begun - start, 1),
        "load_ended_s": round(ended - start, 1),
        "clients": {model: asdict(counted) for model, counted in by_client(outcomes).items()},
    }
    return read_series(running, window, about), read_panels(running, window, {**about, **asdict(choices)}, choices)


def pass_time(until: float) -> None:
    """Let time pass: what comes is a matter of the clock."""
    wait_for(lambda: time.time() >= until, until - time.time() + 10, "the time has passed")


def by_client(outcomes: Sequence[Outcome]) -> dict[str, Clients]:
    """Requests and tokens by model, from the answers."""
    counted = {}
    for model in sorted({outcome.model for outcome in outcomes}):
        own = [outcome for outcome in outcomes if outcome.model == model]
        counted[model] = Clients(
            requests=len(own),
            prompt_tokens=sum(outcome.prompt_tokens for outcome in own),
            output_tokens=sum(outcome.output_tokens for outcome in own),
        )
    return counted


def read_series(running: Running, window: Window, about: Mapping[str, Any]) -> Recording:
    """All raw series that rules and dashboards read."""
    kept: dict[str, Samples] = {}
    for name in raw_series(facts()):
        found = running.prometheus.range(name, window.start, window.end, STEP_SECONDS)
        ours = [item for item in found if item["metric"].get("namespace", NAMESPACE) == NAMESPACE]
        for key, item in zip(series_names([item["metric"] for item in ours]), ours, strict=True):
            kept[key] = on_grid(item["values"], window.start, STEP_SECONDS, window.count)
    if not kept:
        raise RecordingError("Prometheus knows nothing of the run")
    return Recording(about=about, step_seconds=STEP_SECONDS, count=window.count, series=kept)


def read_panels(running: Running, window: Window, about: Mapping[str, Any], choices: Choices) -> Answers:
    """What every panel would show."""
    panels: dict[str, dict[str, dict[str, Samples]]] = {}
    for dashboard, panel, query in panel_queries():
        shown = panels.setdefault(dashboard.key, {}).setdefault(panel.title, {})
        for found in running.prometheus.range(choices.fill(query.expr), window.start, window.end, STEP_SECONDS):
            values = [(moment, f"{float(value):.5g}") for moment, value in found["values"] if value != "NaN"]
            if not values:
                continue
            name = legend(query.legend, found["metric"])
            while name in shown:
                name += " "
            shown[name] = on_grid(values, window.start, STEP_SECONDS, window.count)
    return Answers(about=about, step_seconds=STEP_SECONDS, count=window.count, panels=panels)
