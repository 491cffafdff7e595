"""Requests over time: read a trace file, take a window, speed it up, spread it over models.

Two formats, told apart by the header line, plain or gzip (``.gz``):

* Azure: ``TIMESTAMP,ContextTokens,GeneratedTokens``, timestamps such as
  ``2023-11-16 18:15:46.6805900`` (AzurePublicDataset, "Azure LLM inference trace" 2023 and 2024);
* own: ``seconds,model,prompt_tokens,output_tokens``, seconds counted from the start of the trace.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import random
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

AZURE_HEADER = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
OWN_HEADER = ("seconds", "model", "prompt_tokens", "output_tokens")
FORMATS = f"`{','.join(AZURE_HEADER)}` (Azure) or `{','.join(OWN_HEADER)}`"

_GZIP_MAGIC = b"\x1f\x8b"
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_TIMESTAMP_EXAMPLE = "a time such as 2023-11-16 18:15:46.6805900"


class TraceError(ValueError):
    """A trace cannot be used; the message names the file, the line and what is expected."""


@dataclass(frozen=True, slots=True)
class TimedRequest:
    """One request of a trace.

    Attributes:
        at: seconds after the start of the replay.
        model: name of the model deployment, empty while none is chosen.
        prompt_tokens: length of the prompt, at least 1.
        output_tokens: tokens to generate, at least 1.
        stream: ask for a stream of tokens, not for the whole answer at once.
    """

    at: float
    model: str
    prompt_tokens: int
    output_tokens: int
    stream: bool = True


def read_trace(path: Path) -> list[TimedRequest]:
    """All requests of a trace file, in its order, ``at`` counted from its first row.

    The whole file is checked, also what lies outside the window that is replayed later.

    Raises:
        TraceError: missing, not readable, not gzip, empty, without a known header, a bad or missing
            value, timestamps that go backwards.
    """
    if not path.is_file():
        raise TraceError(f"{path}: no such file; expected a trace with the columns {FORMATS}")
    return parse_rows(_text_of(path), str(path))


def parse_rows(text: str, name: str) -> list[TimedRequest]:
    """The requests in the text of a trace.

    Args:
        text: CSV with a header line.
        name: what messages call the trace.

    Raises:
        TraceError: see :func:`read_trace`.
    """
    rows = csv.reader(io.StringIO(text))
    header = tuple(cell.strip().removeprefix("\ufeff") for cell in next(_checked(rows, name), []))
    if not any(header):
        raise TraceError(f"{name}: is empty; expected a first line {FORMATS}")
    for columns, parse in ((AZURE_HEADER, _azure_row), (OWN_HEADER, _own_row)):
        if set(columns) <= set(header):
            places = [header.index(column) for column in columns]
            return _requests(rows, name, places, parse)
    raise TraceError(f"{name}:1: {_missing(header)}; expected {FORMATS}")


def window(
    requests: Sequence[TimedRequest], *, start: float = 0.0, duration: float = math.inf, speed_up: float = 1.0
) -> list[TimedRequest]:
    """The part of a trace to replay, on the clock of the replay.

    Args:
        requests: in ascending order of ``at``.
        start: first second of the window, in trace time.
        duration: length of the window in seconds of trace time.
        speed_up: what the times between requests are divided by.

    Raises:
        TraceError: no request lies within the window.
    """
    chosen = [
        replace(request, at=(request.at - start) / speed_up)
        for request in requests
        if start <= request.at < start + duration
    ]
    if not chosen:
        last = requests[-1].at if requests else 0.0
        raise TraceError(
            f"no request lies within the {duration:g} s from second {start:g} of the trace, which covers "
            f"{last:.1f} s: change --from or --duration"
        )
    return chosen


def clip(
    requests: Sequence[TimedRequest], max_prompt_tokens: int | None, max_output_tokens: int | None
) -> tuple[list[TimedRequest], int]:
    """The requests with longer prompts and answers cut (``None`` cuts nothing), and how many were."""
    clipped = [
        replace(
            request,
            prompt_tokens=min(request.prompt_tokens, max_prompt_tokens or request.prompt_tokens),
            output_tokens=min(request.output_tokens, max_output_tokens or request.output_tokens),
        )
        for request in requests
    ]
    return clipped, sum(one != other for one, other in zip(requests, clipped, strict=True))


def spread(
    requests: Sequence[TimedRequest], models: Sequence[str], *, seed: int, stream_share: float = 1.0
) -> list[TimedRequest]:
    """Give each request a model (in turn, beginning at ``seed``) and a way of answering.

    Requests that name a model keep it. ``stream_share`` of the requests, drawn with ``seed``, stream.

    Raises:
        TraceError: a request names a model that is not among ``models``.
    """
    unknown = {request.model for request in requests if request.model} - set(models)
    if unknown:
        raise TraceError(
            f"the trace asks for the models {_listed(unknown)}; available are {_listed(models)}: "
            "change the trace's column `model` or --models"
        )
    draw = random.Random(seed)  # noqa: S311 - a repeatable draw, not a secret
    return [
        replace(
            request,
            model=request.model or models[(seed + index) % len(models)],
            stream=draw.random() < stream_share,
        )
        for index, request in enumerate(requests)
    ]


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        elif content.startswith(_GZIP_MAGIC):
            raise TraceError(f"{path}: is gzip-compressed; give it a name that ends in .gz")
        return content.decode("utf-8")
    except gzip.BadGzipFile as error:
        raise TraceError(f"{path}: is not gzip, though its name ends in .gz ({error})") from None
    except (EOFError, zlib.error) as error:
        raise TraceError(f"{path}: the gzip data is damaged or cut off ({error}); fetch it again") from None
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: byte {error.start} is not UTF-8 text; expected CSV") from None
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror})") from None


def _checked(rows: Iterator[list[str]], name: str) -> Iterator[list[str]]:
    try:
        yield from rows
    except csv.Error as error:
        raise TraceError(f"{name}: is not CSV ({error}); expected {FORMATS}") from None


def _missing(header: Sequence[str]) -> str:
    """What keeps a header from being one of the two; the closer format is meant."""
    closer = max((AZURE_HEADER, OWN_HEADER), key=lambda columns: len(set(columns) & set(header)))
    absent = [column for column in closer if column not in header]
    if len(absent) == len(closer):
        return "the first line is not a known header"
    return f"the column {_listed(absent)} is missing"


def _requests(
    rows: Iterator[list[str]], name: str, places: Sequence[int], parse: Callable[[list[str]], TimedRequest]
) -> list[TimedRequest]:
    requests: list[TimedRequest] = []
    first = previous = -math.inf
    for line, row in enumerate(_checked(rows, name), start=2):
        if not row:
            continue
        if len(row) <= max(places):
            raise TraceError(f"{name}:{line}: has {len(row)} values; expected at least {max(places) + 1}")
        try:
            request = parse([row[place].strip() for place in places])
        except ValueError as error:
            raise TraceError(f"{name}:{line}: {error}") from None
        if request.at < previous:
            raise TraceError(
                f"{name}:{line}: the time goes back by {previous - request.at:g} s against the line before; "
                "expected ascending times (sort the file)"
            )
        previous = request.at
        first = request.at if not requests else first
        requests.append(replace(request, at=request.at - first))
    if not requests:
        raise TraceError(f"{name}: has a header but no requests; expected one request per line")
    return requests


def _azure_row(cells: list[str]) -> TimedRequest:
    return TimedRequest(
        at=_timestamp(cells[0]),
        model="",
        prompt_tokens=_count("ContextTokens", cells[1]),
        output_tokens=_count("GeneratedTokens", cells[2]),
    )


def _own_row(cells: list[str]) -> TimedRequest:
    return TimedRequest(
        at=_seconds(cells[0]),
        model=cells[1],
        prompt_tokens=_count("prompt_tokens", cells[2]),
        output_tokens=_count("output_tokens", cells[3]),
    )


def _timestamp(text: str) -> float:
    match = _TIMESTAMP.fullmatch(text)
    try:
        # Seven digits of a second are more than a datetime holds, so the fraction is read apart.
        whole = datetime.fromisoformat(match[1] + (match[3] or "")) if match else None
    except ValueError:
        whole = None
    if match is None or whole is None:
        raise ValueError(f"TIMESTAMP is {text!r}; expected {_TIMESTAMP_EXAMPLE}")
    if whole.tzinfo is None:
        whole = whole.replace(tzinfo=UTC)
    return whole.timestamp() + float(match[2] or 0)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"seconds is {text!r}; expected a number of at least 0")
    return value


def _count(column: str, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ValueError(f"{column} is {text!r}; expected a whole number of at least 1")
    return value


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))
