"""Processes that outlive the agent: started in a session of their own, found again by pid and start time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# Field 22 of /proc/PID/stat, counted from the field after the command's closing bracket (3rd).
START_TIME_FIELD = 22 - 3
ZOMBIE = "Z"
SIGNAL_OFFSET = 128


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from a later one with the same pid.

    Attributes:
        pid: process id, also of its process group and session.
        start_ticks: start time in clock ticks since boot, field 22 of /proc/PID/stat.
    """

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this pid now; None if there is none or it has ended."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()
        if fields[0] == ZOMBIE:
            return None
        return cls(pid, int(fields[START_TIME_FIELD]))


class Process:
    """One process and its process group; needs a running event loop.

    Attributes:
        identity: what to look for after a restart of the agent.
    """

    def __init__(self, identity: ProcessIdentity, pidfd: int, child: subprocess.Popen[bytes] | None) -> None:
        self.identity = identity
        self._pidfd = pidfd
        # Kept until the end: a Popen that is dropped earlier would reap the process behind our back.
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        self._loop.add_reader(pidfd, self._on_end)

    @classmethod
    def spawn(cls, command: Sequence[str], env: Mapping[str, str], folder: Path, output: int) -> Self:
        """Start a process in a session of its own.

        Args:
            command: program and arguments.
            env: its whole environment; the program is looked up in its PATH.
            folder: its working directory.
            output: file descriptor for stdout and stderr.

        Raises:
            OSError: it cannot be started; the message names the program or the folder.
        """
        child = subprocess.Popen(
            list(command),
            executable=_find_program(command[0], env, folder),
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        # Our child stays a zombie until we ask for it, so the pid is still its own here.
        pidfd = os.pidfd_open(child.pid)
        identity = ProcessIdentity.of(child.pid) or ProcessIdentity(child.pid, 0)
        return cls(identity, pidfd, child)

    @classmethod
    def adopt(cls, identity: ProcessIdentity) -> Self | None:
        """Take over a process that an earlier agent started; None if it has ended."""
        try:
            pidfd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            return None
        # Looked at after the descriptor is open: from here on the pid cannot become another's unnoticed.
        if ProcessIdentity.of(identity.pid) != identity:
            os.close(pidfd)
            return None
        return cls(identity, pidfd, None)

    @property
    def running(self) -> bool:
        """Whether it has not ended as far as the agent has seen."""
        return not self._ended.done()

    async def wait(self) -> int | None:
        """Its exit code, 128 + n for signal n; None if an earlier agent was its parent."""
        return await asyncio.shield(self._ended)

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group; nothing happens once the process has ended."""
        if self.running and not self._readable():
            self._signal_group(number)

    def kill(self) -> None:
        """End it and its process group at once."""
        self.signal(signal.SIGKILL)

    def release(self) -> None:
        """Stop looking at the process without touching it: the agent ends, the process goes on."""
        if self.running:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._ended.cancel()
            if self._child is not None:
                self._child.returncode = 0

    def _readable(self) -> bool:
        """Whether the kernel says that it has ended, even if the loop has not told us yet."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        # A container ends with its first process, whatever that has left behind. While a child
        # is not reaped yet, its pid, and so the name of its group, cannot be another's.
        self._signal_group(signal.SIGKILL)
        code = self._reap()
        os.close(self._pidfd)
        if not self._ended.done():
            self._ended.set_result(code)

    def _reap(self) -> int | None:
        if self._child is None:
            return None
        result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        if result is None:
            return None
        code = result.si_status if result.si_code == os.CLD_EXITED else SIGNAL_OFFSET + result.si_status
        self._child.returncode = code
        return code

    def _signal_group(self, number: int) -> None:
        # PermissionError: the group holds only a zombie of another user.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.identity.pid, number)


def _find_program(program: str, env: Mapping[str, str], folder: Path) -> str:
    """The program's file, found as execvp would find it in the container: in the PATH of ``env``."""
    if "/" in program:
        return str(folder / program)
    for entry in env.get("PATH", os.defpath).split(os.pathsep):
        candidate = Path(entry or folder) / program
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise FileNotFoundError(f'exec: "{program}": executable file not found in $PATH')
