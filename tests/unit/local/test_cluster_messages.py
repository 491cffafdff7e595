"""What the embedded cluster's commands say, whatever is in it: no message is lost or turned into a traceback.

Not proven here: what the messages are of (the tests of the parts that raise them).
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from local import cli, cluster
from local.environment import model_table
from local.layout import ClusterFiles

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


def test_an_api_server_that_is_gone_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It may be on its way back: `make status` beside `make up`."""
    files = ClusterFiles(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        server = f"http://127.0.0.1:{closed.getsockname()[1]}"
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    document = {"current-context": "c", "contexts": [context], "users": [{"name": "u", "user": {}}]}
    files.kubeconfig.write_text(
        yaml.safe_dump({**document, "clusters": [{"name": "c", "cluster": {"server": server}}]})
    )
    with pytest.raises(typer.Exit) as ended:
        model_table(files, "dev")
    assert ended.value.exit_code == 1
    assert "the API server does not answer as it should" in capsys.readouterr().err
