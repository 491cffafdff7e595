"""Trace files and what is made of them.

Shows: both formats, every kind of broken file with its message, window, clipping, spreading. Does not show
that the requests are sent at these times: the replay's tests do.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.trace import FORMATS, TimedRequest, TraceError, clip, parse_rows, read_trace, spread, window

pytestmark = pytest.mark.unit

AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 23:59:59.6805900,374,44\r\n"
    "2023-11-16 23:59:59.6805901,396,109\r\n"
    "2023-11-17 00:00:01.1805900,879,55"
)
OWN = "seconds,model,prompt_tokens,output_tokens\n5,chat,10,20\n5.5,code,1,2\n"


def test_the_azure_format_to_the_last_digit_and_across_midnight() -> None:
    requests = parse_rows(AZURE, "t.csv")
    assert [(r.prompt_tokens, r.output_tokens, r.model) for r in requests] == [
        (374, 44, ""),
        (396, 109, ""),
        (879, 55, ""),
    ]
    # 1e-7 s is below the resolution of a float of seconds since 1970 (2.4e-7): order holds, exact gaps do not.
    assert [r.at for r in requests] == pytest.approx([0.0, 1e-7, 1.5], abs=5e-7)


def test_the_format_of_2024_with_a_time_zone_and_any_order_of_columns() -> None:
    text = "GeneratedTokens,TIMESTAMP,ContextTokens\n5,2024-05-10 00:00:00.009930+00:00,7\n6,2024-05-10T00:00:01Z,8\n"
    requests = parse_rows(text, "t.csv")
    assert [(r.prompt_tokens, r.output_tokens) for r in requests] == [(7, 5), (8, 6)]
    assert requests[1].at == pytest.approx(0.99007, abs=1e-6)


def test_the_own_format_counts_from_its_first_row_and_skips_empty_lines() -> None:
    assert parse_rows(OWN + "\n\n", "t.csv") == [
        TimedRequest(0.0, "chat", 10, 20),
        TimedRequest(0.5, "code", 1, 2),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"t.csv: is empty; expected a first line {FORMATS}"),
        ("a,b\n1,2\n", f"t.csv:1: the first line is not a known header; expected {FORMATS}"),
        (
            "TIMESTAMP,ContextTokens\n",
            f"t.csv:1: the column `GeneratedTokens` is missing; expected {FORMATS}",
        ),
        (
            "seconds,prompt_tokens\n",
            f"t.csv:1: the column `model`, `output_tokens` is missing; expected {FORMATS}",
        ),
        (
            "TIMESTAMP,ContextTokens,GeneratedTokens\n",
            "t.csv: has a header but no requests; expected one request per line",
        ),
        (
            AZURE + "\n2023-11-17 00:00:02.0,12,many\n",
            "t.csv:5: GeneratedTokens is 'many'; expected a whole number of at least 1",
        ),
        (
            AZURE + "\n2023-11-17 00:00:02.0,0,5\n",
            "t.csv:5: ContextTokens is '0'; expected a whole number of at least 1",
        ),
        (AZURE + "\n2023-11-17 00:00:02.0,12\n", "t.csv:5: has 2 values; expected at least 3"),
        (
            AZURE + "\n2023-11-17 25:00:00.0,12,5\n",
            "t.csv:5: TIMESTAMP is '2023-11-17 25:00:00.0'; expected a time such as 2023-11-16 18:15:46.6805900",
        ),
        (
            AZURE + "\nyesterday,12,5\n",
            "t.csv:5: TIMESTAMP is 'yesterday'; expected a time such as 2023-11-16 18:15:46.6805900",
        ),
        (
            OWN + "5.25,chat,1,1\n",
            "t.csv:4: the time goes back by 0.25 s against the line before; expected ascending times (sort the file)",
        ),
        (OWN + "nan,chat,1,1\n", "t.csv:4: seconds is 'nan'; expected a number of at least 0"),
        (OWN + "-1,chat,1,1\n", "t.csv:4: seconds is '-1'; expected a number of at least 0"),
        (OWN + "6,chat,1.5,1\n", "t.csv:4: prompt_tokens is '1.5'; expected a whole number of at least 1"),
    ],
)
def test_a_broken_trace_gives_one_message_with_file_and_line(text: str, message: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_rows(text, "t.csv")
    assert str(caught.value) == message


def test_plain_and_gzip_files_read_alike(tmp_path: Path) -> None:
    plain, packed = tmp_path / "t.csv", tmp_path / "t.csv.gz"
    plain.write_bytes(b"\xef\xbb\xbf" + OWN.encode())  # with a byte order mark, as spreadsheets write it
    packed.write_bytes(gzip.compress(OWN.encode(), mtime=0))
    assert read_trace(plain) == read_trace(packed) == parse_rows(OWN, "")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv.gz", OWN.encode(), "is not gzip, though its name ends in .gz"),
        ("t.csv.gz", gzip.compress(AZURE.encode(), mtime=0)[:-20], "the gzip data is damaged or cut off"),
        ("t.csv.gz", gzip.compress(AZURE.encode(), mtime=0)[:15] + b"\xff" * 40, "the gzip data is damaged or cut off"),
        ("t.csv", gzip.compress(OWN.encode(), mtime=0), "is gzip-compressed; give it a name that ends in .gz"),
        ("t.csv", OWN.encode() + b"\xff", f"byte {len(OWN)} is not UTF-8 text; expected CSV"),
        ("t.csv", b"seconds,model\x00\r,\n", "expected"),
    ],
)
def test_a_file_that_is_no_text_gives_one_message(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}")
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"gone\.csv: no such file; expected a trace with the columns"):
        read_trace(tmp_path / "gone.csv")


REQUESTS = [TimedRequest(at, "", 100, 50) for at in (0.0, 1.0, 2.0, 3.0)]


def test_the_window_is_half_open_and_its_times_are_divided_by_the_speed_up() -> None:
    assert [r.at for r in window(REQUESTS, start=1.0, duration=2.0, speed_up=4.0)] == [0.0, 0.25]


def test_an_empty_window_says_what_the_trace_covers() -> None:
    with pytest.raises(TraceError) as caught:
        window(REQUESTS, start=10.0, duration=5.0)
    assert str(caught.value) == (
        "no request lies within the 5 s from second 10 of the trace, which covers 3.0 s: change --from or --duration"
    )


@given(
    times=st.lists(st.floats(0, 1e4), min_size=1).map(sorted),
    speed_up=st.floats(0.01, 1000),
)
def test_a_window_over_everything_keeps_all_requests_in_order(times: list[float], speed_up: float) -> None:
    requests = [TimedRequest(at, "", 1, 1) for at in times]
    chosen = window(requests, duration=math.inf, speed_up=speed_up)
    assert [r.at for r in chosen] == [at / speed_up for at in times]


def test_clipping_counts_what_it_changed() -> None:
    requests = [TimedRequest(0, "", 100, 50), TimedRequest(1, "", 10, 50), TimedRequest(2, "", 10, 5)]
    clipped, count = clip(requests, 20, 40)
    assert [(r.prompt_tokens, r.output_tokens) for r in clipped] == [(20, 40), (10, 40), (10, 5)]
    assert count == 2
    assert clip(requests, None, None) == (requests, 0)


def test_requests_take_turns_over_the_models_from_the_seed_on() -> None:
    assert [r.model for r in spread(REQUESTS, ["chat", "code"], seed=0)] == ["chat", "code", "chat", "code"]
    assert [r.model for r in spread(REQUESTS, ["chat", "code"], seed=1)] == ["code", "chat", "code", "chat"]


def test_a_model_in_the_trace_is_kept_and_must_exist() -> None:
    named = [TimedRequest(0, "code", 1, 1), TimedRequest(1, "", 1, 1)]
    assert [r.model for r in spread(named, ["chat", "code"], seed=0)] == ["code", "code"]
    with pytest.raises(TraceError) as caught:
        spread(named, ["chat"], seed=0)
    assert str(caught.value) == (
        "the trace asks for the models `code`; available are `chat`: change the trace's column `model` or --models"
    )


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (1.0, 1000, 1000), (0.5, 430, 570)])
def test_the_share_of_streams_is_drawn_by_the_seed(share: float, least: int, most: int) -> None:
    requests = [TimedRequest(0, "chat", 1, 1)] * 1000
    first = spread(requests, ["chat"], seed=7, stream_share=share)
    assert first == spread(requests, ["chat"], seed=7, stream_share=share)
    assert least <= sum(r.stream for r in first) <= most


def test_the_real_azure_trace() -> None:
    path = Path(__file__).parents[4] / "shared" / "data" / "traces" / "azure_llm_2023_conv.csv.gz"
    if not path.is_file():
        pytest.skip(f"the Azure trace is not at {path}")
    requests = read_trace(path)
    first = window(requests, duration=600)
    assert (len(requests), max(r.prompt_tokens for r in requests), max(r.output_tokens for r in requests)) == (
        19_366,
        14_050,
        1_000,
    )
    assert (len(first), sum(r.output_tokens for r in first)) == (2_867, 746_194)
