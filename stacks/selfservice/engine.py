"""The engine on one environment, by Pulumi's Automation API; what a killed run left is cleared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pulumi import automation
from pulumi.automation import events

from stacks.config.load import ENVIRONMENT_KEY
from stacks.selfservice.exits import CommandError, Exit
from stacks.selfservice.workspace import Environment, replace_file
from toolchain.build import cache_root

REPOSITORY: Final = Path(__file__).resolve().parents[2]
BUILT_TOOLS: Final = REPOSITORY / "build" / "tools"
POLICY_PACK: Final = REPOSITORY / "policy"
MARK: Final = "INFERENCE_PLATFORM_RUN"
"""Environment variable of every process of a run: its value is the environment's folder."""

GRACE_SECONDS: Final = 20.0
"""What an engine that was left behind gets to write its state."""

OnEvent = Callable[[events.EngineEvent], None]


@dataclass(frozen=True)
class Done:
    """What a run came to.

    Attributes:
        changes: how many resources per operation (create, update, same, ...).
        outputs: of the stack; a secret is None.
    """

    changes: Mapping[str, int]
    outputs: Mapping[str, Any]


@dataclass(frozen=True)
class Engine:
    """Runs Pulumi on one environment; the caller holds the environment's lock.

    Attributes:
        environment: whose folder it works in.
        config: the dictionary under `inference-platform:environment`.
        policies: level of the policies: `dev`, `prod`, a file of levels, or `none`.
    """

    environment: Environment
    config: Mapping[str, Any]
    policies: str = "none"

    def preview(self, on_event: OnEvent) -> Done:
        """What would change; nothing does."""
        with self._errors():
            result = self._stack().preview(on_event=on_event, on_output=_quiet, **self._pack())
        return Done(counts(result.change_summary), {})

    def up(self, on_event: OnEvent) -> Done:
        """Make it so.

        Where a policy may refuse, a preview comes first: in a deployment policies see a resource just before it is
        made, and those about the whole stack come last.
        """
        self.recover()
        with self._errors():
            stack = self._stack()
            if self._may_refuse():
                stack.preview(on_event=lambda event: _notes(event, on_event), on_output=_quiet, **self._pack())
            result = stack.up(on_event=on_event, on_output=_quiet, suppress_progress=True, **self._pack())
        return Done(counts(result.summary.resource_changes), shown(result.outputs))

    def destroy(self, on_event: OnEvent) -> Done:
        """Remove everything, and forget the stack."""
        self.recover()
        with self._errors():
            stack = self._stack()
            result = stack.destroy(on_event=on_event, on_output=_quiet, suppress_progress=True, remove=True)
        return Done(counts(result.summary.resource_changes), {})

    def outputs(self, *, secrets: bool = False) -> dict[str, Any]:
        """Outputs of the stack; without ``secrets`` a secret is None."""
        with self._errors():
            return shown(self._stack().outputs(), secrets=secrets)

    def history(self) -> list[dict[str, Any]]:
        """Runs, the latest first."""
        with self._errors():
            found = self._stack().history(page_size=100, show_secrets=False)
        return [
            {
                # Backends of files give no numbers.
                "version": item.version or len(found) - index,
                "kind": item.kind,
                "result": item.result,
                "started": _iso(item.start_time),
                "ended": _iso(item.end_time),
                "changes": counts(item.resource_changes),
            }
            for index, item in enumerate(found)
        ]

    def recover(self) -> bool:
        """Clear what a run left that was killed; True if there was something.

        Its engine may live on: it is asked to end, so that it writes what it has done, and killed if it does not. What
        it had begun and not finished is read back from the cluster, so that the next run knows of it.
        """
        left = list(processes_of(self.environment))
        for pid in left:
            _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while any(_alive(pid) for pid in left) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            _signal(pid, signal.SIGKILL)
        self._drop_broken_metadata()
        if not self._locks():
            return bool(left)
        with self._errors():
            stack = self._stack()
            stack.cancel()
            stack.refresh(on_output=_quiet, clear_pending_creates=True)
        return True

    def exists(self) -> bool:
        """Whether a file backend knows the stack; True where it cannot be seen."""
        folder = self.environment.workspace.state_folder
        return folder is None or any((folder / ".pulumi" / "stacks").glob(f"*/{self.environment.name}.json"))

    def _drop_broken_metadata(self) -> None:
        """Remove metadata of state files that an engine was killed while writing; it holds nothing that is needed.

        The file backend writes `STATE.json.attrs` in place, and refuses a state file whose metadata is cut short
        (gocloud.dev v0.37 `blob/fileblob/attrs.go`). Ours writes none; a backend that was named may.
        """
        folder = self.environment.workspace.state_folder
        for path in (folder / ".pulumi").glob(f"**/{self.environment.name}.json*.attrs") if folder else ():
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                path.unlink()

    def _locks(self) -> list[Path]:
        folder = self.environment.workspace.state_folder
        return list((folder / ".pulumi" / "locks").glob(f"**/{self.environment.name}/*.json")) if folder else []

    def _stack(self) -> automation.Stack:
        variables = self.variables()
        self.write_work()
        folder = self.environment.workspace.state_folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        options = automation.LocalWorkspaceOptions(
            work_dir=str(self.environment.work),
            pulumi_home=variables["PULUMI_HOME"],
            env_vars=variables,
            secrets_provider="passphrase" if folder else None,
            pulumi_command=automation.PulumiCommand(str(_tool_folder())) if _tool_folder() else None,
        )
        install_kubernetes(Path(variables["PULUMI_HOME"]))
        return automation.create_or_select_stack(self.environment.name, work_dir=options.work_dir, opts=options)

    def write_work(self) -> None:
        """Write the folder that the engine is run in: the project, whose program is this repository's."""
        work = self.environment.work
        work.mkdir(parents=True, exist_ok=True)
        project = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text(encoding="utf-8"))
        project["main"] = str(REPOSITORY)
        replace_file(work / "Pulumi.yaml", yaml.safe_dump(project, sort_keys=False))
        path = work / f"Pulumi.{self.environment.name}.yaml"
        # The engine keeps its salt and its key in this file.
        settings = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}
        settings["config"] = {**(settings.get("config") or {}), ENVIRONMENT_KEY: dict(self.config)}
        replace_file(path, yaml.safe_dump(settings, sort_keys=False))

    def variables(self) -> dict[str, str]:
        """Environment variables of the engine; nothing of the user's own Pulumi login is read or changed."""
        import sys

        folders = [str(Path(sys.executable).parent), *([str(BUILT_TOOLS / "bin")] if _tool_folder() else [])]
        home = os.environ.get("INFERENCE_PLATFORM_PULUMI_HOME") or str(cache_root() / "pulumi")
        return {
            "PATH": os.pathsep.join([*folders, os.environ.get("PATH", "")]),
            "PULUMI_HOME": home,
            "PULUMI_BACKEND_URL": self.environment.workspace.backend,
            "PULUMI_CONFIG_PASSPHRASE": os.environ.get("PULUMI_CONFIG_PASSPHRASE", ""),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # The program and the policies are compiled once, not at every run, whatever the user's shell says.
            "PYTHONPYCACHEPREFIX": str(cache_root() / "bytecode"),
            "PYTHONDONTWRITEBYTECODE": "",
            MARK: str(self.environment.folder),
        }

    def _may_refuse(self) -> bool:
        return self.policies != "none" and "mandatory" in self._levels().read_text(encoding="utf-8")

    def _levels(self) -> Path:
        levels = POLICY_PACK / "levels" / f"{self.policies}.json"
        levels = levels if levels.is_file() else Path(self.policies).absolute()
        if not levels.is_file():
            raise CommandError(f"there are no policy levels {self.policies!r}: give dev, prod, none or a file")
        return levels

    def _pack(self) -> dict[str, Any]:
        if self.policies == "none":
            return {}
        levels = self._levels()
        if not (REPOSITORY / "build" / "policy-venv").exists():
            raise CommandError(
                "the policies have packages of their own: run `make policy-venv`, or use --policies none"
            )
        return {"policy_packs": [str(POLICY_PACK)], "policy_pack_configs": [str(levels)]}

    @staticmethod
    def _errors() -> _Errors:
        return _Errors()


class _Errors:
    """Turns what the engine says into one message without a traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, automation.ConcurrentUpdateError):
            raise CommandError(
                "another engine works on this stack: it was not started by these commands. `pulumi cancel` takes its "
                "lock away if it is gone",
                Exit.BUSY,
            ) from None
        if isinstance(error, automation.CommandError):
            text = str(error)
            raise CommandError(essence(text), Exit.POLICY if "[mandatory]" in text else Exit.ENGINE) from None


SECTION: Final = re.compile(r"^(Policies|Diagnostics|Outputs|Resources|Duration):", re.MULTILINE)


NOISE: Final = ("@ ", " stderr:", " stdout:", " code:")


def essence(output: str) -> str:
    """What a person needs of a failed run's output: what policies and resources say, without tree and outputs."""
    heads = list(SECTION.finditer(output))
    ends = [*(head.start() for head in heads[1:]), len(output)]
    sections = {head[1]: output[head.start() : end] for head, end in zip(heads, ends, strict=False)}
    policies = sections.get("Policies", "")
    text = (policies if "- [" in policies else "") + "\n" + sections.get("Diagnostics", "")
    if not text.strip():
        # It never began.
        text = output[max(output.find("error:"), 0) :]
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith(NOISE))


def _notes(event: events.EngineEvent, on_event: OnEvent) -> None:
    """Of a preview that only asks the policies, what they and the resources say."""
    if event.policy_event or event.diagnostic_event:
        on_event(event)


def counts(changes: Mapping[Any, int] | None) -> dict[str, int]:
    """How many resources per operation, by its word."""
    return {str(getattr(operation, "value", operation)): count for operation, count in (changes or {}).items()}


def shown(outputs: Mapping[str, automation.OutputValue], *, secrets: bool = False) -> dict[str, Any]:
    """Outputs as plain values; a secret only if asked for."""
    return {name: item.value if secrets or not item.secret else None for name, item in outputs.items()}


def processes_of(environment: Environment) -> Iterator[int]:
    """Engines, providers and programs that a run of this environment has left; they carry its mark."""
    mark = f"{MARK}={environment.folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        try:
            ours = mark in (process / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if ours:
            yield int(process.name)


def install_kubernetes(home: Path) -> None:
    """Put the built provider where the engine looks; without one the engine downloads its own."""
    from importlib.metadata import version

    wanted = version("pulumi-kubernetes")
    built = BUILT_TOOLS / "plugins" / "pulumi-resource-kubernetes"
    folder = home / "plugins" / f"resource-kubernetes-v{wanted}"
    if folder.exists() or not built.exists():
        return
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    beside.mkdir(parents=True)
    shutil.copy2(built, beside / built.name)
    try:
        beside.rename(folder)
    except OSError:
        # Another command was quicker.
        shutil.rmtree(beside)


def _tool_folder() -> Path | None:
    """Folder above `bin/pulumi` of the tools that `make tools` has built; None: the user's own Pulumi is used."""
    return BUILT_TOOLS if (BUILT_TOOLS / "bin" / "pulumi").exists() else None


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _alive(pid: int) -> bool:
    try:
        # A zombie has ended; nobody may be there to read its status.
        return "\nState:\tZ" not in (Path("/proc") / str(pid) / "status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _iso(moment: Any) -> str:  # noqa: ANN401 - a datetime, or a text in older versions
    return moment.isoformat(timespec="seconds") if hasattr(moment, "isoformat") else str(moment or "")


def _quiet(_: str) -> None:
    """The events say it better."""
