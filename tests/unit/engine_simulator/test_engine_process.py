"""The engine as a process: when it listens, how it drains, how it ends.

Not proven here: how long vLLM itself takes for any of it.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_SECONDS = 20.0
MODEL = "Qwen/Qwen2.5-Coder-7B-Instruct"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class EngineProcess:
    """`python -m local.engine_simulator`, watched from outside."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self.port = free_port()
        argv = [*("serve", MODEL, "--host", "127.0.0.1", "--port", str(self.port), "--max-model-len", "4k"), *arguments]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local.engine_simulator", *argv],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)

    def wait_until_listening(self) -> float:
        """Seconds from the start of the process to the first accepted connection."""
        while time.monotonic() < self.started + DEADLINE_SECONDS:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.process.communicate()[0]
                time.sleep(0.002)
            else:
                return time.monotonic() - self.started
        raise AssertionError("not listening in time")

    def get(self, path: str) -> int:
        connection = self.connect()
        connection.request("GET", path)
        return connection.getresponse().status

    def stream(self, max_tokens: int) -> http.client.HTTPResponse:
        """Start a streamed chat; returns after the first event has arrived."""
        connection = self.connect()
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "x"}],
            "max_tokens": max_tokens,
            "stream": True,
        }
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        assert response.readline().startswith(b"data: ")
        return response

    def end(self) -> tuple[int, str]:
        """Exit status and output."""
        output, _ = self.process.communicate(timeout=DEADLINE_SECONDS)
        return self.process.returncode, output


@pytest.fixture
def engines() -> Iterator[list[EngineProcess]]:
    started: list[EngineProcess] = []
    yield started
    for engine in started:
        if engine.process.poll() is None:
            engine.process.kill()
            engine.process.communicate()


def test_it_listens_exactly_after_its_startup_time_and_drains_on_sigterm(engines: list[EngineProcess]) -> None:
    at_once = EngineProcess(SIMULATION_STARTUP_SECONDS="0")
    engine = EngineProcess("--shutdown-timeout", "10", SIMULATION_STARTUP_SECONDS="1.5", SIMULATION_SPEEDUP="10")
    engines += [at_once, engine]
    # What a process needs to start on this machine, busy or not; it is part of the start-up time, not added to it.
    start = at_once.wait_until_listening()
    assert 1.45 < engine.wait_until_listening() < max(1.5, start) + 0.7 * start
    response = engine.stream(max_tokens=100)  # 0.6 s
    engine.process.send_signal(signal.SIGTERM)
    while engine.get("/health") != 503:
        assert engine.process.poll() is None
    events = response.read().decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    assert '"finish_reason":"length"' in events[-3]
    status, output = engine.end()
    assert status == 0
    assert "SIMULATOR: stands in for vllm/vllm-openai v" in output
    assert "1 requests in flight, draining for at most 10 s" in output


def test_without_a_drain_time_it_ends_at_once_and_cuts_off(engines: list[EngineProcess]) -> None:
    engine = EngineProcess()
    engines.append(engine)
    engine.wait_until_listening()
    response = engine.stream(max_tokens=3000)  # minutes
    engine.process.send_signal(signal.SIGTERM)
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    status, output = engine.end()
    assert (status, "Aborting 1 requests" in output) == (0, True)


def test_a_busy_port_fails_before_the_model_loads(engines: list[EngineProcess]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        engine = EngineProcess("--port", str(port), SIMULATION_STARTUP_SECONDS="600")
        engines.append(engine)
        status, output = engine.end()
    assert status == 1
    assert output == f"engine_simulator: error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


def test_it_can_be_stopped_while_it_starts(engines: list[EngineProcess]) -> None:
    engine = EngineProcess(SIMULATION_STARTUP_SECONDS="600")
    engines.append(engine)
    stdout = engine.process.stdout
    assert stdout is not None
    while "A step takes" not in stdout.readline():
        assert engine.process.poll() is None
    engine.process.send_signal(signal.SIGTERM)
    assert engine.end()[0] == 0


def test_clients_that_break_off_all_at_once_stop_nobody_elses_tokens(engines: list[EngineProcess]) -> None:
    """Their connections are reset in the middle of a step that has a token for each of them."""
    engine = EngineProcess(SIMULATION_STARTUP_SECONDS="0", SIMULATION_SPEEDUP="100")
    engines.append(engine)
    engine.wait_until_listening()
    for _ in range(20):
        streams = [engine.stream(max_tokens=3000) for _ in range(12)]
        for stream in streams:
            # No lingering: the peer gets a reset, not an end.
            assert stream.fp is not None
            connection = socket.socket(fileno=os.dup(stream.fp.fileno()))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            stream.close()
        assert b"[DONE]" in engine.stream(max_tokens=5).read()
    engine.process.terminate()
    assert "Traceback" not in engine.end()[1]
