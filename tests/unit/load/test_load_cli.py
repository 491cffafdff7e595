"""The command line, against doubles.

Shows: exit status, one message for bad input, what goes to stdout and stderr, Ctrl-C. Does not show anything
of a real environment.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from load.cli import app
from load.replicas import ReplicaWatch
from load.run import Cluster, LoadError, Options, base_url, build_schedule, chosen_models
from load.scaling import ScalerWatch
from tests.unit.load.doubles import (
    client_of,
    deployment,
    gateway,
    kubernetes_api,
    scaled_object,
    whole,
    write_kubeconfig,
)

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
TRACE = "seconds,model,prompt_tokens,output_tokens\n0,chat,8,3\n0.01,code,8,2\n"


@dataclass
class Ended:
    """A finished run of the command."""

    status: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The object of the last line."""
        read = json.loads(self.out.splitlines()[-1])
        assert isinstance(read, dict)
        return read


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "load",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process) -> Ended:
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def trace_file(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return str(path)


async def test_a_run_ends_with_a_table_and_one_json_line(trace_file: str) -> None:
    async with gateway() as front:
        ended = await end(await start("--url", front.url + "/v1/", "--trace", trace_file))
    assert (ended.status, ended.summary["requests"], ended.summary["failed"]) == (0, 2, 0)
    assert ended.summary["output_tokens"] == 5
    assert (ended.summary["simulated"], ended.summary["replicas"]) == (True, {})
    assert {name: model["requests"] for name, model in ended.summary["models"].items()} == {"chat": 1, "code": 1}
    assert "TTFT p50" in ended.out
    assert f"2 requests, 5 tokens to generate, over 1 s, for chat, code at {front.url}" in ended.err
    assert "\x1b" not in ended.out + ended.err, "no terminal, no escape sequences"


async def test_json_prints_nothing_else_and_a_failure_is_status_1(trace_file: str) -> None:
    async def no_code(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["model"] == "code":
            return web.Response(status=503, text="no worker")
        return await whole(request, body)

    async with gateway(no_code) as front:
        ended = await end(await start("--json", "--url", front.url, "--trace", trace_file))
    assert (ended.status, ended.err, ended.out.count("\n")) == (1, "", 1)
    assert ended.summary["failures"] == {"status 503": {"count": 1, "first": "code: no worker"}}


async def test_with_a_cluster_the_summary_has_timeline_and_decisions(trace_file: str, tmp_path: Path) -> None:
    async with kubernetes_api() as api:
        for model in ("chat", "code"):
            api.put("deployments", deployment(model, 0, 0))
            api.put("scaledobjects", scaled_object(model))
        write_kubeconfig(tmp_path / "kubeconfig", api.url)
        # The last answer overtakes the watch of the Deployments.
        api.silent_until = {"deployments": 2}

        async def waking(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            api.put("scaledobjects", scaled_object(body["model"], reason="ScalerActive"))
            for desired in (1, 0):
                api.put("deployments", deployment(body["model"], desired, desired))
            return await whole(request, body)

        async with gateway(waking) as front:
            arguments = ("--url", front.url, "--trace", trace_file, "--kubeconfig", str(tmp_path / "kubeconfig"))
            ended = await end(await start(*arguments, "--wait-for-zero", "10"))
    assert ended.status == 0
    assert {name: [entry[1:] for entry in line] for name, line in ended.summary["replicas"].items()} == {
        "chat": [[0, 0], [1, 1], [0, 0]],
        "code": [[0, 0], [1, 1], [0, 0]],
    }
    assert ended.summary["scaled_by"]["decided"] == {"keda ScalerActive": 2}
    assert "all models at zero" in ended.out
    assert "0 → 1 → 0" in ended.out


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupt_ends_with_what_was_done(tmp_path: Path, number: int, status: int) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE + "3600,chat,8,3\n")

    async def only_chat(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body["model"] == "code":
            await asyncio.Event().wait()
        return await whole(request, body)

    async with gateway(only_chat) as front:
        process = await start("--url", front.url, "--trace", str(path), "--duration", "4000")
        async with asyncio.timeout(30):
            await front.until_received(2)
        process.send_signal(number)
        ended = await end(process)
    assert (ended.status, ended.summary["aborted"], ended.summary["not_sent"]) == (status, 1, 1)
    assert ended.summary["failed"] == 0
    assert "interrupted: this is what was done until then" in ended.out
    assert "Traceback" not in ended.err


def refused(*arguments: str) -> str:
    """The message of a run that is refused, on one line, without the frame that typer draws."""
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "500", "TERM": "dumb"})
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.replace("│", " ").split())


def free_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_an_unreachable_url_says_to_run_make_up() -> None:
    url = free_url()
    message = refused("--url", url)
    assert message.startswith(f"error: {url} cannot be reached (")
    assert message.endswith("): run `make up`, or check --url (nothing was sent)")


def test_a_broken_trace_is_refused_before_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TRACE + "1,chat,8,none\n")
    assert refused("--trace", str(path), "--url", free_url()) == (
        f"error: {path}:4: output_tokens is 'none'; expected a whole number of at least 1 (nothing was sent)"
    )


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:99999", "http://x:0", ""])
def test_a_url_that_is_none_is_named(url: str) -> None:
    assert refused("--url", url) == (
        f"error: --url is {url!r}; expected a URL such as http://127.0.0.1:8080 (nothing was sent)"
    )


def test_a_url_may_end_in_v1() -> None:
    assert base_url("https://host/base/v1/") == "https://host/base"
    assert base_url("http://127.0.0.1:8080") == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-stream", "--stream-share", "0.5"], "say the same thing: give one of them"),
        (["--wait-for-zero", "5"], "--wait-for-zero needs --kubeconfig"),
        (["--models", " ,"], "--models is ' ,'; expected names separated by commas, such as chat,code"),
        (["--speed-up", "0"], "Invalid value for '--speed-up': 0 is not a number above 0"),
        (["--speed-up", "nan"], "Invalid value for '--speed-up': nan is not a number above 0"),
        (["--duration", "-1"], "Invalid value for '--duration': -1 is not a number above 0"),
        (["--from", "-1"], "Invalid value for '--from': -1 is not a number of at least 0"),
        (["--concurrency-limit", "0"], "0 is not in the range x>=1"),
        (["--stream-share", "1.5"], "1.5 is not in the range 0.0<=x<=1.0"),
        (["--rate", "fast"], "'fast' is not a valid float"),
        (["--wrong"], "No such option"),
        (["wake"], "Missing option '--model'"),
        (["wake", "--model", "chat"], "Missing option '--kubeconfig'"),
        (["wake", "--model", "chat", "--kubeconfig", "k", "--times", "0"], "0 is not in the range x>=1"),
    ],
)
def test_bad_options_are_refused_with_one_message(arguments: list[str], message: str) -> None:
    assert message in refused(*arguments)


async def test_a_missing_kubeconfig_is_refused_and_nothing_is_sent(trace_file: str, tmp_path: Path) -> None:
    async with gateway() as front:
        gone = str(tmp_path / "gone")
        ended = await end(await start("--url", front.url, "--trace", trace_file, "--kubeconfig", gone))
        assert front.bodies == []
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {gone}: not a usable kubeconfig (")
    assert ended.err.endswith("run `make up`, or check --kubeconfig (nothing was sent)\n")


def test_help_names_every_option_of_the_trace() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    for option in ("--trace", "--duration", "--speed-up", "--models", "--kubeconfig", "--wait-for-zero", "wake"):
        assert option in result.stdout


@asynccontextmanager
async def cluster_of(*models: str, **cooldowns: int) -> AsyncIterator[Cluster]:
    async with kubernetes_api() as api, client_of(api.url) as client:
        for model in models:
            api.put("deployments", deployment(model, 0, 0))
            api.put("scaledobjects", scaled_object(model, cooldownPeriod=cooldowns[model]))
        watch = ReplicaWatch(client, "inference-dev")
        scalers = ScalerWatch(client, "inference-dev", watch.model_of_deployment)
        await watch.first_look()
        await scalers.first_look()
        yield Cluster(client, "inference-dev", watch, scalers)


async def test_the_idle_gap_outlasts_the_cooldown_of_the_slowest_model() -> None:
    async with cluster_of("chat", "code", "idle", chat=20, code=45, idle=600) as cluster:
        schedule, _ = build_schedule(Options("http://x", burst=10.0, speed_up=2.0), ["chat", "code"], cluster)
    times = [request.at for request in schedule]
    gaps = [after - before for before, after in pairwise(times)]
    # Bursts of 10 s last 5 s at twice the speed; the gap of 45 + 30 s is real time.
    assert 75.0 <= max(gaps) < 80.0
    assert times[-1] < 5.0 + 75.0 + 5.0


def test_without_a_cluster_the_gap_is_a_minute_and_can_be_chosen() -> None:
    for options, least in ((Options("http://x"), 60.0), (Options("http://x", idle_gap=7.0, rate=50.0), 7.0)):
        schedule, clipped = build_schedule(options, ["chat"], None)
        times = [request.at for request in schedule]
        assert least <= max(b - a for a, b in pairwise(times)) < least + 40.0
        assert clipped == 0


async def test_requests_need_models_that_exist() -> None:
    async with cluster_of() as cluster:
        with pytest.raises(LoadError, match=r"no engine Deployment of any model \(found: none\)"):
            chosen_models(None, cluster)
    async with cluster_of("b", "a", a=1, b=1) as cluster:
        assert chosen_models(None, cluster) == ["a", "b"]
        assert chosen_models(["b"], cluster) == ["b"]
    assert chosen_models(None, None) == ["chat", "code"]
    assert chosen_models(["a"], None) == ["a"]
