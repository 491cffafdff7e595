"""The wake test: a model at zero, one request (or a burst) without retries, again and again.

What counts is that no request is lost, and how long the first token takes beyond the engine's own start-up.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from load.replay import DEFAULT_TIMEOUT, Outcome, Prompts, ask, new_session
from load.replicas import STARTUP_ANNOTATION, ReplicaWatch, timeline
from load.report import failure_lines, failures, scaling_lines
from load.run import (
    Interruptible,
    LoadError,
    base_url,
    check_reachable,
    chosen_models,
    observe,
)
from load.stats import MILLISECONDS, spread_ms
from load.trace import TimedRequest

_WATCH_LATENESS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class WakeOptions:
    """What to wake and how often; see ``python -m load wake --help``.

    Attributes:
        startup_seconds: the engine's own start-up; ``None`` takes it from the Deployment's annotation.
        zero_timeout: longest wait for zero before a round, in seconds.
        wait_zero: end with the model at zero.
    """

    url: str
    model: str
    kubeconfig: Path
    namespace: str = "inference-dev"
    times: int = 1
    burst: int = 1
    stream: bool = True
    prompt_tokens: int = 32
    output_tokens: int = 8
    startup_seconds: float | None = None
    zero_timeout: float = DEFAULT_TIMEOUT
    timeout: float = DEFAULT_TIMEOUT
    wait_zero: bool = False
    seed: int = 0


@dataclass(slots=True)
class Round:
    """One wake. Times in seconds after the request was sent; ``None`` where it was not seen.

    Attributes:
        to_zero: seconds that the model took to reach zero before this round.
        wanted: until ``spec.replicas`` was above zero.
        pod: until a pod existed.
        ready: until a pod was ready.
    """

    to_zero: float
    outcomes: list[Outcome] = field(default_factory=list)
    wanted: float | None = None
    pod: float | None = None
    ready: float | None = None

    def note_phases(self, watch: ReplicaWatch, model: str, sent: float) -> bool:
        """Take over what the watch saw since ``sent`` (clock); has it seen everything?"""
        wanted = next((c.at for c in watch.changes if c.model == model and c.at >= sent and c.desired), None)
        pods = [change for change in watch.pod_changes if change.model == model and change.at >= sent]
        pod = next((change.at for change in pods if change.existing), None)
        ready = next((change.at for change in pods if change.ready), None)
        self.wanted, self.pod, self.ready = (None if at is None else at - sent for at in (wanted, pod, ready))
        return None not in {wanted, pod, ready}

    def answered_after(self) -> list[float]:
        """Seconds until the first token (streams) or the whole answer, of the requests that were answered."""
        return [
            outcome.finished if outcome.first_token is None else outcome.first_token
            for outcome in self.outcomes
            if outcome.failure is None
        ]


async def wake(options: WakeOptions, console: Console) -> tuple[dict[str, Any], list[str], int]:
    """Wake the model ``times`` times.

    Returns:
        The summary, lines for people, and the exit status: 0, 1 when a request was lost or the model did not
        reach zero in time, 128 + signal.

    Raises:
        LoadError, ClusterError: nothing was sent.
    """
    url = base_url(options.url)
    await check_reachable(url)
    async with observe(options.kubeconfig, options.namespace) as cluster:
        chosen_models([options.model], cluster)
        startup = _startup_seconds(options, cluster.watch)
        test = WakeTest(options, url, cluster.watch, startup, console)
        began = time.monotonic()
        with Interruptible() as interruptible:
            await interruptible.phase(test.run())
        summary = summarise(options, test.rounds, startup, time.monotonic() - began)
        summary["replicas"] = timeline(cluster.watch.changes, [options.model], began)
        summary["scaled_by"] = await cluster.scaled_by(began)
    lines = wake_lines(summary)
    if interruptible.caught is not None:
        return summary, [*lines, "interrupted: this is what was done until then"], 128 + interruptible.caught
    return summary, lines, 1 if summary["lost"] or len(test.rounds) < options.times else 0


def summarise(options: WakeOptions, rounds: list[Round], startup: float, duration: float) -> dict[str, Any]:
    """The object of the last line, but for what the cluster says. Pure."""
    rounds = [one for one in rounds if one.outcomes]  # an interrupted one may have none
    outcomes = [outcome for one in rounds for outcome in one.outcomes]
    after = [seconds for one in rounds for seconds in one.answered_after()]
    first_after_ready = [
        min(answered) - one.ready for one in rounds if one.ready is not None and (answered := one.answered_after())
    ]
    return {
        "model": options.model,
        "rounds": len(rounds),
        "rounds_wanted": options.times,
        "burst": options.burst,
        "stream": options.stream,
        "requests": len(outcomes),
        "lost": sum(outcome.failure is not None for outcome in outcomes),
        "failures": failures(outcomes),
        "startup_seconds": startup,
        "answered_after_ms": spread_ms(after),
        "on_top_of_startup_ms": spread_ms(seconds - startup for seconds in after),
        "phases_ms": {
            "replica_wanted": spread_ms(one.wanted for one in rounds if one.wanted is not None),
            "pod_exists": spread_ms(one.pod for one in rounds if one.pod is not None),
            "pod_ready": spread_ms(one.ready for one in rounds if one.ready is not None),
            "first_answer_after_pod_ready": spread_ms(first_after_ready),
        },
        "to_zero_ms": spread_ms(one.to_zero for one in rounds),
        "duration_s": round(duration, 3),
        "simulated": any(outcome.simulated for outcome in outcomes),
    }


def wake_lines(summary: dict[str, Any]) -> list[str]:
    """The summary for people. Pure."""
    top, phases = summary["on_top_of_startup_ms"], summary["phases_ms"]
    answer = "first token" if summary["stream"] else "whole answer"
    lines = [
        f"{summary['rounds']} wakes of {summary['model']} with {summary['burst']} request(s) each: "
        f"{summary['requests']} requests, {summary['lost']} lost",
        f"{answer} on top of the start-up of {summary['startup_seconds']:g} s: "
        f"p50 {_ms(top['p50'])}, p95 {_ms(top['p95'])}, max {_ms(top['max'])}",
        f"p50 after the request was sent: replica wanted {_ms(phases['replica_wanted']['p50'])}, "
        f"pod exists {_ms(phases['pod_exists']['p50'])}, pod ready {_ms(phases['pod_ready']['p50'])}; "
        f"then {_ms(phases['first_answer_after_pod_ready']['p50'])} to the first answer",
        *failure_lines(summary["failures"]),
        *scaling_lines(summary["scaled_by"]),
    ]
    if summary["rounds"] < summary["rounds_wanted"]:
        lines.append(f"{summary['rounds_wanted'] - summary['rounds']} wakes were not done")
    if summary["simulated"]:
        lines.append("simulated: the engine is a simulator; its start-up is a set delay")
    return lines


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _startup_seconds(options: WakeOptions, watch: ReplicaWatch) -> float:
    if options.startup_seconds is not None:
        return options.startup_seconds
    text = watch.startup_seconds.get(options.model)
    try:
        seconds = math.nan if text is None else float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise LoadError(
            f"the start-up time of {options.model} is not known: its engine Deployment has "
            f"{STARTUP_ANNOTATION}={text!r}; give --startup-seconds"
        )
    return seconds


@dataclass(slots=True)
class WakeTest:
    """The rounds of one test; what they measured is in ``rounds``."""

    options: WakeOptions
    url: str
    watch: ReplicaWatch
    startup: float
    console: Console
    rounds: list[Round] = field(default_factory=list)

    async def run(self) -> None:
        """All rounds; ends early when the model does not reach zero in time."""
        prompts = Prompts(self.options.seed)
        texts = [prompts.text(number, self.options.prompt_tokens) for number in range(self.options.burst)]
        async with new_session(self.options.timeout) as session:
            for _ in range(self.options.times):
                to_zero = await self._zero()
                if to_zero is None:
                    return
                self.rounds.append(Round(to_zero))
                await self._wake(session, texts, self.rounds[-1])
                self._print(self.rounds[-1])
            if self.options.wait_zero:
                await self._zero()

    async def _zero(self) -> float | None:
        """Seconds until the model was at zero, ``None`` when it did not get there in time."""
        began = time.monotonic()
        if await self.watch.until(lambda: self.watch.at_zero(self.options.model), self.options.zero_timeout):
            return time.monotonic() - began
        self._say(
            f"{self.options.model} is not at zero after {self.options.zero_timeout:g} s: "
            "is other traffic on it, or is its min_replicas above 0?"
        )
        return None

    async def _wake(self, session: aiohttp.ClientSession, texts: list[str], one: Round) -> None:
        options = self.options
        request = TimedRequest(0.0, options.model, options.prompt_tokens, options.output_tokens, options.stream)

        async def send(text: str) -> None:
            one.outcomes.append(await ask(session, self.url, request, text))

        sent = time.monotonic()
        async with asyncio.TaskGroup() as answers:
            for text in texts:
                answers.create_task(send(text))
        # The watch may tell of the ready pod a little after the pod has answered.
        await self.watch.until(lambda: one.note_phases(self.watch, options.model, sent), _WATCH_LATENESS_SECONDS)

    def _print(self, one: Round) -> None:
        after = one.answered_after()
        text = f"at zero after {one.to_zero:5.1f} s; {len(after)} of {len(one.outcomes)} answered"
        if after:
            beyond = (max(after) - self.startup) * MILLISECONDS
            text += f", slowest {beyond:.0f} ms on top of the start-up"
        causes = Counter(outcome.failure.cause for outcome in one.outcomes if outcome.failure is not None)
        for cause, count in causes.items():
            text += f"; {count} lost: {cause}"
        self._say(f"{len(self.rounds):4d}/{self.options.times}  {text}")

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)
