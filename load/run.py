"""One load run: the cluster watch, the replay and the view side by side, then the summary."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from lightkube import AsyncClient
from rich.console import Console

from load import generate, report, trace, view
from load.follow import ClusterError, connect
from load.replay import DEFAULT_TIMEOUT, Prompts, Replay, new_session
from load.replicas import ReplicaWatch, timeline
from load.scaling import ScalerWatch, ScalingEvent, scaled_by, scaling_events

DEFAULT_MODELS: Final = ("chat", "code")  # the two model deployments of Pulumi.dev.yaml
DEFAULT_TRACE_SECONDS: Final = 600.0
# What follows a cooldown until nothing is left: KEDA's poll (10 s) and a drained pod's end.
GAP_BEYOND_COOLDOWN_SECONDS: Final = 30.0
GAP_WITHOUT_CLUSTER_SECONDS: Final = 60.0
# KEDA and the HPA write events and conditions just after the deed.
RECORD_SECONDS: Final = 0.5
_REACH_SECONDS: Final = 5.0
_EVENTS_SECONDS: Final = 10.0


class LoadError(Exception):
    """Nothing was sent; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to send, where to, and what to watch; see ``python -m load --help`` for each.

    Attributes:
        requests: of a trace file, ``None`` to generate some.
        duration: seconds of trace time; ``None`` is 600 for a file, two bursts for a generated trace.
        idle_gap: seconds of real time after a generated burst; ``None`` outlasts the cooldown.
    """

    url: str
    requests: list[trace.TimedRequest] | None = None
    duration: float | None = None
    start: float = 0.0
    speed_up: float = 1.0
    models: tuple[str, ...] | None = None
    kubeconfig: Path | None = None
    namespace: str = "inference-dev"
    concurrency_limit: int | None = None
    seed: int = 0
    max_prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    stream_share: float = 1.0
    rate: float = generate.DEFAULT_RATE
    cv: float = generate.DEFAULT_CV
    burst: float = generate.DEFAULT_BURST_SECONDS
    idle_gap: float | None = None
    timeout: float = DEFAULT_TIMEOUT
    wait_for_zero: float = 0.0


@dataclass(slots=True)
class Cluster:
    """A watched namespace; ``before`` are the scaling events that it held at the start."""

    client: AsyncClient
    namespace: str
    watch: ReplicaWatch
    scalers: ScalerWatch
    before: list[ScalingEvent] = field(default_factory=list)

    async def scaled_by(self, start: float) -> dict[str, Any]:
        """Who scaled since ``start`` (clock); ``error`` says why the events could not be read."""
        await asyncio.sleep(RECORD_SECONDS)
        try:
            async with asyncio.timeout(_EVENTS_SECONDS):
                after = await scaling_events(self.client, self.namespace)
        except (ClusterError, TimeoutError) as error:
            return {**scaled_by([], [], self.scalers.decisions, start), "error": str(error) or "timed out"}
        return scaled_by(self.before, after, self.scalers.decisions, start)


@asynccontextmanager
async def observe(kubeconfig: Path, namespace: str) -> AsyncIterator[Cluster]:
    """Watch a namespace for as long as the context lasts.

    Raises:
        ClusterError: the kubeconfig is not usable or the API does not answer.
    """
    async with connect(kubeconfig) as client:
        watch = ReplicaWatch(client, namespace)
        scalers = ScalerWatch(client, namespace, watch.model_of_deployment)
        await watch.first_look()
        await scalers.first_look()
        before = await scaling_events(client, namespace)
        async with background(watch.run()), background(scalers.run()):
            yield Cluster(client, namespace, watch, scalers, before)


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run something beside the body; it ends with the body."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Interruptible:
    """Ctrl-C ends the phase that runs and skips the ones that follow; a second Ctrl-C ends at once.

    Attributes:
        caught: number of the signal that came, ``None`` while none did.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.caught: int | None = None
        self._task: asyncio.Future[None] | None = None

    def __enter__(self) -> Interruptible:
        for number in self.SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt, number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self.SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    async def phase(self, work: Coroutine[Any, Any, None]) -> None:
        """Run one phase, unless a signal came before it; return when it is done or interrupted."""
        if self.caught is not None:
            work.close()
            return
        self._task = asyncio.ensure_future(work)
        try:
            await self._task
        except asyncio.CancelledError:
            if self.caught is None:
                raise

    def _interrupt(self, number: int) -> None:
        self.caught = number
        asyncio.get_running_loop().remove_signal_handler(number)
        if self._task is not None:
            self._task.cancel()


def base_url(url: str) -> str:
    """A URL without its trailing ``/`` or ``/v1``.

    Raises:
        LoadError: no http or https URL with a host and a usable port.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise LoadError(f"--url is {url!r}; expected a URL such as http://127.0.0.1:8080")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


async def check_reachable(url: str) -> None:
    """Open a connection and close it again; no request is sent, so nothing wakes.

    Raises:
        LoadError: nothing listens there.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_REACH_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except OSError as error:
        reason = str(error) or f"no connection within {_REACH_SECONDS:g} s"
        raise LoadError(f"{url} cannot be reached ({reason}): run `make up`, or check --url") from None
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def chosen_models(wanted: Sequence[str] | None, cluster: Cluster | None) -> list[str]:
    """The models to ask: the wanted ones, else all of the cluster, else the dev environment's.

    Raises:
        LoadError: a wanted model has no engine Deployment in the watched namespace, or there is none at all.
    """
    if cluster is None:
        return list(wanted or DEFAULT_MODELS)
    found = cluster.watch.models
    absent = [model for model in wanted or () if model not in found]
    if absent or not found:
        raise LoadError(
            f"namespace {cluster.namespace} has no engine Deployment of {', '.join(absent) or 'any model'} "
            f"(found: {', '.join(found) or 'none'}): run `make up`, or check --models and --namespace"
        )
    return list(wanted or found)


def build_schedule(
    options: Options, models: Sequence[str], cluster: Cluster | None
) -> tuple[list[trace.TimedRequest], int]:
    """The requests to send, and how many of them were clipped.

    Raises:
        trace.TraceError: the window holds no request, or the trace names an unknown model.
    """
    if options.requests is not None:
        requests, duration = options.requests, options.duration or DEFAULT_TRACE_SECONDS
    else:
        gap = options.idle_gap
        if gap is None:
            known = cluster.scalers.cooldowns if cluster else {}
            slowest = max((known[model] for model in models if model in known), default=None)
            gap = GAP_WITHOUT_CLUSTER_SECONDS if slowest is None else slowest + GAP_BEYOND_COOLDOWN_SECONDS
        gap *= options.speed_up
        duration = options.duration or 2 * options.burst + gap
        pattern = generate.Pattern(options.start + duration, options.burst, gap, options.rate, options.cv)
        requests = generate.generate(pattern, options.seed)
    chosen = trace.window(requests, start=options.start, duration=duration, speed_up=options.speed_up)
    shortened, clipped = trace.clip(chosen, options.max_prompt_tokens, options.max_output_tokens)
    spread = trace.spread(shortened, models, seed=options.seed, stream_share=options.stream_share)
    return spread, clipped


async def load(options: Options, console: Console) -> tuple[dict[str, Any], list[str], int]:
    """Replay, watch and sum up.

    Returns:
        The summary, notes for people, and the exit status: 0, 1 when a request failed, 128 + signal.

    Raises:
        LoadError, ClusterError, trace.TraceError: nothing was sent.
    """
    url = base_url(options.url)
    await check_reachable(url)
    async with AsyncExitStack() as stack:
        cluster: Cluster | None = None
        if options.kubeconfig is not None:
            cluster = await stack.enter_async_context(observe(options.kubeconfig, options.namespace))
        models = chosen_models(options.models, cluster)
        schedule, clipped = build_schedule(options, models, cluster)
        console.print(_announcement(schedule, url), markup=False, highlight=False, soft_wrap=True)
        replay = Replay(url, schedule, prompts=Prompts(options.seed), concurrency_limit=options.concurrency_limit)
        changes = cluster.watch.changes if cluster else None
        notes: list[str] = []
        with Interruptible() as interruptible:
            async with background(view.show(console, replay.progress, changes, lambda: replay.started)):
                await interruptible.phase(_replay(replay, options.timeout))
                ended = time.monotonic()
                if options.wait_for_zero and cluster is not None:
                    await interruptible.phase(_to_zero(cluster, models, options.wait_for_zero, notes))
        run = report.Run(
            outcomes=replay.outcomes,
            duration=ended - replay.started if replay.started else 0.0,
            speed_up=options.speed_up,
            models=models,
            aborted=sum(counts.aborted for counts in replay.progress.values()),
            not_sent=replay.not_sent,
            clipped=clipped,
        )
        if cluster is not None:
            run.replicas = timeline(cluster.watch.changes, models, replay.started)
            run.scaled_by = await cluster.scaled_by(replay.started)
            if cluster.watch.trouble:
                notes.append(f"the Kubernetes API was lost at the end: {cluster.watch.trouble}")
    summary = report.summarise(run)
    if interruptible.caught is not None:
        notes.append("interrupted: this is what was done until then")
        return summary, notes, 128 + interruptible.caught
    return summary, notes, 1 if summary["failed"] else 0


async def _replay(replay: Replay, timeout_seconds: float) -> None:
    async with new_session(timeout_seconds) as session:
        await replay.run(session)


async def _to_zero(cluster: Cluster, models: Sequence[str], seconds: float, notes: list[str]) -> None:
    began = time.monotonic()
    try:
        # Else the watched state may still be the one from before the last requests.
        async with asyncio.timeout(seconds):
            await cluster.watch.catch_up()
    except (ClusterError, TimeoutError) as error:
        notes.append(f"replicas may be older than the last answer: {error or 'the watch is behind'}")
    if await cluster.watch.until(lambda: all(cluster.watch.at_zero(model) for model in models), seconds):
        notes.append(f"all models at zero {time.monotonic() - began:.1f} s after the last answer")
    else:
        late = [model for model in models if not cluster.watch.at_zero(model)]
        notes.append(f"not at zero {seconds:g} s after the last answer: {', '.join(late)}")


def _announcement(schedule: Sequence[trace.TimedRequest], url: str) -> str:
    tokens = sum(request.output_tokens for request in schedule)
    models = sorted({request.model for request in schedule})
    return (
        f"{len(schedule)} requests, {tokens:,} tokens to generate, over {math.ceil(schedule[-1].at)} s, "
        f"for {', '.join(models)} at {url}"
    )
