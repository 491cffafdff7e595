"""The wake test against doubles of the gateway and of the Kubernetes API that act together.

Shows: it waits for zero, sends once, counts what is lost, tells the start-up from what comes on top. Does not
show how fast the real chain wakes, nor that it loses nothing: that is what the test is for.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from rich.console import Console

import load.run
from load.replay import Failure, Outcome
from load.report import last_line
from load.run import LoadError
from load.wake import Round, WakeOptions, summarise, wake, wake_lines
from tests.unit.load.doubles import (
    Gateway,
    KubernetesApi,
    deployment,
    gateway,
    kubernetes_api,
    pod,
    whole,
    write_kubeconfig,
)

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def nothing_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doubles write events and conditions at once."""
    monkeypatch.setattr(load.run, "RECORD_SECONDS", 0.0)


class Chain:
    """A model that wakes on a request and goes back to zero after the last answer of a burst."""

    def __init__(self, api: KubernetesApi, burst: int, lose: int = 0) -> None:
        self.api = api
        self.burst = burst
        self.lose = lose
        self.came = 0
        self.left = 0

    async def answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self.came += 1
        if self.came % self.burst == 1 % self.burst:
            self.api.put("deployments", deployment("chat", 1, 0))
            self.api.put("pods", pod("chat", "chat-1", ready=False))
            self.api.put("pods", pod("chat", "chat-1", ready=True))
            self.api.put("deployments", deployment("chat", 1, 1))
        lost = self.came <= self.lose
        response = web.Response(status=502, text="gone") if lost else await whole(request, body)
        self.left += 1
        if self.left % self.burst == 0:
            self.api.put("deployments", deployment("chat", 0, 0))
            self.api.delete("pods", "chat-1")
        return response


@asynccontextmanager
async def chain(tmp_path: Path, burst: int = 1, lose: int = 0) -> AsyncIterator[tuple[Gateway, WakeOptions]]:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 0, 0))
        kubeconfig = tmp_path / "kubeconfig"
        write_kubeconfig(kubeconfig, api.url)
        async with gateway(Chain(api, burst, lose).answer) as front:
            options = WakeOptions(front.url, "chat", kubeconfig, burst=burst, startup_seconds=0.0, zero_timeout=10)
            yield front, options


@pytest.mark.parametrize("stream", [True, False])
async def test_each_round_wakes_once_and_loses_nothing(tmp_path: Path, stream: bool) -> None:
    said = io.StringIO()
    async with chain(tmp_path) as (front, options):
        summary, lines, status = await wake(
            replace(options, times=5, stream=stream, wait_zero=True), Console(file=said)
        )
        assert len(front.bodies) == 5
    assert (status, summary["rounds"], summary["requests"], summary["lost"]) == (0, 5, 5, 0)
    assert json.loads(last_line(summary))["on_top_of_startup_ms"]["p95"] > 0
    assert summary["phases_ms"]["pod_ready"]["p50"] > 0
    assert [entry[1:] for entry in summary["replicas"]["chat"]] == [[0, 0], *[[1, 0], [1, 1], [0, 0]] * 5]
    assert summary["scaled_by"] == {"events": {}, "decisions": [], "decided": {}}
    assert lines[0] == "5 wakes of chat with 1 request(s) each: 5 requests, 0 lost"
    assert said.getvalue().count("1 of 1 answered") == 5


async def test_a_burst_is_sent_at_once(tmp_path: Path) -> None:
    async with chain(tmp_path, burst=50) as (front, options):
        summary, _, status = await wake(replace(options, times=2), Console(quiet=True))
        assert len(front.bodies) == 100
    assert (status, summary["requests"], summary["lost"], summary["burst"]) == (0, 100, 0, 50)


async def test_a_lost_request_counts_and_is_not_sent_again(tmp_path: Path) -> None:
    async with chain(tmp_path, lose=1) as (front, options):
        summary, lines, status = await wake(replace(options, times=3), Console(quiet=True))
        assert len(front.bodies) == 3
    assert (status, summary["requests"], summary["lost"]) == (1, 3, 1)
    assert summary["failures"] == {"status 502": {"count": 1, "first": "chat: gone"}}
    assert "failed: 1 x status 502; first: chat: gone" in lines


async def test_a_model_that_never_gets_to_zero_is_no_success(tmp_path: Path) -> None:
    said = io.StringIO()
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 1, 1))
        write_kubeconfig(tmp_path / "kubeconfig", api.url)
        async with gateway() as front:
            options = WakeOptions(front.url, "chat", tmp_path / "kubeconfig", zero_timeout=0.05)
            summary, lines, status = await wake(options, Console(file=said, width=200))
            assert front.bodies == []
    assert (status, summary["requests"], summary["startup_seconds"]) == (1, 0, 3.0)
    assert (
        "chat is not at zero after 0.05 s: is other traffic on it, or is its min_replicas above 0?" in said.getvalue()
    )
    assert lines[-1] == "1 wakes were not done"


@pytest.mark.parametrize("startup", [None, "soon", "-1"])
async def test_an_unknown_start_up_time_is_asked_for(tmp_path: Path, startup: str | None) -> None:
    async with kubernetes_api() as api:
        api.put("deployments", deployment("chat", 0, 0, startup=startup))
        write_kubeconfig(tmp_path / "kubeconfig", api.url)
        async with gateway() as front:
            with pytest.raises(LoadError) as caught:
                await wake(WakeOptions(front.url, "chat", tmp_path / "kubeconfig"), Console(quiet=True))
    assert str(caught.value) == (
        "the start-up time of chat is not known: its engine Deployment has "
        f"simulation.inference.platform/startup-seconds={startup!r}; give --startup-seconds"
    )


async def test_an_unknown_model_is_named_with_those_that_exist(tmp_path: Path) -> None:
    async with chain(tmp_path) as (front, options):
        with pytest.raises(LoadError) as caught:
            await wake(replace(options, model="chta"), Console(quiet=True))
        assert front.bodies == []
    assert str(caught.value) == (
        "namespace inference-dev has no engine Deployment of chta (found: chat): "
        "run `make up`, or check --models and --namespace"
    )


def answered(first: float) -> Outcome:
    return Outcome("chat", stream=True, first_token=first, finished=first + 1, simulated=True)


def test_the_figures_of_the_rounds() -> None:
    lost = Outcome("chat", stream=True, finished=1.0, failure=Failure("timeout", "late"))
    rounds = [
        Round(2.0, [answered(3.5)], wanted=0.1, pod=0.2, ready=3.25),
        Round(4.0, [answered(3.75), lost], wanted=0.3, pod=0.4, ready=None),
        Round(4.0),
    ]
    options = WakeOptions("http://x", "chat", Path("k"), times=3)
    summary = summarise(options, rounds, startup=3.0, duration=time.get_clock_info("monotonic").resolution)
    assert (summary["rounds"], summary["rounds_wanted"], summary["requests"], summary["lost"]) == (2, 3, 3, 1)
    assert summary["answered_after_ms"]["max"] == 3750.0
    assert summary["on_top_of_startup_ms"]["p50"] == 625.0
    assert summary["phases_ms"]["replica_wanted"]["p50"] == 200.0
    assert summary["phases_ms"]["first_answer_after_pod_ready"] == {
        "p50": 250.0,
        "p95": 250.0,
        "p99": 250.0,
        "max": 250.0,
        "mean": 250.0,
    }
    assert summary["simulated"] is True
    lines = wake_lines({**summary, "scaled_by": {}})
    assert "first token on top of the start-up of 3 s: p50 625 ms, p95 738 ms, max 750 ms" in lines
    assert lines[-2:] == [
        "1 wakes were not done",
        "simulated: the engine is a simulator; its start-up is a set delay",
    ]
