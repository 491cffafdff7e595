"""The live view. Shows the text it makes; not how a given terminal draws it."""

from __future__ import annotations

import asyncio
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from load import view
from load.replay import Progress
from load.replicas import Change
from load.view import Rates, live_table, progress_line, resample, show, sparkline

pytestmark = pytest.mark.unit


def test_a_sparkline_rises_from_blank_to_full() -> None:
    assert sparkline([0, 1, 2, 4, 8]) == " ▁▂▄█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
    assert sparkline([0.01, 100]) == "▁█"


def test_resampling_keeps_the_peak_of_each_slice() -> None:
    points = [(0.0, 0.0), (1.0, 5.0), (1.5, 1.0), (3.0, 2.0)]
    assert resample(points, 0.0, 4.0, 4) == [0.0, 5.0, 1.0, 2.0]


def test_what_held_before_the_window_is_its_first_value() -> None:
    assert resample([(-5.0, 9.0), (-1.0, 2.0)], 0.0, 2.0, 2) == [2.0, 2.0]
    assert resample([(1.0, 1.0)], 3.0, 3.0, 2) == [0.0, 0.0]


@given(
    st.lists(st.tuples(st.floats(0, 99), st.integers(0, 5)), min_size=1).map(sorted),
    st.integers(1, 60),
)
def test_no_peak_is_lost_and_none_is_invented(points: list[tuple[float, int]], width: int) -> None:
    steps = [(at, float(value)) for at, value in points]
    values = resample(steps, 0.0, 100.0, width)
    assert len(values) == width
    assert values[-1] >= steps[-1][1]
    assert set(values) <= {0.0, *(value for _, value in steps)}
    highest = max(value for at, value in steps if at > 0.0 or (at, value) == steps[0])
    if all(at > 0.0 for at, _ in steps):
        assert max(values) == highest


def state() -> dict[str, Progress]:
    chat = Progress(sent=10, done=7, failed=1, chunks=100)
    chat.recent_first_tokens.extend([0.1, 0.2, 0.3])
    return {"chat": chat, "code": Progress()}


CHANGES = [Change(0.0, "chat", 0, 0), Change(1.0, "chat", 3, 1)]


def test_the_line_for_logs() -> None:
    assert progress_line(state(), {"chat": 12.4}, CHANGES, 5.0) == (
        "   5.0 s  chat: 10 sent, 2 in flight, 7 done, 1 failed, TTFT p50 200 p95 290 ms, 12 chunks/s, "
        "1/3 replicas ready | code: 0 sent, 0 in flight, 0 done, 0 failed, TTFT p50 - p95 - ms, 0 chunks/s, "
        "? replicas ready"
    )
    assert "replicas" not in progress_line(state(), {}, None, 5.0)


def test_the_live_table_shows_each_model() -> None:
    out = io.StringIO()
    console = Console(file=out, width=160)
    console.print(live_table(state(), {"chat": 12.0}, CHANGES, 0.0, 2.0))
    text = out.getvalue()
    assert "1/3" in text
    assert "█" * 20 in text
    console.print(live_table(state(), {}, None, 0.0, 2.0))
    assert "replicas" not in out.getvalue()[len(text) :]


def test_rates_are_over_the_last_five_seconds() -> None:
    rates, progress = Rates(), {"chat": Progress()}
    assert rates.sample(progress, 0.0) == {"chat": 0.0}
    progress["chat"].chunks = 100
    assert rates.sample(progress, 2.0) == {"chat": 50.0}
    assert rates.sample(progress, 10.0) == {"chat": 0.0}


@pytest.mark.parametrize(("terminal", "expected"), [(True, "in flight"), (False, "10 sent, 2 in flight")])
async def test_show_writes_until_cancelled(monkeypatch: pytest.MonkeyPatch, terminal: bool, expected: str) -> None:
    monkeypatch.setattr(view, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(view, "REFRESH_SECONDS", 0.0)
    shown = asyncio.Event()

    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            written = super().write(text)
            if expected in self.getvalue():
                shown.set()
            return written

    console = Console(file=Screen(), width=160, force_terminal=terminal)
    task = asyncio.create_task(show(console, state(), CHANGES, lambda: 1.0))
    async with asyncio.timeout(10):
        await shown.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_quiet_console_stays_silent(capsys: pytest.CaptureFixture[str]) -> None:
    task = asyncio.create_task(show(Console(stderr=True, quiet=True), state(), None, lambda: 0.0))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert capsys.readouterr().err == ""
