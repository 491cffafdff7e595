"""A fresh clone of this repository with a stack of its own, as a user's CI has it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from local.layout import REPOSITORY
from local.pulumi_cli import Pulumi

STACK = "dev"


@dataclass(frozen=True)
class Clone:
    """A fresh clone with a stack `dev`, whose state is beside it.

    Attributes:
        folder: of the clone.
        variables: environment of its commands.
    """

    folder: Path
    variables: dict[str, str]

    @classmethod
    def make(cls, folder: Path, kubeconfig: Path) -> Clone:
        """Clone into an empty folder.

        Args:
            folder: it and the state are put here.
            kubeconfig: of the stack's cluster.
        """
        clone = folder / "clone"
        subprocess.run(["git", "clone", "--quiet", "--shared", str(REPOSITORY), str(clone)], check=True)
        (clone / "build").symlink_to(REPOSITORY / "build")
        pulumi = Pulumi(STACK, folder / "state", kubeconfig, program=clone)
        pulumi.prepare()
        folders = (str(Path(sys.executable).parent), str(REPOSITORY / "build" / "tools" / "bin"))
        path = os.pathsep.join([*folders, os.environ["PATH"]])
        return cls(clone, {**pulumi.environment(), "PATH": path})

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a step; its status and what it printed."""
        return subprocess.run(
            words, cwd=self.folder, env=self.variables, capture_output=True, text=True, check=False, timeout=300
        )

    def result(self, name: str) -> str:
        """A file that a step has written."""
        return (self.folder / "ci-output" / name).read_text()

    @property
    def stack_file(self) -> Path:
        """The stack's file."""
        return self.folder / f"Pulumi.{STACK}.yaml"

    def describe(self, environment: dict[str, Any]) -> None:
        """Let the stack be another environment."""
        self.stack_file.write_text(yaml.safe_dump({"config": {"inference-platform:environment": environment}}))

    def change_pools(self, **values: object) -> None:
        """Change the node pools, as a pull request does."""
        environment = yaml.safe_load(self.stack_file.read_text())["config"]["inference-platform:environment"]
        for pool in environment["node_pools"]:
            pool.update(values)
        self.describe(environment)
