"""Build the pinned command-line tools into a cache that all clones of a user share.

Each folder beside this file is one Go module that pins one tool or one set of
tools; ``tools.toml`` says how it is built. A tool's cache entry is keyed by its
go.mod, go.sum, main package, recipe and Go version, so a second clone builds
nothing, and a change of any of these builds that tool alone.

Only the standard library is used: this runs before the virtual environment exists.

Exit status: 0 when every tool is there, 1 when a build failed or a requirement
is missing (the message says which and what to do). An interrupted or failed
build leaves no half-made entry: the next run resumes with what is missing.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
MINIMUM_GO = (1, 26)
HEARTBEAT_SECONDS = 30.0
LOG_TAIL_LINES = 15


class ToolchainError(Exception):
    """A tool could not be built; the message is for the user."""


@dataclass(frozen=True)
class Tool:
    """One Go module of this folder and how to build it.

    Attributes:
        name: folder name, also the name shown to the user.
        recipe: the tool's table of ``tools.toml``.
        key: first 16 hex digits of the SHA-256 over everything that shapes the result.
    """

    name: str
    recipe: dict[str, Any]
    key: str

    @property
    def source(self) -> Path:
        """Folder with go.mod and go.sum."""
        return HERE / self.name


@dataclass
class Progress:
    """Lines of progress, safe to write from several builds at once."""

    started: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)

    def say(self, text: str) -> None:
        """Print one whole line."""
        with self.lock:
            print(text, flush=True)

    def begin(self, tool: str) -> None:
        """Note the start of a build."""
        with self.lock:
            self.started[tool] = time.monotonic()
        self.say(f"  {tool:<28} building")

    def end(self, tool: str, outcome: str) -> None:
        """Report the end of a build with its elapsed time."""
        with self.lock:
            elapsed = time.monotonic() - self.started.pop(tool)
        self.say(f"  {tool:<28} {outcome} after {elapsed:.0f} s")

    def heartbeat(self) -> None:
        """Say every half minute what is still building, so that silence means trouble."""
        while not self.done.wait(HEARTBEAT_SECONDS):
            with self.lock:
                lines = [f"{t} {time.monotonic() - s:.0f} s" for t, s in self.started.items()]
            if lines:
                self.say(f"  still building: {', '.join(lines)}")


def cache_root() -> Path:
    """Folder that all clones of this user share.

    ``INFERENCE_PLATFORM_CACHE``, else ``$XDG_CACHE_HOME/inference-platform``, else
    ``~/.cache/inference-platform``.
    """
    chosen = os.environ.get("INFERENCE_PLATFORM_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "inference-platform"


def go_version() -> str:
    """Version of the Go toolchain that builds inside this folder, e.g. ``go1.26.8``.

    Raises:
        ToolchainError: Go is missing or older than the modules ask for.
    """
    needed = ".".join(map(str, MINIMUM_GO))
    if shutil.which("go") is None:
        raise ToolchainError(f"Go {needed} or newer is needed and `go` is not on PATH: install it from go.dev/dl")
    version = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=HERE / "coredns", capture_output=True, text=True, check=False
    )
    match = re.match(r"go(\d+)\.(\d+)", version.stdout.strip())
    if version.returncode or match is None:
        raise ToolchainError(f"`go env GOVERSION` failed: {version.stderr.strip() or version.stdout.strip()}")
    if (int(match[1]), int(match[2])) < MINIMUM_GO:
        raise ToolchainError(
            f"Go {needed} or newer is needed, found {match[0]}: install a newer one, or set GOTOOLCHAIN=auto"
        )
    return version.stdout.strip()


def load_tools(go: str) -> list[Tool]:
    """All tools in the order of ``tools.toml``."""
    recipes = tomllib.loads((HERE / "tools.toml").read_text())
    return [Tool(name, recipe, tool_key(name, recipe, go)) for name, recipe in recipes.items()]


def tool_key(name: str, recipe: dict[str, Any], go: str) -> str:
    """Hash over all that shapes a tool's files."""
    digest = hashlib.sha256(json.dumps([name, recipe, go], sort_keys=True).encode())
    for path in sorted((HERE / name).glob("*")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def go_environment() -> dict[str, str]:
    """Environment of every go command: static binaries, committed sums only."""
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}


def run_go(arguments: list[str], cwd: Path, log: Path) -> str:
    """Run go, keeping its messages in ``log``; the standard output is returned.

    Raises:
        ToolchainError: the command failed; carries the end of its messages.
    """
    with log.open("a") as messages:
        result = subprocess.run(
            ["go", *arguments],
            cwd=cwd,
            env=go_environment(),
            stdout=subprocess.PIPE,
            stderr=messages,
            text=True,
            check=False,
        )
    if result.returncode:
        tail = [line for line in log.read_text().splitlines() if not line.startswith("go: downloading")]
        raise ToolchainError("\n".join(tail[-LOG_TAIL_LINES:]) or f"go exited with {result.returncode}")
    return result.stdout


def copy_module_file(spec: dict[str, Any], into: Path, source: Path, log: Path) -> None:
    """Copy one file or folder out of a Go module, as ``tools.toml`` describes it."""
    out = run_go(["mod", "download", "-json", spec["module"]], source, log)
    origin = Path(json.loads(out)["Dir"]) / spec["from"]
    target = into / spec["to"]
    target.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_dir():
        shutil.copytree(origin, target, dirs_exist_ok=True)
    elif "set" in spec:
        target.write_text(json.dumps({**json.loads(origin.read_text()), **spec["set"]}))
    else:
        shutil.copyfile(origin, target)
    # The module cache is read-only; copies must be removable, and programs runnable.
    for path in [target, *target.rglob("*")] if target.is_dir() else [target]:
        path.chmod(0o755 if path.is_dir() or spec["to"].startswith("bin/") else 0o644)


def build(tool: Tool, entry: Path, work: Path) -> None:
    """Build one tool in ``work`` and move the result to ``entry`` in one step.

    Raises:
        ToolchainError: with the reason, and the path of the whole log.
    """
    shutil.rmtree(work, ignore_errors=True)
    source, result, log = work / "source", work / "result", work.with_suffix(".log")
    shutil.copytree(tool.source, source)
    (result / "bin").mkdir(parents=True)
    log.write_text("")
    try:
        for spec in tool.recipe.get("sources", []):
            copy_module_file(spec, source, source, log)
        flags = ["-trimpath", "-ldflags", " ".join(["-s -w", *tool.recipe.get("ldflags", [])])]
        if tags := tool.recipe.get("tags"):
            flags += ["-tags", ",".join(tags)]
        if packages := tool.recipe["packages"]:
            run_go(["build", *flags, "-o", f"{result / 'bin'}/", *packages], source, log)
        for old, new in tool.recipe.get("rename", {}).items():
            (result / "bin" / old).rename(result / "bin" / new)
        for spec in tool.recipe.get("files", []):
            copy_module_file(spec, result, source, log)
    except ToolchainError as error:
        raise ToolchainError(f"{error}\n(whole log: {log})") from None
    result.rename(entry)
    shutil.rmtree(work)
    log.unlink()


@contextmanager
def exclusive(root: Path, progress: Progress) -> Iterator[None]:
    """Hold the cache's lock, so that two clones do not build the same tools twice."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("  another clone is building the same tools: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_missing(tools: list[Tool], root: Path, jobs: int, progress: Progress) -> list[str]:
    """Build what the cache lacks, ``jobs`` at once; the names of failed tools."""

    def one(tool: Tool) -> str | None:
        progress.begin(tool.name)
        try:
            build(tool, root / f"{tool.name}-{tool.key}", root / f".building-{tool.name}")
        except ToolchainError as error:
            progress.end(tool.name, "FAILED")
            progress.say(f"\n{tool.name}: {error}\n")
            return tool.name
        progress.end(tool.name, "ready")
        return None

    missing = [tool for tool in tools if not (root / f"{tool.name}-{tool.key}").exists()]
    if not missing:
        return []
    names = ", ".join(tool.name for tool in missing)
    progress.say(f"building {len(missing)} of {len(tools)} tools once into {root}\n  ({names})")
    threading.Thread(target=progress.heartbeat, daemon=True).start()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(one, missing))
    progress.done.set()
    return [name for name in outcomes if name]


def link(tools: list[Tool], root: Path, into: Path) -> None:
    """Make ``into/bin``, ``into/plugins`` and ``into/share`` point at the cached files of exactly these versions."""
    fresh = into.with_name(into.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for tool in tools:
        for kind in ("bin", "share"):
            folder = root / f"{tool.name}-{tool.key}" / kind
            target = fresh / (tool.recipe.get("folder", kind) if kind == "bin" else kind)
            if folder.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                for item in folder.iterdir():
                    link_item(item, target / item.name)
    shutil.rmtree(into, ignore_errors=True)
    fresh.rename(into)


def link_item(item: Path, at: Path) -> None:
    """Link a folder by name, a program as the same file.

    Pulumi looks for its language host, and that for its scripts, beside the file that
    a symbolic link leads to, which is another folder of the cache.
    """
    if item.is_dir():
        at.symlink_to(item)
        return
    try:
        at.hardlink_to(item)
    except OSError:  # the cache is on another file system
        shutil.copy2(item, at)


def main() -> int:
    """Build, then link; see the module's docstring for the exit status."""
    parser = argparse.ArgumentParser(description="Build the pinned command-line tools (once per user).")
    parser.add_argument("tool", nargs="*", help="build only these (default: all); folder names of toolchain/")
    parser.add_argument("--jobs", type=int, default=2, help="builds at once (default: 2)")
    parser.add_argument("--into", type=Path, default=REPOSITORY / "build" / "tools", help="folder of links to make")
    options = parser.parse_args()
    # A plain Ctrl-C must also end the compilers, which share our process group.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Progress()
    try:
        tools = load_tools(go_version())
        unknown = sorted(set(options.tool) - {tool.name for tool in tools})
        if unknown:
            raise ToolchainError(f"no such tool: {', '.join(unknown)}; known: {', '.join(t.name for t in tools)}")
        wanted = [tool for tool in tools if not options.tool or tool.name in options.tool]
        root = cache_root() / "tools"
        with exclusive(root, progress):
            failed = build_missing(wanted, root, options.jobs, progress)
        if failed:
            raise ToolchainError(f"not built: {', '.join(failed)}. Run the same command again to resume.")
        options.into.parent.mkdir(parents=True, exist_ok=True)
        # All that are built: who asks for one tool does not want the others' links gone.
        link(tools, root, options.into)
    except (ToolchainError, OSError) as error:
        print(f"toolchain: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ntoolchain: interrupted; what is built stays, the next run resumes", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
