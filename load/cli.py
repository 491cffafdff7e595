"""Command line: ``python -m load`` and ``python -m load wake``.

On stdout a summary for people and, as the last line, one JSON object; progress goes to stderr.
Exit status: 0 all went well, 1 a request failed, 2 bad input or nothing there (nothing was sent),
130 interrupted by Ctrl-C.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import uvloop
from rich.console import Console

from load import generate, report, trace
from load.follow import ClusterError
from load.replay import DEFAULT_TIMEOUT, KEY_VARIABLE
from load.run import DEFAULT_MODELS, DEFAULT_TRACE_SECONDS, LoadError, Options, load
from load.wake import WakeOptions, wake

DEFAULT_URL: Final = "http://127.0.0.1:8080"  # default of gateway.host_port
DEFAULT_NAMESPACE: Final = "inference-dev"
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130
_PLAIN_WIDTH: Final = 130

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _positive(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"{value:g} is not a number above 0")
    return value


def _not_negative(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise typer.BadParameter(f"{value:g} is not a number of at least 0")
    return value


Url = Annotated[str, typer.Option(help=f"Base URL of the gateway; its API key, if it asks for one, in {KEY_VARIABLE}.")]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(help="Watch replicas and events through this kubeconfig; without it neither is reported."),
]
Namespace = Annotated[str, typer.Option(help="Namespace of the environment.")]
Json = Annotated[bool, typer.Option("--json", help="Print nothing but the JSON line.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same requests.")]
Timeout = Annotated[
    float,
    typer.Option(callback=_positive, help="Longest time of one request in seconds, a model's start included."),
]


@app.callback(invoke_without_command=True)
def replay(
    *,
    context: typer.Context,
    url: Url = DEFAULT_URL,
    trace_file: Annotated[
        Path | None,
        typer.Option("--trace", help=f"Trace, plain or .gz: {trace.FORMATS}. Without it one is generated."),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            callback=_positive,
            help=f"Seconds of trace time to replay. Default: {DEFAULT_TRACE_SECONDS:g} of a file, two bursts "
            "and the gap between them of a generated trace.",
        ),
    ] = None,
    start: Annotated[
        float, typer.Option("--from", callback=_not_negative, help="First second of the trace to replay.")
    ] = 0.0,
    speed_up: Annotated[
        float, typer.Option(callback=_positive, help="Divide the times between requests by this.")
    ] = 1.0,
    models: Annotated[
        str | None,
        typer.Option(
            help="Models to ask in turn, separated by commas. Default: those of the namespace, "
            f"without --kubeconfig {','.join(DEFAULT_MODELS)}."
        ),
    ] = None,
    kubeconfig: Kubeconfig = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    concurrency_limit: Annotated[
        int | None,
        typer.Option(min=1, help="Most requests in flight; further ones wait (send_lag_ms). Default: no limit."),
    ] = None,
    seed: Seed = 0,
    json_only: Json = False,
    max_prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Cut longer prompts to this; counted as clipped.")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(min=1, help="Cut longer answers to this; counted as clipped.")
    ] = None,
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="All requests stream (default), or none.")
    ] = None,
    stream_share: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="A mix: this share of the requests streams.")
    ] = None,
    rate: Annotated[
        float, typer.Option(callback=_positive, help="Generated: requests per second within a burst.")
    ] = generate.DEFAULT_RATE,
    cv: Annotated[
        float,
        typer.Option(callback=_positive, help="Generated: coefficient of variation of the times between requests."),
    ] = generate.DEFAULT_CV,
    burst: Annotated[
        float, typer.Option("--burst-seconds", callback=_positive, help="Generated: length of a burst.")
    ] = generate.DEFAULT_BURST_SECONDS,
    idle_gap: Annotated[
        float | None,
        typer.Option(
            callback=_not_negative,
            help="Generated: seconds (of real time) without requests after a burst. Default: KEDA's cooldown "
            "and 30 s, 60 s without --kubeconfig.",
        ),
    ] = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
    wait_for_zero: Annotated[
        float,
        typer.Option(callback=_not_negative, help="At the end wait this long for all models to be at zero."),
    ] = 0.0,
) -> None:
    """Replay a request trace against a URL at its recorded times, and watch the replicas.

    Without --trace it makes a bursty trace with idle gaps: gamma-distributed times between requests,
    lognormal lengths fitted to the Azure conversation trace (see load/generate.py).
    """
    if context.invoked_subcommand is not None:
        return

    def prepare() -> Options:
        if stream is not None and stream_share is not None:
            raise LoadError("--stream/--no-stream and --stream-share say the same thing: give one of them")
        if wait_for_zero and kubeconfig is None:
            raise LoadError("--wait-for-zero needs --kubeconfig: only the cluster knows the replicas")
        return Options(
            url=url,
            requests=trace.read_trace(trace_file) if trace_file is not None else None,
            duration=duration,
            start=start,
            speed_up=speed_up,
            models=_names(models) if models is not None else None,
            kubeconfig=kubeconfig,
            namespace=namespace,
            concurrency_limit=concurrency_limit,
            seed=seed,
            max_prompt_tokens=max_prompt_tokens,
            max_output_tokens=max_output_tokens,
            stream_share=stream_share if stream_share is not None else float(stream is not False),
            rate=rate,
            cv=cv,
            burst=burst,
            idle_gap=idle_gap,
            timeout=timeout,
            wait_for_zero=wait_for_zero,
        )

    def show(summary: dict[str, Any], notes: list[str], console: Console) -> None:
        console.print(report.table(summary, notes))

    _run(lambda console: load(prepare(), console), show, json_only=json_only)


@app.command("wake")
def wake_command(
    *,
    model: Annotated[str, typer.Option(help="Model deployment to wake.")],
    kubeconfig: Annotated[Path, typer.Option(help="Kubeconfig of the cluster; it tells when zero is reached.")],
    url: Url = DEFAULT_URL,
    namespace: Namespace = DEFAULT_NAMESPACE,
    times: Annotated[int, typer.Option(min=1, help="Rounds: zero, request, answer.")] = 1,
    burst: Annotated[int, typer.Option(min=1, help="Requests sent at once in each round.")] = 1,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Ask for streams.")] = True,
    output_tokens: Annotated[int, typer.Option(min=1, help="Tokens to generate.")] = 8,
    startup_seconds: Annotated[
        float | None,
        typer.Option(
            callback=_not_negative,
            help="The engine's own start-up. Default: the annotation of its Deployment's pods.",
        ),
    ] = None,
    zero_timeout: Annotated[
        float, typer.Option(callback=_positive, help="Longest wait for zero before a round, in seconds.")
    ] = DEFAULT_TIMEOUT,
    timeout: Timeout = DEFAULT_TIMEOUT,
    wait_zero: Annotated[bool, typer.Option("--wait-zero", help="End with the model at zero, too.")] = False,
    seed: Seed = 0,
    json_only: Json = False,
) -> None:
    """Wake a model from zero, again and again: one request without retries, none may be lost.

    Each round waits until no replica is wanted and no pod is left; KEDA's cooldown decides when that is.
    """
    options = WakeOptions(
        url=url,
        model=model,
        kubeconfig=kubeconfig,
        namespace=namespace,
        times=times,
        burst=burst,
        stream=stream,
        output_tokens=output_tokens,
        startup_seconds=startup_seconds,
        zero_timeout=zero_timeout,
        timeout=timeout,
        wait_zero=wait_zero,
        seed=seed,
    )

    def show(_: dict[str, Any], lines: list[str], console: Console) -> None:
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

    _run(lambda console: wake(options, console), show, json_only=json_only)


def _names(models: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in models.split(",") if name.strip()))
    if not names:
        raise LoadError(f"--models is {models!r}; expected names separated by commas, such as chat,code")
    return names


def _run(
    start: Callable[[Console], Coroutine[Any, Any, tuple[dict[str, Any], list[str], int]]],
    show: Callable[[dict[str, Any], list[str], Console], None],
    *,
    json_only: bool,
) -> None:
    """Run to the end, print the summary and the JSON line, exit with the right status."""
    output = Console()
    if not output.is_terminal:
        output = Console(width=_PLAIN_WIDTH)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            summary, lines, status = runner.run(start(Console(stderr=True, quiet=json_only)))
    except (LoadError, ClusterError, trace.TraceError) as error:
        typer.echo(f"error: {error} (nothing was sent)", err=True)
        raise typer.Exit(BAD_INPUT) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if not json_only:
        show(summary, lines, output)
    typer.echo(report.last_line(summary))
    raise typer.Exit(status)
