"""The summary. Shows the arithmetic and the shape; not that what was measured is true."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from load.replay import Failure, Outcome
from load.report import Run, failures, figures, last_line, replicas_cell, summarise, table

pytestmark = pytest.mark.unit


def good(model: str = "chat", *, first: float = 0.1, tokens: int = 11) -> Outcome:
    return Outcome(
        model,
        stream=True,
        lag=0.002,
        first_token=first,
        last_token=first + 1.0,
        finished=first + 1.5,
        longest_gap=0.25,
        chunks=tokens,
        prompt_tokens=7,
        output_tokens=tokens,
        answered_as=model,
        simulated=True,
    )


def bad(cause: str, detail: str, model: str = "chat") -> Outcome:
    return Outcome(model, stream=True, first_token=9.0, finished=9.0, failure=Failure(cause, detail))


def flat(value: float) -> dict[str, float]:
    return {"p50": value, "p95": value, "p99": value, "max": value, "mean": value}


def test_figures_of_answers_alike() -> None:
    assert figures([good(), good()], duration=2.0) == {
        "requests": 2,
        "failed": 0,
        "failures": {},
        "ttft_ms": flat(100.0),
        "itl_ms": flat(100.0),
        "longest_gap_ms": flat(250.0),
        "e2e_ms": flat(1600.0),
        "tokens_per_s": 11.0,
        "output_tokens": 22,
        "prompt_tokens": 14,
        "send_lag_ms": flat(2.0),
    }


def test_failed_requests_count_but_their_times_do_not() -> None:
    result = figures([good(), bad("timeout", "late")], duration=1.0)
    assert (result["requests"], result["failed"], result["ttft_ms"]["max"]) == (2, 1, 100.0)


def test_an_answer_without_stream_or_of_one_token_has_no_inter_token_latency() -> None:
    plain = Outcome("chat", stream=False, finished=1.0, output_tokens=5)
    assert figures([plain, good(tokens=1)], 1.0)["itl_ms"]["mean"] is None


def test_failures_are_grouped_most_frequent_first_with_the_first_example() -> None:
    outcomes = [bad("status 503", "one"), bad("timeout", "a"), bad("timeout", "b", "code"), good()]
    assert failures(outcomes) == {
        "timeout": {"count": 2, "first": "chat: a"},
        "status 503": {"count": 1, "first": "chat: one"},
    }
    assert list(failures(outcomes)) == ["timeout", "status 503"]


SCALED_BY = {
    "events": {
        "SuccessfulRescale": {
            "count": 2,
            "at_least": False,
            "by": "horizontal-pod-autoscaler",
            "objects": {},
            "messages": {"New size: 3": 2},
        },
        "KEDAScaleTargetActivated": {
            "count": 1,
            "at_least": True,
            "by": "keda-operator",
            "objects": {},
            "messages": {"Scaled": 1},
        },
    },
    "decisions": [[1.25, "chat", "keda", "ScalerActive"]],
    "decided": {"keda ScalerActive": 1, "hpa": 3},
}


def run() -> Run:
    return Run(
        outcomes=[good(), good("code", tokens=21), bad("status 503", "no worker", "code")],
        duration=4.0,
        speed_up=10.0,
        models=["chat", "code"],
        aborted=1,
        not_sent=2,
        clipped=3,
        replicas={"chat": [[0.0, 0, 0], [2.5, 1, 0], [5.5, 1, 1], [9.0, 0, 0]], "code": []},
        scaled_by=SCALED_BY,
    )


def test_the_last_line_is_one_json_object_with_the_promised_keys() -> None:
    line = last_line(summarise(run()))
    assert "\n" not in line
    read = json.loads(line)
    assert read["requests"] == 3
    assert read["failed"] == 1
    assert read["failures"] == {"status 503": {"count": 1, "first": "code: no worker"}}
    assert read["tokens_per_s"] == 8.0
    assert (read["duration_s"], read["speed_up"], read["simulated"]) == (4.0, 10.0, True)
    assert read["replicas"]["chat"] == [[0.0, 0, 0], [2.5, 1, 0], [5.5, 1, 1], [9.0, 0, 0]]
    assert read["scaled_by"] == SCALED_BY
    assert {name: model["requests"] for name, model in read["models"].items()} == {"chat": 1, "code": 2}
    assert read["models"]["code"]["answered_as"] == {"code": 1}
    assert set(read["models"]["chat"]) - {"answered_as"} == set(figures([], 1.0))


def test_nothing_sent_is_a_summary_too() -> None:
    read = json.loads(last_line(summarise(Run([], 0.0, 1.0, ["chat"]))))
    assert (read["requests"], read["failed"], read["tokens_per_s"], read["ttft_ms"]["p50"]) == (0, 0, 0.0, None)
    assert read["simulated"] is False


def test_the_table_says_what_a_reader_needs() -> None:
    out = io.StringIO()
    Console(file=out, width=140).print(table(summarise(run()), ["a note"]))
    text = out.getvalue()
    for part in (
        "0 → 1 → 0",
        "failed: 1 x status 503; first: code: no worker",
        "event: 2 x SuccessfulRescale by horizontal-pod-autoscaler; such as: New size: 3",
        "event: at least 1 x KEDAScaleTargetActivated by keda-operator; such as: Scaled",
        "decided: 1 x keda ScalerActive, 3 x hpa",
        "3 requests in 4.0 s, 32 tokens, speed-up 10",
        "simulated: the engines are simulators",
        "1 requests given up by this client",
        "2 requests of the trace not sent",
        "3 requests with a shorter prompt or answer than the trace says",
        "a note",
    ):
        assert part in text
    assert "this client was late" not in text


def test_a_late_client_is_told() -> None:
    outcome = good()
    outcome.lag = 0.4
    out = io.StringIO()
    Console(file=out, width=140).print(table(summarise(Run([outcome], 1.0, 1.0, ["chat"]))))
    assert "this client was late: p99 of 400 ms behind the recorded times" in out.getvalue()


def test_a_timeline_in_one_cell() -> None:
    assert replicas_cell([[0.0, 0, 0], [1.0, 3, 2], [2.0, 1, 1]]) == "0 → 2 → 1"
    assert replicas_cell([]) == replicas_cell(None) == ""
