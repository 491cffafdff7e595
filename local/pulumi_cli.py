"""The Pulumi engine, as the local environment uses it: own home, own file backend, built tools first.

Nothing of the user's Pulumi (login, plugins, settings) is read or changed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from local.layout import REPOSITORY, TOOLS, ClusterFiles, cache_root, tool

KUBERNETES_PLUGIN_VERSION = "4.25.0"
KUBECONFIG_VARIABLE = "INFERENCE_PLATFORM_KUBECONFIG"
CONFIGURED_COMMANDS = ("up", "preview", "refresh", "destroy", "config")


class PulumiError(Exception):
    """A pulumi command failed; carries its output."""


@dataclass(frozen=True)
class Pulumi:
    """The engine for one stack.

    Attributes:
        stack: name of the stack.
        backend: folder of the file backend.
        kubeconfig: of the cluster that the stack deploys to.
        program: folder with Pulumi.yaml.
        config_file: the stack's configuration; None for Pulumi.<stack>.yaml of the program.
        variables: more of the environment of every command.
    """

    stack: str
    backend: Path
    kubeconfig: Path
    program: Path = REPOSITORY
    config_file: Path | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_cluster(cls, files: ClusterFiles) -> Pulumi:
        """The stack that runs on an embedded cluster and is named like it."""
        stack = files.root.name
        config_file = files.root / f"Pulumi.{stack}.yaml"
        return cls(stack, files.root / "pulumi", files.kubeconfig, config_file=config_file)

    @property
    def home(self) -> Path:
        """Plugins, shared by all stacks."""
        return cache_root() / "pulumi"

    def environment(self) -> dict[str, str]:
        """Environment of every pulumi command."""
        return {
            **without_pulumi(os.environ),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(TOOLS / "bin"), os.environ["PATH"]]),
            "PULUMI_HOME": str(self.home),
            # Without metadata files: one that a killed engine has left empty makes the state beside it unreadable.
            "PULUMI_BACKEND_URL": f"{self.backend.as_uri()}?metadata=skip",
            # No secret of worth is in a throw-away environment on this machine; real ones use a real provider.
            "PULUMI_CONFIG_PASSPHRASE": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # Python packages of all clouds may be installed here, and the engine would fetch each one's plugin,
            # hundreds of megabytes, or try five times where it cannot. The one that is used is among the tools.
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            # The program is compiled once, not at every run, and not into the user's folder.
            "PYTHONPYCACHEPREFIX": str(cache_root() / "bytecode"),
            KUBECONFIG_VARIABLE: str(self.kubeconfig),
            **self.variables,
        }

    def run(
        self, *arguments: str, capture: bool = True, check: bool = True, timeout_seconds: float | None = None
    ) -> str:
        """Run one command; its standard output if captured.

        Raises:
            PulumiError: it failed and ``check`` is set, or it took longer than ``timeout_seconds`` and was ended;
                `clear_after_crash` then ends what it had started.
        """
        configured = self.config_file and arguments[0] in CONFIGURED_COMMANDS
        config = ["--config-file", str(self.config_file)] if configured else []
        # A person gets Pulumi's live tree; a log gets one line per event.
        live = not capture and sys.stdout.isatty()
        display = [] if live else ["--non-interactive"]
        # The Kubernetes provider writes the kubeconfig, with its key, to a file for temporary ones and leaves it there.
        with tempfile.TemporaryDirectory(prefix="ip-pulumi-", ignore_cleanup_errors=True) as scratch:
            command = [tool("pulumi"), *arguments, *config, *display, "-C", str(self.program)]
            result = self._finished(command, {"TMPDIR": scratch}, capture, timeout_seconds)
        if check and result.returncode:
            raise PulumiError(f"pulumi {arguments[0]} failed\n{result.stdout or ''}{result.stderr or ''}".rstrip())
        return result.stdout or ""

    def _finished(
        self, command: list[str], variables: Mapping[str, str], capture: bool, timeout_seconds: float | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        output = subprocess.PIPE if capture else None
        try:
            return subprocess.run(
                command,
                env={**self.environment(), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                check=False,
                timeout=timeout_seconds,
            )
        except subprocess.TimeoutExpired:
            raise PulumiError(f"pulumi {command[1]} has not ended after {timeout_seconds:.0f} s") from None

    def prepare(self) -> None:
        """Install the provider once and make the stack if it is not there."""
        self.backend.mkdir(parents=True, exist_ok=True)
        self.copy_configuration()
        plugin = self.home / "plugins" / f"resource-kubernetes-v{KUBERNETES_PLUGIN_VERSION}"
        if not plugin.exists():
            # A plugin that is merely on PATH draws a warning on every run.
            source = str(TOOLS / "plugins" / "pulumi-resource-kubernetes")
            self.run("plugin", "install", "resource", "kubernetes", KUBERNETES_PLUGIN_VERSION, "--file", source)
        if not self.exists():
            self.create_stack()

    def create_stack(self) -> None:
        """Make the stack, from a copy of Pulumi.yaml: the engine writes a file beside the one that it finds."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(self.program / "Pulumi.yaml", folder)
            elsewhere = replace(self, program=Path(folder), config_file=None)
            elsewhere.run("stack", "init", self.stack, "--secrets-provider", "passphrase", "--no-select")

    def copy_configuration(self) -> None:
        """Refresh our copy of Pulumi.<stack>.yaml: the engine writes into the file that it is given."""
        source = self.program / f"Pulumi.{self.stack}.yaml"
        if self.config_file in (None, source) or not source.exists():
            return
        salt = []
        if self.config_file.exists():
            salt = [line for line in self.config_file.read_text().splitlines() if line.startswith("encryptionsalt:")]
        self.config_file.write_text("\n".join([source.read_text(), *salt]) + "\n")

    def exists(self) -> bool:
        """Whether the backend knows the stack."""
        # A backup (.bak) stays behind when a stack is removed.
        return any(self.backend.glob(f".pulumi/stacks/*/{self.stack}.json"))

    def clear_after_crash(self) -> None:
        """End what a killed run left, and take its lock away; only for a caller that excludes other runs.

        An engine that is killed cannot end its provider and its program, which it started in process
        groups of their own. They are known by their environment, which they have from us.
        """
        mark = f"{KUBECONFIG_VARIABLE}={self.kubeconfig}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                ours = mark in (process / "environ").read_bytes().split(b"\0")
                if ours and b"pulumi" in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
        if any(self.backend.glob(f".pulumi/locks/**/{self.stack}/*.json")):
            self.run("cancel", "--yes", "--stack", self.stack, check=False)

    def forget(self) -> None:
        """Drop the stack's state: the cluster that it described is gone."""
        if self.exists():
            self.run("stack", "rm", self.stack, "--yes", "--force", "--preserve-config")


def without_pulumi(environment: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without settings meant for another engine or cluster."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PULUMI_") and name not in {"KUBECONFIG", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}
    }
