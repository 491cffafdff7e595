"""What the commands do: order, deploy, pause, destroy, reap. No printing here, and no command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stacks.selfservice.catalog import Catalog
from stacks.selfservice.exits import CommandError, Exit
from stacks.selfservice.orders import Order, Rendered, render
from stacks.selfservice.progress import Progress
from stacks.selfservice.workspace import Environment, Record, Say, Workspace, now

if TYPE_CHECKING:
    from stacks.selfservice.engine import Engine

StartProgress = Callable[[str], Progress]


@dataclass(frozen=True)
class Work:
    """What every operation needs.

    Attributes:
        workspace: where environments are.
        catalog: what teams may choose.
        say: told what a person should know at once.
        progress: makes the view of an operation.
        wait: whether to queue where an environment is busy.
    """

    workspace: Workspace
    catalog: Catalog
    say: Say
    progress: StartProgress
    wait: bool = True

    def order(self, order: Order, *, at: datetime | None = None) -> tuple[Environment, Rendered]:
        """Take an order: check it against template and budget, and write it down; nothing is deployed.

        Raises:
            CommandError: it is refused, or the name is taken.
        """
        rendered = render(order, self.catalog)
        template = self.catalog.template(order.template)
        environment = Environment(self.workspace, order.name)
        with self.workspace.ordering():
            if (environment.folder / "order.yaml").exists():
                raise CommandError(f"there is an environment {order.name!r} already, of team {environment.order.team}")
            self._refuse_over_budget(order, rendered)
            created = at or now()
            environment.write(
                order,
                Record(
                    created=created.isoformat(),
                    expires=(created + timedelta(hours=rendered.ttl_hours)).isoformat(),
                    grace_hours=template.grace_hours,
                    dollars_per_hour=rendered.dollars_per_hour,
                    policies=template.policies,
                ),
            )
        return environment, rendered

    def _refuse_over_budget(self, order: Order, rendered: Rendered) -> None:
        team = self.catalog.team(order.team)
        others = [item for item in self.workspace.environments() if item.order.team == order.team]
        if len(others) >= team.max_environments:
            raise CommandError(
                f"{order.name} is refused: team {order.team} has {len(others)} environments and may have "
                f"{team.max_environments}. Destroy one first.",
                Exit.REFUSED,
            )
        spent = sum(item.record.dollars_per_hour for item in others)
        if spent + rendered.dollars_per_hour > team.dollars_per_hour:
            raise CommandError(
                f"{order.name} is refused: it may cost ${rendered.dollars_per_hour:.2f} per hour, and team "
                f"{order.team} has ${team.dollars_per_hour - spent:.2f} left of ${team.dollars_per_hour:.2f}. "
                "Order fewer replicas, or destroy an environment.",
                Exit.REFUSED,
            )

    def config(self, environment: Environment) -> dict[str, Any]:
        """What the engine is given: the order rendered anew, so that a change of the template arrives."""
        rendered = render(environment.order, self.catalog)
        return {**rendered.environment, **({"paused": True} if environment.record.paused else {})}

    def preview(self, environment: Environment, policies: str | None = None) -> dict[str, Any]:
        """What would change."""
        engine = self._engine(environment, policies)
        with environment.alone("preview", self.say, wait=self.wait), self.workspace.slot(self.say):
            engine.recover()
            with self.progress(f"preview {environment.name}") as progress:
                done = engine.preview(progress)
        return {"environment": environment.name, "changes": dict(done.changes), "policies": progress.policies}

    def up(self, environment: Environment, policies: str | None = None) -> dict[str, Any]:
        """Deploy."""
        with environment.alone("up", self.say, wait=self.wait), self.workspace.slot(self.say):
            return self._deploy(environment, "up", policies)

    def _deploy(self, environment: Environment, operation: str, policies: str | None = None) -> dict[str, Any]:
        engine = self._engine(environment, policies)
        with self.progress(f"{operation} {environment.name}") as progress:
            done = engine.up(progress)
        environment.change(ready=now().isoformat())
        outputs = {name: value for name, value in done.outputs.items() if name != "plan"}
        return {
            "environment": environment.name,
            "changes": dict(done.changes),
            "outputs": outputs,
            "policies": progress.policies,
        }

    def pause(self, environment: Environment) -> dict[str, Any]:
        """All models to zero, whatever is asked of them."""
        with environment.alone("pause", self.say, wait=self.wait), self.workspace.slot(self.say):
            self._deployed(environment)
            return self._pause(environment, "team", now())

    def _pause(self, environment: Environment, by: str, at: datetime) -> dict[str, Any]:
        if not environment.record.paused:
            environment.change(paused=at.isoformat(), paused_by=by)
        if not environment.record.ready:
            # Ordered and never deployed: to deploy it now would make what nobody wants.
            return {"environment": environment.name, "changes": {}}
        return self._deploy(environment, "pause")

    def resume(self, environment: Environment, ttl_hours: float | None = None) -> dict[str, Any]:
        """Let models scale again; one that had expired lives anew for its template's time."""
        with environment.alone("resume", self.say, wait=self.wait), self.workspace.slot(self.say):
            self._deployed(environment)
            record = environment.record
            if record.paused_by == "reap" or ttl_hours:
                hours = ttl_hours or render(environment.order, self.catalog).ttl_hours
                record = replace(record, expires=(now() + timedelta(hours=hours)).isoformat())
            environment.write(record=replace(record, paused="", paused_by=""))
            return self._deploy(environment, "resume")

    def destroy(self, environment: Environment) -> dict[str, Any]:
        """Remove all of it, the order too."""
        with environment.alone("destroy", self.say, wait=self.wait), self.workspace.slot(self.say):
            return self._destroy(environment)

    def _destroy(self, environment: Environment) -> dict[str, Any]:
        engine = self._engine(environment, "none")
        changes: dict[str, int] = {}
        if engine.exists():
            with self.progress(f"destroy {environment.name}") as progress:
                changes = dict(engine.destroy(progress).changes)
        shutil.rmtree(environment.folder)
        return {"environment": environment.name, "changes": changes}

    def outputs(self, environment: Environment, *, secrets: bool = False) -> dict[str, Any]:
        """Outputs of the last deployment."""
        engine = self._engine(environment, "none")
        self._deployed(environment)
        return engine.outputs(secrets=secrets)

    def history(self, environment: Environment) -> list[dict[str, Any]]:
        """Runs, the latest first."""
        engine = self._engine(environment, "none")
        self._deployed(environment)
        return engine.history()

    @staticmethod
    def _deployed(environment: Environment) -> None:
        if not environment.record.ready:
            raise CommandError(f"{environment.name} has not been deployed: python -m stacks up {environment.name}")

    def states(self, environment: Environment) -> list[dict[str, Any]]:
        """Planned resources of the whole environment, as against an empty cluster; nothing is changed anywhere."""
        with tempfile.TemporaryDirectory() as folder:
            elsewhere = Environment(Workspace(Path(folder), own_state=True), environment.name)
            elsewhere.write(environment.order, environment.record)
            engine = self._engine(elsewhere, "none", self.config(environment))
            return planned(engine)

    def reap(self, at: datetime | None = None) -> Iterator[dict[str, Any]]:
        """Pause what has expired, destroy what is paused for longer than its grace; one result each as it is done."""
        moment = at or now()
        for environment in self.workspace.environments():
            try:
                result = self._reap(environment, moment)
            except CommandError as error:
                # One that fails must not keep the others alive.
                result = {"action": "failed", "error": str(error), "code": int(error.code)}
            if result is not None:
                yield {"environment": environment.name, **result}

    def _reap(self, environment: Environment, moment: datetime) -> dict[str, Any] | None:
        if _due(environment.record, moment) is None:
            return None
        with environment.alone("reap", self.say, wait=self.wait), self.workspace.slot(self.say):
            # Looked at again: its team may have resumed it while this waited.
            record = environment.record
            due = _due(record, moment)
            if due == "paused":
                return {"action": due, "expired": record.expires, **self._pause(environment, "reap", moment)}
            if due == "destroyed":
                return {"action": due, "expired": record.expires, **self._destroy(environment)}
        return None

    def _engine(self, environment: Environment, policies: str | None, config: dict[str, Any] | None = None) -> Engine:
        from stacks.selfservice.engine import Engine

        chosen = policies or environment.record.policies
        return Engine(environment, self.config(environment) if config is None else config, chosen)


def _due(record: Record, moment: datetime) -> str | None:
    """What `reap` does with an environment; None: nothing."""
    if not record.expired(moment):
        return None
    if not record.paused:
        return "paused"
    return "destroyed" if record.overdue(moment) else None


def planned(engine: Engine) -> list[dict[str, Any]]:
    """`newState` of each step of a preview against an empty state."""
    from stacks.selfservice.engine import BUILT_TOOLS, install_kubernetes

    engine.write_work()
    variables = {**_outer(), **engine.variables()}
    install_kubernetes(Path(variables["PULUMI_HOME"]))
    folder = engine.environment.workspace.state_folder
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    program = str(BUILT_TOOLS / "bin" / "pulumi") if (BUILT_TOOLS / "bin" / "pulumi").exists() else "pulumi"

    def run(*words: str) -> str:
        done = subprocess.run(
            [
                program,
                *words,
                "--non-interactive",
                "--stack",
                engine.environment.name,
                "-C",
                str(engine.environment.work),
            ],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise CommandError(f"{done.stdout}{done.stderr}".strip(), Exit.ENGINE)
        return done.stdout

    run("stack", "init", "--secrets-provider", "passphrase")
    steps = json.loads(run("preview", "--json"))["steps"]
    return [step["newState"] for step in steps if step.get("newState")]


def _outer() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
