"""The agent after an outage, of the API server or its own: what ran goes on, and what changed meanwhile is made good.

Real processes, against an API server in memory. Not proven here: outages of the real API server (the embedded cluster
does that).
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.unit.node_agent.node_doubles import SLEEP, FakeApi, eventually, make_pod, running_agent, script
from tests.unit.node_agent.node_pods import (
    POD_IP,
    SERVER,
    STUBBORN,
    TCP,
    alive,
    folders,
    is_ready,
    pid_of,
    records,
)

pytestmark = pytest.mark.unit


async def test_a_removed_object_takes_its_processes_with_it_at_once(api: FakeApi, state: Path) -> None:
    async with running_agent(api, state):
        for name in ("watched", "listed"):
            api.add_pod(make_pod(name, container=script(STUBBORN)))
            await is_ready(api, name)
        pids = [pid_of(state, name) for name in ("watched", "listed")]
        api.remove("watched")
        await eventually(lambda: not alive(pids[0]), "the end of the process")
        api.outage = True  # the second removal is seen in a list only
        api.break_watches()
        api.remove("listed")
        assert alive(pids[1])
        api.outage = False
        await eventually(lambda: not alive(pids[1]), "the end of the other process")
        assert api.deleted == []


async def test_pods_go_on_while_the_api_is_away_and_their_changes_are_told_afterwards(
    api: FakeApi, state: Path
) -> None:
    async with running_agent(api, state):
        api.add_pod(make_pod(container=SLEEP))
        await is_ready(api, "web")
        pid = pid_of(state, "web")
        api.outage = True
        api.break_watches()
        os.kill(pid, signal.SIGKILL)
        again = await eventually(lambda: pid_of(state, "web") if pid_of(state, "web") != pid else None, "a restart")
        assert alive(again)
        assert api.container("web")["restartCount"] == 0
        api.outage = False
        await eventually(lambda: api.container("web")["restartCount"] == 1, "the news")
        assert api.container("web")["lastState"]["terminated"]["exitCode"] == 137
        api.begin_deletion("web", 0)
        await eventually(lambda: api.deleted == ["web"])


async def test_a_later_agent_takes_over_what_runs_and_clears_away_what_is_gone(api: FakeApi, state: Path) -> None:
    container = script(SERVER) | {"env": [POD_IP], "readinessProbe": TCP}
    async with running_agent(api, state):
        for name in ("stays", "goes", "ends", "dies"):
            api.add_pod(make_pod(name, container=container if name == "stays" else SLEEP))
            await is_ready(api, name)
        before = api.container("stays")
    pids = {name: pid_of(state, name) for name in ("stays", "goes", "ends", "dies")}
    assert [alive(pid) for pid in pids.values()] == [True] * 4
    api.remove("goes")
    api.begin_deletion("ends", 5)
    os.kill(pids["dies"], signal.SIGKILL)
    os.waitpid(pids["dies"], 0)  # noqa: ASYNC222 - it was killed; process 1 would do this
    api.patches.clear()
    async with running_agent(api, state):
        await eventually(lambda: api.deleted == ["ends"] and not alive(pids["goes"]), "the two ends")
        await eventually(lambda: api.container("dies")["restartCount"] == 1, "the restart")
        lost = api.container("dies")["lastState"]["terminated"]
        assert (lost["exitCode"], lost["reason"]) == (137, "ContainerStatusUnknown")
        assert api.container("stays") == before
        ready = [
            next(c["status"] for c in body["conditions"] if c["type"] == "Ready")
            for name, body in api.patches
            if name == "stays"
        ]
        assert set(ready) == {"True"}
        assert pid_of(state, "stays") == pids["stays"]
        # It is looked after again: its end is seen, its restart comes.
        os.kill(pids["stays"], signal.SIGKILL)
        await eventually(lambda: api.container("stays")["restartCount"] == 1, "the restart")
        await is_ready(api, "stays")
        for name in ("stays", "dies"):
            api.begin_deletion(name, 0)
        await eventually(lambda: sorted(api.deleted) == ["dies", "ends", "stays"])
    assert not records(state)
    assert folders(state) == [f"shop_{name}_uid-{name}" for name in ("dies", "ends", "goes", "stays")]
