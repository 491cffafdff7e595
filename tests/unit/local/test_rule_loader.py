"""PrometheusRule objects as rule files: written whole, taken back when Prometheus refuses them, gone with the object.

Prometheus is a web server here that accepts what has no `bad` in it; the embedded cluster's tests use the real one.
"""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from local.rule_loader import RuleLoader, file_name, rule_file

pytestmark = pytest.mark.unit


def rules(name: str, expr: str = "vector(1)", namespace: str = "inference-dev") -> dict[str, Any]:
    group = {"name": "g", "rules": [{"record": "a", "expr": expr}]}
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"groups": [group]}}


class FakePrometheus:
    """Counts reloads and refuses bad rules, as Prometheus does: all or none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reloads = 0

    async def reload(self, request: web.Request) -> web.Response:
        del request
        self.reloads += 1
        bad = any("bad" in path.read_text() for path in self.folder.glob("*.yaml"))
        return web.Response(status=500, text="failed to reload config: bad") if bad else web.Response()


class Fixture:
    """A loader, its Prometheus and a session between them."""

    def __init__(self, loader: RuleLoader, prometheus: FakePrometheus, session: aiohttp.ClientSession) -> None:
        self.loader, self.prometheus, self.session = loader, prometheus, session

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.loader.folder.iterdir())


@pytest.fixture
async def fixture(tmp_path: Path) -> AsyncIterator[Fixture]:
    prometheus = FakePrometheus(tmp_path / "rules")
    app = web.Application()
    app.router.add_post("/-/reload", prometheus.reload)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Fixture(RuleLoader(tmp_path / "rules", f"http://{server.host}:{server.port}"), prometheus, session)


def test_an_objects_file() -> None:
    assert file_name(rules("cost")) == "inference-dev_cost.yaml"
    assert yaml.safe_load(rule_file(rules("cost"))) == {
        "groups": [{"name": "g", "rules": [{"record": "a", "expr": "vector(1)"}]}]
    }
    assert yaml.safe_load(rule_file({"metadata": {}, "spec": {}})) == {"groups": []}


def test_two_objects_never_share_a_file() -> None:
    assert file_name(rules("b-c", namespace="a")) != file_name(rules("c", namespace="a-b"))


async def test_files_are_those_of_the_objects(fixture: Fixture) -> None:
    (fixture.loader.folder / "inference-gone_old.yaml").write_text("groups: []")
    await fixture.loader.replace_all(fixture.session, [rules("a"), rules("b")])
    assert fixture.files == ["inference-dev_a.yaml", "inference-dev_b.yaml"]
    await fixture.loader.remove(fixture.session, rules("a"))
    assert fixture.files == ["inference-dev_b.yaml"]
    await fixture.loader.replace_all(fixture.session, [])
    assert fixture.files == []


async def test_rules_that_went_while_nobody_watched_are_unloaded(fixture: Fixture) -> None:
    await fixture.loader.replace_all(fixture.session, [rules("a"), rules("b")])
    before = fixture.prometheus.reloads
    await fixture.loader.replace_all(fixture.session, [rules("b")])
    assert fixture.files == ["inference-dev_b.yaml"]
    assert fixture.prometheus.reloads == before + 1


async def test_nobody_else_reads_them(fixture: Fixture) -> None:
    await fixture.loader.write(fixture.session, rules("a"))
    (path,) = fixture.loader.folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


async def test_what_has_not_changed_is_not_loaded_again(fixture: Fixture) -> None:
    await fixture.loader.write(fixture.session, rules("a"))
    await fixture.loader.write(fixture.session, rules("a"))
    assert fixture.prometheus.reloads == 1


async def test_a_new_object_that_is_refused_is_left_out(fixture: Fixture, caplog: pytest.LogCaptureFixture) -> None:
    await fixture.loader.write(fixture.session, rules("good"))
    await fixture.loader.write(fixture.session, rules("wrong", "bad("))
    assert fixture.files == ["inference-dev_good.yaml"]
    assert "inference-dev_wrong.yaml: failed to reload config: bad" in caplog.text


async def test_a_change_that_is_refused_leaves_what_was(fixture: Fixture) -> None:
    await fixture.loader.write(fixture.session, rules("a", "vector(1)"))
    await fixture.loader.write(fixture.session, rules("a", "bad("))
    assert "vector(1)" in (fixture.loader.folder / "inference-dev_a.yaml").read_text()
