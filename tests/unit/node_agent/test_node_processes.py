"""Real processes: exit codes, adoption after their agent's death, the order of their end.

Not proven here: process 1 of the cluster's namespace, which reaps what agents leave.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from local.node_agent.grace import GracePeriod, end_process, first_of
from local.node_agent.launch import MARK
from local.node_agent.leftovers import kill_unattended
from local.node_agent.processes import Process, ProcessIdentity
from tests.unit.node_agent.node_doubles import eventually

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
ENV = {"PATH": os.environ["PATH"]}

# Says "up", then each SIGTERM; goes on for ever unless told to end. It waits for the signal instead of
# handling it: a handler of Python's runs too late when the signal comes just before a system call.
STUBBORN = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("up", flush=True)
while True:
    print(signal.Signals(signal.sigwait({signal.SIGTERM})).name, flush=True)
    if sys.argv[1] == "ends": sys.exit(7)
"""

Spawn = Callable[..., Process]


@pytest.fixture
async def spawn(tmp_path: Path) -> AsyncIterator[Spawn]:
    """Starts processes whose output goes to the file ``log``; they are ended afterwards."""
    output = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    started: list[Process] = []

    def start(*command: str, **env: str) -> Process:
        process = Process.spawn(command, ENV | env, tmp_path, output)
        started.append(process)
        return process

    yield start
    os.close(output)
    for process in started:
        process.kill()
        await process.wait()


def python(program: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", program, *arguments)


async def output_is(tmp_path: Path, *lines: str) -> None:
    await eventually(lambda: (tmp_path / "log").read_text().splitlines() == list(lines), f"output {lines}")


async def test_exit_codes_and_signals(spawn: Spawn) -> None:
    assert await spawn(*python("raise SystemExit(3)")).wait() == 3
    assert await spawn("true").wait() == 0
    assert await spawn(*python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")).wait() == 137


async def test_environment_folder_and_session_are_its_own(spawn: Spawn, tmp_path: Path) -> None:
    program = "import json, os; print(json.dumps([dict(os.environ), os.getcwd(), os.getsid(0) == os.getpid()]))"
    await spawn(*python(program), ONE="1", LC_CTYPE="C.UTF-8").wait()
    env, folder, own_session = json.loads((tmp_path / "log").read_text())
    assert env == ENV | {"ONE": "1", "LC_CTYPE": "C.UTF-8"}
    assert (folder, own_session) == (str(tmp_path), True)


async def test_a_program_that_cannot_be_started_is_named(spawn: Spawn, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'^exec: "no-such-program": executable file not found in \$PATH$'):
        spawn("no-such-program")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/missing"):
        spawn("./missing")


async def test_what_a_container_leaves_behind_ends_with_it(spawn: Spawn, tmp_path: Path) -> None:
    program = "import subprocess; print(subprocess.Popen(['sleep', '1000']).pid, flush=True)"
    assert await spawn(*python(program)).wait() == 0
    orphan = int((tmp_path / "log").read_text())
    await eventually(lambda: ProcessIdentity.of(orphan) is None, "the end of the orphan")


async def test_a_process_is_taken_over_after_its_agent_was_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio, os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from local.node_agent.processes import Process
async def main():
    process = Process.spawn(["sleep", "1000"], {{"PATH": os.environ["PATH"]}}, Path({str(tmp_path)!r}), 2)
    print(process.identity.pid, process.identity.start_ticks, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    agent = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False
    )
    assert agent.returncode == -signal.SIGKILL
    pid, ticks = map(int, agent.stdout.split())
    try:
        assert Process.adopt(ProcessIdentity(pid, ticks + 1)) is None  # another process with that pid
        process = Process.adopt(ProcessIdentity(pid, ticks))
        assert process is not None
        assert process.running
        process.signal(signal.SIGTERM)
        assert await process.wait() is None  # not our child: the kernel tells its exit code to others
        assert not process.running
    finally:
        if ProcessIdentity.of(pid) == ProcessIdentity(pid, ticks):
            os.kill(pid, signal.SIGKILL)
    assert Process.adopt(ProcessIdentity(pid, ticks)) is None


async def test_release_leaves_the_process_alone(tmp_path: Path) -> None:
    process = Process.spawn(["sleep", "1000"], ENV, tmp_path, 2)
    process.release()
    again = Process.adopt(process.identity)
    assert again is not None
    again.kill()
    assert await again.wait() is None
    await asyncio.to_thread(os.waitpid, process.identity.pid, 0)


async def test_hook_then_sigterm_then_sigkill(spawn: Spawn, tmp_path: Path) -> None:
    process = spawn(*python(STUBBORN, "stays"))
    await output_is(tmp_path, "up")

    async def hook() -> None:
        with (tmp_path / "log").open("a") as log:
            log.write("hook\n")

    loop = asyncio.get_running_loop()
    before = loop.time()
    await end_process(process, GracePeriod(2.5), signal.SIGTERM, hook)
    assert 2.4 <= loop.time() - before < 4
    await output_is(tmp_path, "up", "hook", "SIGTERM")
    assert await process.wait() == 137


async def test_a_process_that_ends_on_sigterm_is_not_waited_for(spawn: Spawn, tmp_path: Path) -> None:
    process = spawn(*python(STUBBORN, "ends"))
    await output_is(tmp_path, "up")
    await asyncio.wait_for(end_process(process, GracePeriod(600), signal.SIGTERM, None), 10)
    assert await process.wait() == 7


async def test_a_hook_that_never_ends_is_cut_off_and_leaves_two_seconds(spawn: Spawn, tmp_path: Path) -> None:
    process = spawn(*python(STUBBORN, "stays"))
    await output_is(tmp_path, "up")
    loop = asyncio.get_running_loop()
    before = loop.time()
    await end_process(process, GracePeriod(0.2), signal.SIGTERM, asyncio.Event().wait)  # type: ignore[arg-type]
    assert 2.1 <= loop.time() - before < 4
    await output_is(tmp_path, "up", "SIGTERM")


async def test_a_grace_period_of_zero_kills_without_hook_and_signal(spawn: Spawn, tmp_path: Path) -> None:
    process = spawn(*python(STUBBORN, "stays"))
    await output_is(tmp_path, "up")
    called = []

    async def hook() -> None:
        called.append(True)

    await end_process(process, GracePeriod(0), signal.SIGTERM, hook)
    assert await process.wait() == 137
    await output_is(tmp_path, "up")
    assert not called


async def test_a_grace_period_can_be_shortened_while_it_runs(spawn: Spawn, tmp_path: Path) -> None:
    process = spawn(*python(STUBBORN, "stays"))
    await output_is(tmp_path, "up")
    grace = GracePeriod(600)
    ending = asyncio.create_task(end_process(process, grace, signal.SIGTERM, None))
    await output_is(tmp_path, "up", "SIGTERM")
    grace.shorten(700)
    assert grace.remaining > 590
    grace.shorten(0)
    await asyncio.wait_for(ending, 10)
    assert await process.wait() == 137


@pytest.mark.parametrize("steps", range(4))
async def test_waiting_for_a_grace_period_can_be_cancelled_around_its_shortening(steps: int) -> None:
    grace = GracePeriod(600)
    waiting = asyncio.create_task(grace.over())
    for _ in range(3):
        await asyncio.sleep(0)
    grace.shorten(500)
    for _ in range(steps):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=10)
    assert waiting.cancelled()


async def test_leftovers_are_told_by_their_mark(spawn: Spawn) -> None:
    mine, other, unmarked = (
        spawn("sleep", "1000", **{MARK: "/state-a#process://lost"}),
        spawn("sleep", "1000", **{MARK: "/state-b#process://lost"}),
        spawn("sleep", "1000"),
    )
    attended = spawn("sleep", "1000", **{MARK: "/state-a#process://kept"})
    assert kill_unattended("/state-a#", {"process://kept"}) == 1
    assert await mine.wait() == 137
    assert [process.running for process in (other, unmarked, attended)] == [True, True, True]


async def test_the_first_of_several_waits_brings_its_fault_and_ends_the_others() -> None:
    cancelled = []

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def fault() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await first_of(for_ever(), fault())
    assert cancelled == [True]
