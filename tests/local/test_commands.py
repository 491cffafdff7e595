"""`make up`, `make status` and `make down` as a person uses them, mistakes included.

The commands behind the make rules run as processes of their own, on the stack `quick`, with a cache folder of
the test's: a dev environment on the same machine is not touched. Does not prove the rules of the Makefile
themselves, which only add the tools and the virtual environment.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from local.layout import REPOSITORY
from tests.local.client import ask_many
from tests.local.conftest import until

pytestmark = pytest.mark.local

STACK = "quick"
PORT: int = yaml.safe_load((REPOSITORY / f"Pulumi.{STACK}.yaml").read_text())["config"][
    "inference-platform:environment"
]["gateway"]["host_port"]


def port_is_free() -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Commands:
    """The environment's commands, with a cache of their own."""

    cache: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            [sys.executable, "-m", "local.environment", *words, "--stack", STACK],
            cwd=REPOSITORY,
            env={**os.environ, "INFERENCE_PLATFORM_CACHE": str(self.cache)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell that starts us in the background has us ignore Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - single-threaded here
        )

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command to its end: exit status and output."""
        command = self.start(*words)
        output, _ = command.communicate(timeout=180)
        return command.returncode, output

    def up_until(self, words: str) -> subprocess.Popen[str]:
        """Start `up` and return once its output has ``words``."""
        command = self.start("up")
        assert command.stdout is not None
        for line in command.stdout:
            if words in line:
                return command
        raise AssertionError(f"`up` never said {words!r}")

    def leftovers(self) -> list[str]:
        """Processes and mounts that name our cache folder."""
        processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        mounts = Path("/proc/self/mountinfo").read_text()
        return [line for line in (processes + mounts).splitlines() if str(self.cache) in line]


@pytest.fixture
def commands() -> Iterator[Commands]:
    if not port_is_free():
        pytest.skip(f"port {PORT} is in use: an environment `{STACK}` is running")
    cache = Path(tempfile.mkdtemp(prefix="ip-"))
    made = Commands(cache)
    yield made
    made.run("down")
    shutil.rmtree(cache)


def assert_nothing_left_after_down(commands: Commands) -> None:
    begun = time.monotonic()
    status, output = commands.run("down")
    assert status == 0, output
    assert "Traceback" not in output
    assert time.monotonic() - begun < 60
    assert commands.leftovers() == []


def test_interrupted_while_the_cluster_starts(commands: Commands) -> None:
    """Ctrl-C reaches the whole process group; the cluster, in a session of its own, is left to `down`."""
    command = commands.up_until("etcd")
    os.killpg(command.pid, signal.SIGINT)
    output, _ = command.communicate(timeout=30)
    assert command.returncode == 130
    assert "make down" in output
    assert "Traceback" not in output
    assert_nothing_left_after_down(commands)


def test_interrupted_while_pulumi_deploys(commands: Commands) -> None:
    command = commands.up_until("Deployment")
    os.killpg(command.pid, signal.SIGINT)
    output, _ = command.communicate(timeout=60)
    assert command.returncode != 0
    assert "Traceback" not in output
    assert_nothing_left_after_down(commands)


def test_down_does_not_wait_for_the_longest_answer(commands: Commands) -> None:
    """Its engine would drain for longer than `down` may take."""
    status, output = commands.run("up")
    assert status == 0, output
    body = json.dumps({"model": "chat", "prompt": "Hello", "max_tokens": 7_500, "stream": True}).encode()
    url = f"http://127.0.0.1:{PORT}/v1/completions"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.readline().startswith(b"data: ")
        assert_nothing_left_after_down(commands)


def test_killed_while_pulumi_deploys_then_up_again(commands: Commands) -> None:
    """`up` goes on where a killed one stopped, with its lock and its half-made objects in the way."""
    command = commands.up_until("Deployment")
    os.killpg(command.pid, signal.SIGKILL)
    command.communicate(timeout=30)
    status, output = commands.run("up")
    assert status == 0, output
    until(lambda: ask_many(f"http://127.0.0.1:{PORT}", "chat", 1)[0].complete, 30, "an answer")
    status, output = commands.run("status")
    assert status == 0
    assert "chat" in output
    assert_nothing_left_after_down(commands)


def test_a_busy_port_is_named_and_nothing_is_left(commands: Commands) -> None:
    with socket.create_server(("127.0.0.1", PORT)):
        status, output = commands.run("up")
    assert status == 1
    assert f"port {PORT} on 127.0.0.1 (gateway) is not free" in output
    assert "Traceback" not in output
    assert commands.leftovers() == []


def test_status_and_down_without_an_environment(commands: Commands) -> None:
    assert commands.run("status")[0] == 1
    assert_nothing_left_after_down(commands)
