"""What is said of a cluster: the supervisor's report while its processes run, and nothing of one that is gone.

The process is a stand-in with the command line of the real one. Does not start a cluster.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import cluster
from local.layout import ClusterFiles

pytestmark = pytest.mark.unit

REPORT = {"ready": True, "uptime_s": 3.0, "error": "", "processes": {"etcd": {"phase": "ready"}}}


@pytest.fixture
def files(tmp_path: Path) -> ClusterFiles:
    """Of a cluster that has reported."""
    made = ClusterFiles(tmp_path / "cluster")
    made.create()
    made.status.write_text(json.dumps(REPORT))
    return made


@contextlib.contextmanager
def running(*words: str) -> Iterator[int]:
    """Id of a process with these words on its command line, which ends with the block."""
    script = "print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        # A process that has only just been started may have no command line yet.
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.communicate(b"\n")


def test_the_report_counts_while_the_clusters_process_runs_and_not_afterwards(files: ClusterFiles) -> None:
    with running("local.namespace", "--root", str(files.root)) as pid:
        (files.run / "cluster.pid").write_text(str(pid))
        assert cluster.status(files) == REPORT
    assert cluster.status(files)["ready"] is False
    assert cluster.status(files)["processes"] == {}


def test_a_report_that_a_power_cut_left_behind_says_nothing(files: ClusterFiles) -> None:
    """The recorded id is another program's since then."""
    with running() as pid:
        (files.run / "cluster.pid").write_text(str(pid))
        assert cluster.namespace_pid(files) is None
        assert cluster.status(files)["ready"] is False
