"""Run a stack with the real engine over the provider double; what tests of a cloud environment build on.

def test_it(cloud_stack):
    stack = cloud_stack("aws", environment)     # the dictionary under inference-platform:environment
    stack.up()
    assert stack.preview().operations == {}     # nothing left to do
    stack.destroy()
    assert stack.deleted("NodeGroup") < stack.deleted("Cluster")
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from local.layout import REPOSITORY, tool
from local.provider_double import Call, Fault, ProviderDouble, World
from local.provider_double.clouds import Account
from local.provider_double.sdk_types import PACKAGES
from local.pulumi_cli import KUBECONFIG_VARIABLE, Pulumi
from tests.engine.inline_program import InlineProgram

CLOUD_PACKAGES = {"aws": "aws", "azure": "azure-native", "gcp": "gcp"}
UNCHANGED = frozenset({"same", "read"})
WHERE = ("--non-interactive", "-C")
ONLY_AT_THE_END = {
    "PULUMI_EXPERIMENTAL": "true",
    "PULUMI_SKIP_CHECKPOINTS": "true",
    "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
}
"""The state is written once per command. The engine writes it twice per resource, in case that it is killed: half of
the time of a test where it is not."""


class EngineError(AssertionError):
    """A pulumi command failed; the message is all that it printed."""


@dataclass(frozen=True)
class Preview:
    """What `pulumi preview --json` says.

    Attributes:
        steps: as the engine prints them (op, urn, oldState, newState, detailedDiff, replaceReasons, diffReasons).
    """

    steps: list[dict[str, Any]]

    @property
    def changes(self) -> list[dict[str, Any]]:
        """Steps that would change something."""
        return [step for step in self.steps if step["op"] not in UNCHANGED]

    @property
    def operations(self) -> dict[str, list[str]]:
        """Logical names by operation (`create`, `update`, `replace`, `delete`, ...), without what stays the same."""
        found: dict[str, list[str]] = {}
        for step in self.changes:
            found.setdefault(step["op"], []).append(step["urn"].rsplit("::", 1)[1])
        return found

    def of(self, type_: str) -> list[dict[str, Any]]:
        """Planned states of a type (token or its end)."""
        states = [step.get("newState") or step["oldState"] for step in self.steps]
        return [state for state in states if state["type"] == type_ or state["type"].endswith(f":{type_}")]

    def inputs(self, type_: str, name: str) -> dict[str, Any]:
        """Inputs of one planned resource."""
        (found,) = [state for state in self.of(type_) if state["urn"].endswith(f"::{name}")]
        inputs: dict[str, Any] = found["inputs"]
        return inputs

    def diff(self, name: str) -> set[str]:
        """Property paths that would change on a resource."""
        steps = [step for step in self.changes if step["urn"].endswith(f"::{name}")]
        return {path for step in steps for path in step.get("detailedDiff") or step.get("diffReasons") or ()}


class CloudStack:
    """One stack in a folder of its own.

    The repository's program runs in this process (`InlineProgram`), and its state is written at the end of a command;
    any other program runs in a process of its own, and its state is written all the time. ``own_process`` of a command
    runs the repository's program as a user does.

    Args:
        folder: empty folder for state and configuration.
        packages: providers to stand in for.
        environment: the dictionary under `inference-platform:environment`; None if the program reads none.
        program: folder with Pulumi.yaml.
        name: of the stack.
        config: further configuration, by full key (`aws:region`).
        kubeconfig: of a real cluster, for a real Kubernetes provider; None if that is stood in for too.
        account: whose cloud it is.
    """

    def __init__(
        self,
        folder: Path,
        packages: list[str],
        environment: dict[str, Any] | None = None,
        *,
        program: Path = REPOSITORY,
        name: str = "double",
        config: dict[str, Any] | None = None,
        kubeconfig: Path | None = None,
        account: Account | None = None,
    ) -> None:
        self.name = name
        self.world = World(folder / "calls.jsonl")
        self.double = ProviderDouble(packages, self.world, account)
        self._pulumi = Pulumi(
            name, folder / "state", kubeconfig or folder / "kubeconfig", program, folder / f"Pulumi.{name}.yaml"
        )
        inline = {KUBECONFIG_VARIABLE: str(self._pulumi.kubeconfig)}
        self._inline = InlineProgram(program, inline) if program == REPOSITORY else None
        self._config = dict(config or {})
        self.configure(environment)

    def start(self) -> CloudStack:
        """Listen, and make the stack."""
        self.double.__enter__()
        if self._inline:
            self._inline.start()
        self._pulumi.backend.mkdir(parents=True, exist_ok=True)
        self._pulumi.create_stack()
        return self

    def stop(self) -> None:
        """Stop listening."""
        self.double.__exit__(None, None, None)
        if self._inline:
            self._inline.stop()

    def configure(self, environment: dict[str, Any] | None, **more: Any) -> None:
        """Set the configuration; the next command goes by it."""
        self._config.update(more)
        document = {**self._config}
        if environment is not None:
            document["inference-platform:environment"] = environment
        assert self._pulumi.config_file is not None
        self._pulumi.config_file.write_text(yaml.safe_dump({"config": document}))

    # Commands

    @property
    def program(self) -> Path:
        """Folder with Pulumi.yaml."""
        return self._pulumi.program

    def variables(self) -> dict[str, str]:
        """Environment of its commands."""
        return {**self._pulumi.environment(), **self.double.environment()}

    def process(self, *arguments: str, own_process: bool = False, **options: Any) -> subprocess.Popen[str]:
        """Start a pulumi command and do not wait, to kill it for instance."""
        configured = arguments[0] in {"up", "preview", "refresh", "destroy"}
        config = ["--config-file", str(self._pulumi.config_file)] if configured else []
        runs_program = arguments[0] in {"up", "preview"} and not own_process
        inline = self._inline.options if self._inline and runs_program else ()
        command = [tool("pulumi"), *arguments, *inline, "--stack", self._pulumi.stack, *config, *WHERE]
        writing = ONLY_AT_THE_END if self._inline else {}
        return subprocess.Popen(
            [*command, str(self._pulumi.program)],
            env={**self.variables(), **writing},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, *arguments: str, check: bool = True, own_process: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a pulumi command.

        Raises:
            EngineError: it failed and ``check`` is set.
        """
        process = self.process(*arguments, own_process=own_process)
        output, errors = process.communicate()
        if check and process.returncode:
            raise EngineError(f"pulumi {' '.join(arguments)}\n{output[-6000:]}\n{errors[-6000:]}")
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def preview(self, *options: str, own_process: bool = False) -> Preview:
        """`pulumi preview --json`."""
        return Preview(json.loads(self.run("preview", "--json", *options, own_process=own_process).stdout)["steps"])

    def preview_no_changes(self) -> None:
        """A preview that fails if anything would change."""
        self.run("preview", "--expect-no-changes", "--diff")

    def up(self, *options: str) -> list[Call]:
        """`pulumi up`; the calls that changed something."""
        return self._changing("up", "--yes", "--skip-preview", *options)

    def up_fails(self, *options: str) -> str:
        """`pulumi up` that must fail; all that it printed."""
        result = self.run("up", "--yes", "--skip-preview", *options, check=False)
        assert result.returncode != 0, result.stdout
        return result.stdout + result.stderr

    def refresh(self, *options: str) -> list[Call]:
        """`pulumi refresh`."""
        return self._changing("refresh", "--yes", "--skip-preview", *options)

    def destroy(self, *options: str) -> list[Call]:
        """`pulumi destroy`; nothing exists at the simulated cloud afterwards."""
        calls = self._changing("destroy", "--yes", "--skip-preview", *options)
        assert self.world.made() == []
        return calls

    def outputs(self) -> dict[str, Any]:
        """Stack outputs, secrets in the clear."""
        outputs: dict[str, Any] = json.loads(self.run("stack", "output", "--json", "--show-secrets").stdout)
        return outputs

    def resources(self) -> list[dict[str, Any]]:
        """Resources of the stored state, in the order in which they were registered."""
        return self._exported("resources")

    def pending(self) -> list[dict[str, Any]]:
        """Operations that a killed engine left unfinished."""
        return self._exported("pending_operations")

    def _exported(self, key: str) -> list[dict[str, Any]]:
        document = json.loads(self.run("stack", "export").stdout)
        found: list[dict[str, Any]] = document["deployment"].get(key) or []
        return found

    # What happened

    @property
    def calls(self) -> list[Call]:
        """Every call to the double, in order."""
        return self.world.calls

    def deleted(self, type_: str, name: str | None = None) -> int:
        """Position of the last delete of a type: compare two of them for the order of a destroy."""
        return max(call.sequence for call in self._successful("delete", type_, name))

    def created(self, type_: str, name: str | None = None) -> int:
        """Position of the first create of a type."""
        return min(call.sequence for call in self._successful("create", type_, name))

    def fail(self, operation: str, type_: str, name: str | None = None, message: str = "injected fault") -> Fault:
        """Let the next such call fail."""
        return self.world.inject(Fault(operation, type_, name, message))

    def slow(self, operation: str, type_: str, name: str | None = None, delay_s: float = 60.0) -> Fault:
        """Let the next such call wait until its fault is released."""
        return self.world.inject(Fault(operation, type_, name, None, delay_s))

    def _successful(self, operation: str, type_: str, name: str | None) -> list[Call]:
        found = [
            call
            for call in self.world.changes()
            if call.operation == operation
            and (call.type == type_ or call.type.endswith(f":{type_}"))
            and name in {None, call.name}
        ]
        assert found, f"no {operation} of {type_} {name or ''}"
        return found

    def _changing(self, *arguments: str) -> list[Call]:
        before = len(self.world.calls)
        self.run(*arguments)
        return [call for call in self.world.changes() if call.sequence >= before]


def packages_of(cloud: str) -> list[str]:
    """Providers that an environment of a cloud needs."""
    return [*([CLOUD_PACKAGES[cloud]] if cloud in CLOUD_PACKAGES else []), "kubernetes"]


def write_program(folder: Path, source: str) -> Path:
    """A small program in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Pulumi.yaml").write_text("name: small\nruntime: python\n")
    (folder / "__main__.py").write_text(source)
    return folder


def sdk_missing(cloud: str) -> str | None:
    """Why a cloud cannot be tested here; None if it can."""
    package = CLOUD_PACKAGES.get(cloud)
    if package is None or find_spec(PACKAGES[package]):
        return None
    return f"{PACKAGES[package]} is not installed (extra `{cloud}`)"
