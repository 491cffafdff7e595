"""The toolchain builder: what it keys on, how it fails, that it resumes.

`go` is a script here that makes files or fails as told: nothing is compiled. Does not prove that the
real modules build; a clean clone does.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from local.layout import REPOSITORY

pytestmark = pytest.mark.unit

FAKE_GO = """#!/bin/sh
case "$1 $2" in
  "env GOVERSION") echo "${FAKE_GO_VERSION:-go1.26.8}" ;;
  "mod download") echo "{\\"Dir\\": \\"$FAKE_MODULE\\"}" ;;
  build*)
    for last; do :; done
    case "$PWD" in *$FAKE_BROKEN*) echo "main.go:1: no such thing" >&2; exit 1 ;; esac
    while [ "$1" != "-o" ]; do shift; done
    echo program > "$2program" ; echo "$PWD" >> "$FAKE_MODULE/builds" ;;
esac
"""

TOOLS = """
[first]
packages = ["tool"]
rename = { program = "first" }
[second]
packages = ["tool"]
rename = { program = "second" }
files = [{ module = "m", from = "data.txt", to = "share/second/data.txt" }]
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder like ours with two tools and a `go` that does as told."""
    folder = tmp_path / "toolchain"
    for name in ("first", "second", "coredns"):
        (folder / name).mkdir(parents=True)
        (folder / name / "go.mod").write_text(f"module toolchain/{name}\n")
        (folder / name / "go.sum").write_text("")
    (folder / "tools.toml").write_text(TOOLS)
    shutil.copy(REPOSITORY / "toolchain" / "build.py", folder)
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(FAKE_GO)
    go.chmod(go.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "data.txt").write_text("data")
    return folder


def build(clone: Path, *tools: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the builder of the clone, for these tools or all."""
    base = clone.parent
    return subprocess.run(
        [sys.executable, str(clone / "build.py"), *tools],
        env={
            "PATH": f"{base / 'bin'}:{os.environ['PATH']}",
            "INFERENCE_PLATFORM_CACHE": str(base / "cache"),
            "FAKE_MODULE": str(base / "module"),
            "FAKE_BROKEN": "no-tool-has-this-name",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def builds(clone: Path) -> int:
    """How often `go build` has succeeded."""
    log = clone.parent / "module" / "builds"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_all_tools_are_built_once_and_linked(clone: Path) -> None:
    assert build(clone).returncode == 0
    linked = clone.parent / "build" / "tools"
    assert sorted(path.name for path in (linked / "bin").iterdir()) == ["first", "second"]
    assert (linked / "share" / "second" / "data.txt").read_text() == "data"
    again = build(clone)
    assert (again.returncode, again.stdout, builds(clone)) == (0, "", 2)


def test_a_changed_sum_builds_that_tool_alone(clone: Path) -> None:
    build(clone)
    (clone / "first" / "go.sum").write_text("m v1 h1:x\n")
    result = build(clone)
    assert "building 1 of 2 tools" in result.stdout
    assert builds(clone) == 3


def test_building_one_tool_leaves_the_links_of_the_others(clone: Path) -> None:
    build(clone)
    assert build(clone, "first").returncode == 0
    assert sorted(path.name for path in (clone.parent / "build" / "tools" / "bin").iterdir()) == ["first", "second"]


def test_a_tool_without_packages_is_its_files(clone: Path) -> None:
    recipe = '[first]\npackages = []\nfiles = [{ module = "m", from = "data.txt", to = "share/first/data.txt" }]\n'
    (clone / "tools.toml").write_text(recipe)
    assert build(clone).returncode == 0
    assert (clone.parent / "build" / "tools" / "share" / "first" / "data.txt").read_text() == "data"
    assert builds(clone) == 0


def test_a_failed_build_says_which_and_why_and_the_next_run_resumes(clone: Path) -> None:
    failed = build(clone, FAKE_BROKEN="building-second")
    assert failed.returncode == 1
    assert "second: main.go:1: no such thing" in failed.stdout
    assert "not built: second" in failed.stderr
    assert "Traceback" not in failed.stderr
    resumed = build(clone)
    assert resumed.returncode == 0
    assert "building 1 of 2 tools" in resumed.stdout


def test_an_old_go_is_refused_with_what_to_do(clone: Path) -> None:
    result = build(clone, FAKE_GO_VERSION="go1.25.1")
    assert result.returncode == 1
    assert "Go 1.26 or newer is needed, found go1.25" in result.stderr


def test_a_missing_go_is_one_line(clone: Path) -> None:
    result = build(clone, PATH="/nonexistent")
    assert result.returncode == 1
    assert result.stderr.startswith("toolchain: Go 1.26 or newer is needed")
    assert result.stderr.count("\n") == 1
