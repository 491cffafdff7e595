"""What is kept of a run, and the pictures drawn from it; not the run itself.

Not proven: that Grafana would draw the same. There is none here.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.observability.dashboards import all_dashboards
from components.observability.dashboards.panels import Dashboard, Panel
from load.replay import Failure, Outcome
from local.layout import REPOSITORY
from local.recording.__main__ import ANSWERS, RECORDED, SERIES
from local.recording.environment import CONFIG, PHASES, schedule
from local.recording.graph import Box, Scale, Time, amount, graph, legend_rows, linear, path, powers_of_ten
from local.recording.pictures import draw_all, layout
from local.recording.queries import Choices, legend
from local.recording.record import Answers, Clients, by_client
from local.recording.series import Recording, notation, on_grid, read_compressed, samples, series_names

pytestmark = pytest.mark.unit

PICTURES = REPOSITORY / "docs" / "pictures"
BOX = Box(0, 0, 100, 100)


@cache
def answers() -> Answers:
    return Answers.of(read_compressed(RECORDED / ANSWERS))


@given(st.lists(st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.5, 1e-7, 123456789.0])), max_size=30))
def test_notation_and_back(values: list[float | None]) -> None:
    assert samples(notation(values)) == values


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([None, None, 1.0, 1.0, 1.0, None, None], "_x2 1x2 stale _x1"),
        ([0.0, 5.0, None, 5.0], "0 5 stale 5"),
        ([], ""),
    ],
)
def test_a_series_that_ends_is_stale(values: list[float | None], text: str) -> None:
    """Else promtool would go on seeing its last sample for five minutes."""
    assert notation(values) == text


def test_names_keep_a_dropped_label_where_it_alone_tells_two_apart() -> None:
    one = {"__name__": "up", "job": "a", "instance": "x", "empty": ""}
    other = {"__name__": "up", "job": "b", "instance": "x"}
    third = {"__name__": "up", "pod": "p", "job": "b"}
    assert series_names([one, other, third]) == ['up{instance="x",job="a"}', 'up{instance="x",job="b"}', 'up{pod="p"}']


def test_samples_go_to_their_step() -> None:
    assert on_grid([(100.0, "1"), (110.0, "2.5")], start=95.0, step=5, count=5) == [None, 1.0, None, 2.5, None]


def test_a_recording_is_the_same_file_for_the_same_series(tmp_path: Path) -> None:
    recording = Recording(about={"source": "test"}, step_seconds=5, count=3, series={'a{b="c"}': [None, 1.0, 2.0]})
    for name in ("one", "two"):
        recording.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert Recording.load(tmp_path / "one") == recording
    assert recording.of("a", b="c") == {'a{b="c"}': [None, 1.0, 2.0]}
    assert recording.of("a", b="d") == recording.of("b") == {}


def test_what_is_committed_is_small() -> None:
    assert sum((RECORDED / name).stat().st_size for name in (SERIES, ANSWERS)) < 300_000
    assert sum(file.stat().st_size for file in PICTURES.glob("dashboard-*.svg")) < 400_000


def test_the_load_is_the_same_every_time_and_in_order() -> None:
    requests = schedule()
    assert requests == schedule()
    assert [request.at for request in requests] == sorted(request.at for request in requests)
    assert {request.model for request in requests} == {model["name"] for model in CONFIG["model_deployments"]}
    assert requests[-1].at < max(phase.ends for phase in PHASES)
    half = schedule(scale=0.5)
    assert half[-1].at < 0.5 * max(phase.ends for phase in PHASES)


def test_clients_count_what_they_were_told() -> None:
    outcomes = [
        Outcome("chat", stream=True, prompt_tokens=10, output_tokens=3),
        Outcome("chat", stream=True, prompt_tokens=20, output_tokens=4, failure=Failure("status 500", "")),
        Outcome("code", stream=False, prompt_tokens=5, output_tokens=6),
    ]
    assert by_client(outcomes) == {
        "chat": Clients(requests=2, prompt_tokens=30, output_tokens=7),
        "code": Clients(requests=1, prompt_tokens=5, output_tokens=6),
    }


def test_queries_and_legends_as_grafana_fills_them() -> None:
    choices = Choices(namespace="inference-x", model="chat", node="n-0")
    expr = choices.fill('a{namespace="$namespace",inference_model="$model",node="$node"}')
    assert expr == 'a{namespace="inference-x",inference_model="chat",node="n-0"}'
    assert legend("GPU {{gpu}} {{ pod }}", {"gpu": "0"}) == "GPU 0"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "s", "250 ms"),
        (2.5, "s", "2.5 s"),
        (0.0, "s", "0 s"),
        (0.853, "percentunit", "85.3 %"),
        (4.6016, "currencyUSD", "$4.60"),
        (1000.0, "currencyUSD", "$1,000"),
        (12_500.0, "short", "12.5k"),
        (72.0, "watt", "72 W"),
        (36.75, "celsius", "36.8 °C"),
        (3.0, "reqps", "3 req/s"),
    ],
)
def test_figures_as_people_read_them(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


@pytest.mark.parametrize(
    ("most", "ticks"),
    [(0.0, (0.0, 0.25)), (1.0, (0.0, 0.25, 0.5, 0.75, 1.0)), (6.74, (0.0, 2.0, 4.0, 6.0, 8.0)), (3, (0, 1, 2, 3))],
)
def test_axes_have_round_figures(most: float, ticks: tuple[float, ...]) -> None:
    assert linear(most).ticks == pytest.approx(ticks)


@given(st.lists(st.floats(1e-4, 1e6), min_size=1, max_size=20))
def test_every_sample_is_inside_its_axes(values: list[float]) -> None:
    for scale in (linear(max(values)), powers_of_ten({"a": values})):
        assert all(-1e-9 <= scale.share(value) <= 1 + 1e-9 for value in values)


def test_powers_of_ten_for_what_falls_a_thousandfold() -> None:
    scale = powers_of_ten({"a": [None, 320.0, 2.0, 0.0]})
    assert scale.ticks == (1.0, 10.0, 100.0, 1000.0)
    assert scale.share(10.0) == pytest.approx(1 / 3)
    assert scale.share(0.0) == 0.0
    assert powers_of_ten({}).ticks == (1.0, 10.0)


def test_a_line_has_gaps_and_no_needless_points() -> None:
    scale = Scale((0.0, 10.0))
    assert path([0.0, 5.0, 10.0, None, 10.0, 10.0], BOX, scale) == "M0.0 100.0L40.0 0.0M80.0 0.0L100.0 0.0"
    assert path([None, 10.0, None], BOX, scale) == "M50.0 0.0L50.0 0.0"
    assert path([None, None], BOX, scale) == ""


def test_a_legend_has_every_name_in_rows_that_fit() -> None:
    names = [f"series-{index}" for index in range(9)]
    rows = legend_rows(names, 250)
    assert [name for row in rows for name in row] == names
    assert max(len(row) for row in rows) == 3


def test_names_cannot_break_out_of_the_picture() -> None:
    panel = Panel(title="<script>", queries=[], unit="short", description="")
    parts = graph(BOX, panel, {"</svg><b>": [1.0, 2.0]}, Time(5, 2, (0.0, 5.0)))
    ET.fromstring(f"<svg>{''.join(parts)}</svg>")  # noqa: S314 - our own
    assert "<script>" not in "".join(parts)


@pytest.mark.parametrize("dashboard", all_dashboards(), ids=lambda board: board.key)
def test_panels_lie_side_by_side(dashboard: Dashboard) -> None:
    boxes = layout(dashboard.panels)
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            apart_x = one.x + one.width <= other.x or other.x + other.width <= one.x
            apart_y = one.y + one.height <= other.y or other.y + other.height <= one.y
            assert apart_x or apart_y


def test_no_panel_of_the_recorded_run_is_empty() -> None:
    for dashboard in all_dashboards():
        for panel in dashboard.panels:
            rows = answers().panels[dashboard.key][panel.title]
            assert any(value is not None for row in rows.values() for value in row), (dashboard.key, panel.title)


def test_pictures_in_the_docs_are_those_of_the_recorded_run() -> None:
    """`python -m local.recording draw` writes them."""
    drawn = draw_all(answers())
    assert {file.name for file in PICTURES.glob("dashboard-*.svg")} == set(drawn)
    for name, text in drawn.items():
        ET.fromstring(text)  # noqa: S314 - our own
        assert "not a screenshot of Grafana" in text.replace("\n", " ")
        assert (PICTURES / name).read_text(encoding="utf-8") == text, f"{name} is old: draw it anew"
    shown = (REPOSITORY / "docs" / "observability.md").read_text(encoding="utf-8")
    assert all(name in shown for name in drawn)
