"""What is said of a cluster: the supervisor's report while its processes run, and nothing of one that is gone.

The process is a stand-in with the command line of the real one. Does not start a cluster.
"""

from __future__ import annotations

import json
import subprocess
import sys
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


def test_the_report_counts_while_the_clusters_process_runs_and_not_afterwards(files: ClusterFiles) -> None:
    words = ["local.namespace", "--root", str(files.root)]
    with subprocess.Popen([sys.executable, "-c", "input()", *words], stdin=subprocess.PIPE) as process:
        (files.run / "cluster.pid").write_text(str(process.pid))
        assert cluster.status(files) == REPORT
        process.communicate(b"\n")
    assert cluster.status(files)["ready"] is False
    assert cluster.status(files)["processes"] == {}


def test_a_report_that_a_power_cut_left_behind_says_nothing(files: ClusterFiles) -> None:
    """The recorded id is another program's since then."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        (files.run / "cluster.pid").write_text(str(process.pid))
        assert cluster.namespace_pid(files) is None
        assert cluster.status(files)["ready"] is False
        process.communicate(b"\n")
