"""Orders: what a template and a budget allow, and the environment that comes of one.

Nothing is deployed; the local tests do that.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from stacks.cli import app
from stacks.selfservice.catalog import HERE, load_catalog
from stacks.selfservice.exits import CommandError, Exit
from stacks.selfservice.operations import Work
from stacks.selfservice.orders import check_order, hours, render
from stacks.selfservice.progress import Progress
from stacks.selfservice.workspace import Environment, Record, Workspace

pytestmark = pytest.mark.unit

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
TEMPLATE: dict[str, Any] = {
    "description": "small",
    "environment": {
        "cloud": "aws",
        "serving_stack": "manifests",
        "node_pools": [{"name": "l4", "instance_type": "g6.xlarge", "max_nodes": 2}],
    },
    "node_pool": "l4",
    "choices": {"models": ["meta-llama/*"], "max_models": 1, "max_replicas": 2, "regions": ["eu-west-1"]},
    "quota": {"gpus": 2},
    "dollars_per_hour": 2.5,
    "ttl_hours": 48,
}
SHARED = {
    **TEMPLATE,
    "environment": {
        "cloud": "existing",
        "serving_stack": "manifests",
        "existing": {"kubeconfig": "/nowhere", "provides": ["device-plugin", "prometheus", "keda", "keda-http-add-on"]},
        "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "max_nodes": 8}],
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A catalogue of two templates and two teams."""
    catalog = tmp_path / "catalog"
    (catalog / "templates").mkdir(parents=True)
    (catalog / "templates" / "shared.yaml").write_text(yaml.safe_dump(SHARED))
    (catalog / "templates" / "whole.yaml").write_text(yaml.safe_dump(TEMPLATE))
    teams = {"a": {"dollars_per_hour": 3, "max_environments": 2}, "b": {"dollars_per_hour": 9, "max_environments": 1}}
    teams["b"]["templates"] = ["shared"]  # type: ignore[assignment]
    (catalog / "teams.yaml").write_text(yaml.safe_dump(teams))
    return catalog


@pytest.fixture
def work(folder: Path, tmp_path: Path) -> Work:
    return Work(Workspace(tmp_path / "ws"), load_catalog(folder), print, lambda name: Progress(name, None))


def order(name: str = "e", team: str = "a", template: str = "shared", **changes: Any) -> dict[str, Any]:
    model = {"name": "chat", "model": LLAMA, **changes.pop("model", {})}
    return {"name": name, "team": team, "template": template, "models": [model], **changes}


def test_a_shared_environment_costs_what_its_replicas_take(work: Work) -> None:
    rendered = render(check_order(order(model={"max_replicas": 2}), "test"), work.catalog)
    assert rendered.dollars_per_hour == pytest.approx(2 * 4.6016 / 4, rel=1e-3)
    assert rendered.environment["tags"] == {"owner": "a"}
    assert rendered.environment["tenancy"] == {"quota": {"gpus": 2}}
    assert rendered.environment["model_deployments"][0]["scaling"] == {"min_replicas": 0, "max_replicas": 2}


def test_a_whole_cluster_costs_its_pools_at_their_largest(work: Work) -> None:
    if "aws" not in __import__("components.clouds", fromlist=["CLOUDS"]).CLOUDS:
        pytest.skip("cloud aws is not built")
    rendered = render(check_order(order(template="whole", region="eu-west-1"), "test"), work.catalog)
    assert rendered.dollars_per_hour == pytest.approx(2 * 0.8048, rel=0.2)
    assert rendered.environment["region"] == "eu-west-1"


def test_everything_beyond_the_template_is_said_at_once(work: Work) -> None:
    wanted = order(team="b", template="whole", region="us-east-1", ttl="3d")
    wanted["models"] = [
        {"name": "one", "model": "acme/x", "max_replicas": 3, "min_replicas": 1},
        {"name": "two", "model": LLAMA},
    ]
    with pytest.raises(CommandError) as refused:
        render(check_order(wanted, "test"), work.catalog)
    assert refused.value.code is Exit.REFUSED
    assert str(refused.value).splitlines() == [
        "e is refused:",
        "  models: 2 are ordered, 1 are allowed",
        "  models.one: acme/x is not one of meta-llama/*",
        "  models.one.max_replicas: 3 is above 2",
        "  models.one.min_replicas: 1; an idle model goes to zero here",
        "  region: us-east-1 is not one of eu-west-1",
        "  ttl: 3d is longer than 48 hours",
        "  team b may order shared, not whole",
    ]


def test_the_third_of_a_team_is_refused_and_nothing_is_written(work: Work) -> None:
    for name in ("one", "two"):
        work.order(check_order(order(name), "test"))
    with pytest.raises(CommandError, match="has 2 environments and may have 2") as refused:
        work.order(check_order(order("three"), "test"))
    assert refused.value.code is Exit.REFUSED
    assert [item.name for item in work.workspace.environments()] == ["one", "two"]


def test_a_budget_is_for_all_environments_of_a_team(work: Work) -> None:
    work.order(check_order(order("one", model={"max_replicas": 1}), "test"))
    with pytest.raises(
        CommandError, match=r"two is refused: it may cost \$2\.30 per hour, and team a has \$1\.85 left of"
    ):
        work.order(check_order(order("two", model={"max_replicas": 2}), "test"))


START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the engine is asked for, in order; it is stood in for."""
    asked: list[tuple[str, str]] = []

    def deploy(_: Work, environment: Environment, operation: str, __: str | None = None) -> dict[str, Any]:
        asked.append((operation, environment.name))
        environment.change(ready=START.isoformat())
        return {"changes": {}}

    def destroy(_: Work, environment: Environment) -> dict[str, Any]:
        asked.append(("destroy", environment.name))
        shutil.rmtree(environment.folder)
        return {"changes": {}}

    monkeypatch.setattr(Work, "_deploy", deploy)
    monkeypatch.setattr(Work, "_destroy", destroy)
    return asked


def reap(work: Work, hours_later: float) -> list[tuple[str, str]]:
    found = work.reap(START + timedelta(hours=hours_later))
    return [(row["environment"], row["action"]) for row in found]


def test_an_expired_environment_is_paused_and_destroyed_after_its_grace(
    work: Work, done: list[tuple[str, str]]
) -> None:
    for name, ttl in (("short", "1h"), ("long", "2d")):
        work.up(work.order(check_order(order(name, ttl=ttl), "test"), at=START)[0])
    done.clear()
    assert reap(work, 0) == []
    assert reap(work, 2) == [("short", "paused")]
    assert reap(work, 20) == []
    assert reap(work, 26) == [("short", "destroyed")]
    assert done == [("pause", "short"), ("destroy", "short")]


def test_what_its_team_has_paused_long_ago_gets_its_whole_grace(work: Work, done: list[tuple[str, str]]) -> None:
    environment, _ = work.order(check_order(order(ttl="2d"), "test"), at=START)
    work.up(environment)
    environment.change(paused=START.isoformat(), paused_by="team")
    assert reap(work, 47) == []
    assert reap(work, 49) == []
    assert reap(work, 73) == [("e", "destroyed")]
    assert done[-1] == ("destroy", "e")


def test_what_was_never_deployed_is_not_deployed_to_be_paused(work: Work, done: list[tuple[str, str]]) -> None:
    environment, _ = work.order(check_order(order(ttl="1h"), "test"), at=START)
    assert reap(work, 2) == [("e", "paused")]
    assert done == []
    with pytest.raises(CommandError, match="has not been deployed"):
        work.pause(environment)
    assert reap(work, 27) == [("e", "destroyed")]


def test_what_was_resumed_while_reap_waited_is_left_alone(work: Work, done: list[tuple[str, str]]) -> None:
    environment, _ = work.order(check_order(order(ttl="1h"), "test"), at=START)
    work.up(environment)
    reap(work, 2)
    done.clear()
    found: list[list[tuple[str, str]]] = []
    waiting = threading.Thread(target=lambda: found.append(reap(replace(work, say=said.append), 27)))
    said: list[str] = []
    with environment.alone("resume", work.say):
        waiting.start()
        deadline = time.monotonic() + 10
        while not said:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        environment.change(paused="", paused_by="", expires=(START + timedelta(days=9)).isoformat())
    waiting.join(10)
    assert found == [[]]
    assert done == []


def test_one_that_cannot_be_read_does_not_keep_the_others_alive(work: Work, done: list[tuple[str, str]]) -> None:
    for name in ("a1", "b2"):
        work.up(work.order(check_order(order(name, ttl="1h"), "test"), at=START)[0])
    (work.workspace.root / "a1" / "record.json").write_text("{")
    assert reap(work, 2) == [("a1", "failed"), ("b2", "paused")]
    assert ("pause", "b2") in done


def test_a_record_of_a_newer_version_is_read(work: Work) -> None:
    environment, _ = work.order(check_order(order(), "test"))
    path = environment.folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "colour": "blue"}))
    assert isinstance(environment.record, Record)


@pytest.mark.parametrize(("text", "expected"), [("12h", 12), ("5d", 120), ("2w", 336)])
def test_durations(text: str, expected: float) -> None:
    assert hours(text) == expected


# The catalogue


def test_the_catalogue_of_this_repository_is_valid_and_can_be_ordered_from() -> None:
    catalog = load_catalog(HERE)
    for name in catalog.templates:
        team = next(key for key, row in catalog.teams.items() if not row.templates or name in row.templates)
        render(check_order(order(team=team, template=name), "test"), catalog)


def test_mistakes_of_a_catalogue_name_file_and_field(folder: Path) -> None:
    (folder / "templates" / "shared.yaml").write_text("description: x\ncolour: blue\n")
    with pytest.raises(CommandError) as wrong:
        load_catalog(folder)
    text = str(wrong.value)
    assert "shared.yaml: colour: Extra inputs are not permitted (got 'blue')" in text
    assert "shared.yaml: node_pool: Field required" in text


# The command line


def run(folder: Path, *words: str) -> Result:
    options = {"INFERENCE_PLATFORM_CATALOG": str(folder), "INFERENCE_PLATFORM_WORKSPACE": str(folder.parent / "ws")}
    return CliRunner().invoke(app, list(words), env={**options, "COLUMNS": "200"})


def test_an_order_from_options_and_the_list(folder: Path) -> None:
    made = run(folder, "new", "e", "--team", "a", "-t", "shared", "-m", f"chat={LLAMA}", "--ttl", "1d", "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["dollars_per_hour"] == pytest.approx(1.15)
    (row,) = json.loads(run(folder, "list", "--json").stdout)
    assert (row["environment"], row["team"], row["state"], row["models"]) == ("e", "a", "ordered", ["chat"])
    assert "ordered" in run(folder, "list").stdout


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("new", "e"), 1, "give --team, --template, --model, or --file"),
        (("new", "e", "--team", "a", "-t", "none", "-m", f"chat={LLAMA}"), 1, "there is no template 'none'"),
        (("new", "e", "--team", "z", "-t", "shared", "-m", f"chat={LLAMA}"), 1, "there is no team 'z'"),
        (("new", "e", "--team", "a", "-t", "shared", "-m", "chat"), 1, "write it as NAME=organisation/model"),
        (("new", "E!", "--team", "a", "-t", "shared", "-m", f"chat={LLAMA}"), 1, "name: String should match"),
        (("new", "e", "--team", "a", "-t", "shared", "-m", "chat=acme/x"), 2, "acme/x is not one of meta-llama/*"),
        (("up", "nobody"), 1, "there is no environment 'nobody'"),
        (("destroy", "e", "--json"), 1, "there is no environment 'e'"),
        (("export", "e", "--to", "x", "--for", "chef"), 1, "choose from plain, argocd, flux"),
        (("reap", "--at", "soon"), 1, "is not a time like 2030-01-31T12:00"),
        (("outputs", "e"), 1, "there is no environment 'e'"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(folder: Path, words: tuple[str, ...], code: int, says: str) -> None:
    done = run(folder, *words)
    assert done.exit_code == code, done.output
    assert says in done.output
    assert "Traceback" not in done.output


def test_a_key_goes_to_a_file_and_its_hash_into_the_order(folder: Path, tmp_path: Path) -> None:
    run(folder, "new", "e", "--team", "a", "-t", "shared", "-m", f"chat={LLAMA}")
    file = tmp_path / "key"
    made = run(folder, "key", "e", "--to", str(file), "--json")
    assert made.exit_code == 0, made.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() not in made.output
    (digest,) = yaml.safe_load((folder.parent / "ws" / "e" / "order.yaml").read_text())["api_key_hashes"]
    assert digest == json.loads(made.stdout)["sha256"]
    assert run(folder, "key", "e", "--to", str(file)).exit_code == 1


def test_no_key_is_left_of_an_order_that_cannot_be_read(folder: Path, tmp_path: Path) -> None:
    run(folder, "new", "e", "--team", "a", "-t", "shared", "-m", f"chat={LLAMA}")
    (folder.parent / "ws" / "e" / "order.yaml").write_text("name: [")
    assert run(folder, "key", "e", "--to", str(tmp_path / "key")).exit_code == 1
    assert not (tmp_path / "key").exists()


def test_a_busy_environment_is_refused_or_waited_for(work: Work) -> None:
    environment, _ = work.order(check_order(order(), "test"))
    said: list[str] = []
    waiting = environment.alone("pause", said.append, wait=False)
    holding = environment.alone("up", said.append)
    holding.__enter__()
    with pytest.raises(CommandError, match="e is busy with `up` of process") as busy:
        waiting.__enter__()
    holding.__exit__(None, None, None)
    assert busy.value.code is Exit.BUSY
    with environment.alone("pause", said.append, wait=False):
        assert said == []


def test_who_waited_for_an_environment_that_was_destroyed_is_told(work: Work) -> None:
    environment, _ = work.order(check_order(order(), "test"))
    outcome: list[str] = []

    def wait() -> None:
        try:
            with environment.alone("up", outcome.append):
                outcome.append("ran")
        except CommandError as error:
            outcome.append(str(error))

    with environment.alone("destroy", print):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not outcome:
            assert waiting.is_alive()
        shutil.rmtree(environment.folder)
    waiting.join(timeout=10)
    assert outcome[0].startswith("e is busy with `destroy` of process")
    assert outcome[1:] == ["e was destroyed meanwhile"]
