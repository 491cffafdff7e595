"""What the embedded cluster's commands say, whatever is in it: no message is lost or turned into a traceback.

Not proven here: what the messages are of (the tests of the parts that raise them).
"""

from __future__ import annotations

from typing import Any

import pytest

from local import cli, cluster

pytestmark = pytest.mark.unit

BRACKETS = "kube-apiserver [/usr/bin] refuses [red]: [Errno 98]"
"""Rich reads the first as the end of a style that never began, and the second as a style."""


def report(error: str = "", **phases: str) -> dict[str, Any]:
    """A status report with these processes."""
    state = {"pid": 7, "restarts": 0, "ready_after_s": 1.25, "last_exit": ""}
    processes = {name: {**state, "phase": phase} for name, phase in phases.items()}
    return {"processes": processes, "error": error, "guard_pid": 1}


def test_a_failure_with_brackets_is_said_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.fail(cluster.ClusterError(BRACKETS)).exit_code == 1
    assert capsys.readouterr().err == f"local cluster: {BRACKETS}\n"


def test_the_error_of_a_status_is_said_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    cli.print_status(report(BRACKETS, etcd="ready"))
    assert BRACKETS in capsys.readouterr().out


def test_a_process_is_told_of_once_when_it_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    progress = cli.Progress()
    for phases in ({"etcd": "starting"}, {"etcd": "ready"}, {"etcd": "ready", "kwok": "ready"}):
        progress(report("", **phases))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["etcd", "kwok"]
    assert lines[0].endswith("ready at   1.2 s")
