"""Sleep mode on the real chain: gateway, interceptor, router, sleeper, engine on a Unix socket, Prometheus.

The engine is a simulator with the published times (planner/sleep.py) at speed-up 1, start-up apart: the times that are
measured here are the simulator's and the chain's. Does not prove what a GPU frees, nor how long vLLM takes.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import socket
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import cluster
from local.layout import ClusterFiles
from planner.catalog import gpus, models
from planner.sizing import weights_gib
from planner.sleep import estimate_sleep
from tests.local.client import ask_many
from tests.local.conftest import CONFIG, Environment, deploy, until
from tests.local.processes import inhabitants

pytestmark = pytest.mark.local

IDLE_SECONDS = 2
UTILIZATION = 0.85
LEVELS = {"chat": 1, "code": 2}
SOURCES = {"chat": "Qwen/Qwen2.5-3B-Instruct", "code": "Qwen/Qwen3-1.7B"}
REACTION_SECONDS = 1.5
"""What the chain may add to the published times on a busy machine of two cores: timers, polls, a router's pause."""


def config() -> dict[str, Any]:
    """Two models that sleep when idle, one at each level."""
    made = copy.deepcopy(CONFIG)
    for deployment in made["model_deployments"]:
        name = deployment["name"]
        deployment["source"]["hugging_face"] = SOURCES[name]
        deployment["simulation"]["speedup"] = 1.0
        deployment["scaling"] |= {
            "min_replicas": 1,
            "max_replicas": 1,
            "idle": {"kind": "sleep", "level": LEVELS[name], "after_seconds": IDLE_SECONDS},
        }
    return made


@pytest.fixture(scope="module")
def sleeping() -> Iterator[Environment]:
    """An environment on a cluster of its own."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / "sleep")
    try:
        cluster.up(files, gateway_port=0)
        made = deploy(files, config())
        until(lambda: all(made.replicas(name) == (1, 1) for name in LEVELS), 60, "one replica of each model ready")
        yield made
        made.pulumi.run("destroy", "--yes", "--skip-preview", "--stack", "sleep")
    finally:
        cluster.down(files)
        shutil.rmtree(root)


def value(environment: Environment, expr: str) -> float | None:
    """The only series that answers a query now; None where there is none."""
    port = cluster.ports(environment.files).prometheus
    query = urllib.parse.urlencode({"query": expr})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}") as reply:
        found = json.load(reply)["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def asleep(environment: Environment, model: str) -> bool:
    """Whether Prometheus has heard from vLLM's own series that the model sleeps."""
    return value(environment, f'sum(vllm:engine_sleep_state{{model_name="{model}",sleep_state!="awake"}})') == 1


def await_sleep(environment: Environment, model: str) -> None:
    until(lambda: asleep(environment, model), 60, f"{model} asleep")


def published(model: str) -> tuple[float, float, float]:
    """What the planner says of the model: GiB freed, seconds to fall asleep and to wake."""
    weights = weights_gib(models()[SOURCES[model]])
    found = estimate_sleep(LEVELS[model], weights, gpus()["l4"].memory_gib * UTILIZATION)
    return found.freed_gib, found.sleep_seconds, found.wake_seconds


@pytest.mark.parametrize("model", list(LEVELS))
def test_an_idle_engine_sleeps_and_the_request_that_wakes_it_is_answered(sleeping: Environment, model: str) -> None:
    """Sleep and wake, measured through the whole chain, against the published figures."""
    freed, sleep_seconds, wake_seconds = published(model)
    await_sleep(sleeping, model)
    label = f'{{model_name="{model}"}}'
    until(lambda: (value(sleeping, f"sleeper_sleeps_total{label}") or 0) >= 1, 20, "the sleep in Prometheus")
    sleeps, slept = (value(sleeping, f"sleeper_sleep{name}_total{label}") for name in ("s", "_seconds"))
    assert sleeps is not None
    assert slept is not None
    assert sleep_seconds - 0.05 <= slept / sleeps <= sleep_seconds + REACTION_SECONDS
    (cold,) = ask_many(sleeping.url, model, 1, tokens=1)
    (warm,) = ask_many(sleeping.url, model, 1, tokens=1)
    assert cold.complete, cold
    assert warm.complete, warm
    assert wake_seconds <= cold.seconds - warm.seconds + 0.05 <= wake_seconds + REACTION_SECONDS
    until(lambda: (value(sleeping, f"sleeper_wakes_total{label}") or 0) >= 1, 20, "the wake in Prometheus")
    woken = value(sleeping, f"sleeper_wake_seconds_total{label} / sleeper_wakes_total{label}")
    print(
        f"{model}, level {LEVELS[model]}: asleep in {slept / sleeps:.2f} s (published {sleep_seconds:.2f}), awake in "
        f"{woken:.3f} s (published {wake_seconds:.3f}); the request that woke it took {cold.seconds:.3f} s, the next "
        f"{warm.seconds:.3f} s; {freed:.2f} GiB freed"
    )


@pytest.mark.parametrize("model", list(LEVELS))
def test_asleep_the_memory_of_its_gpu_is_free(sleeping: Environment, model: str) -> None:
    freed, _, _ = published(model)
    query = f'DCGM_FI_DEV_FB_USED{{simulated="true",pod=~"{model}-engine-.+"}}'
    (_,) = ask_many(sleeping.url, model, 1, tokens=1)
    before = gpus()["l4"].memory_gib * UTILIZATION
    until(lambda: abs((value(sleeping, query) or 0) / 1024 - before) < 0.01, 20, f"{before:.2f} GiB in use, awake")
    until(lambda: abs((value(sleeping, query) or 0) / 1024 - (before - freed)) < 0.01, 60, f"{freed:.2f} GiB freed")


def test_a_burst_at_a_sleeping_model_loses_nothing_and_wakes_it_once(sleeping: Environment) -> None:
    await_sleep(sleeping, "code")
    query = 'sleeper_wakes_total{model_name="code"}'
    before = value(sleeping, query) or 0
    answers = ask_many(sleeping.url, "code", 40, stream=True, tokens=20)
    assert [answer for answer in answers if not answer.complete] == []
    assert {answer.tokens for answer in answers} == {20}
    until(lambda: value(sleeping, query) == before + 1, 20, "one wake for all")


def raw(environment: Environment, line: str) -> bytes:
    """A request line sent as it is: clients would tidy the path up. Returns the status."""
    host, port = urllib.parse.urlsplit(environment.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = (f"{line} HTTP/1.1", "Host: x", "x-inference-model: chat", "Content-Length: 0", "Connection: close")
        connection.sendall("\r\n".join((*head, "", "")).encode())
        return connection.makefile("rb").readline().split()[1]


@pytest.mark.parametrize("way", ["", "/v1/..", "/v1/%2e%2e", "/v1/%2E.", "/v1//..", "/v1/chat/../.."])
def test_no_client_reaches_an_engines_administration(sleeping: Environment, way: str) -> None:
    """The interceptor and the router tidy paths up: what the gateway lets through as /v1/../sleep arrives as /sleep."""
    for path in ("/sleep?level=2", "/wake_up", "/collective_rpc", "/reset_prefix_cache", "/sleeper"):
        assert raw(sleeping, f"POST {way}{path}") == b"404", path
    for path in ("/metrics", "/sleeper", "/is_sleeping", "/server_info"):
        assert raw(sleeping, f"GET {way}{path}") == b"404", path


def test_an_engine_that_can_sleep_listens_on_no_port(sleeping: Environment) -> None:
    """Its administration is on no network: what is bound is a Unix socket of its pod."""
    engines = [process for process in inhabitants(sleeping.files) if "local.engine_simulator" in process.command]
    assert len(engines) == len(LEVELS)
    for process in engines:
        folder = Path(f"/proc/{process.host_pid}")
        sockets = {str(entry.readlink()) for entry in (folder / "fd").iterdir()}
        tcp = [line.split() for name in ("tcp", "tcp6") for line in (folder / "net" / name).read_text().splitlines()]
        listening = {f"socket:[{row[9]}]" for row in tcp if row[3] == "0A"}
        assert listening  # others do
        assert not sockets & listening


def test_an_engine_that_dies_asleep_comes_back_and_serves(sleeping: Environment) -> None:
    """The sleeper finds out that the new engine is awake, and requests are not sent to one that still loads."""
    await_sleep(sleeping, "chat")
    (pod,) = sleeping.engine_pods("chat")
    assert pod.status is not None
    name = "--served-model-name=chat"
    (engine,) = [process for process in inhabitants(sleeping.files) if name in process.command]
    os.kill(engine.host_pid, signal.SIGKILL)
    begun = time.monotonic()
    (answer,) = ask_many(sleeping.url, "chat", 1, tokens=4)
    assert answer.complete, answer
    print(f"answered {time.monotonic() - begun:.2f} s after the engine died in its sleep")
