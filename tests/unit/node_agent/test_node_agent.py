"""The whole agent with real processes, against an API server in memory.

Not proven here: the real API server's own checks of what is written (the embedded cluster does that).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.node_agent.node_doubles import (
    HOST_IP,
    SLEEP,
    FakeApi,
    eventually,
    make_pod,
    running_agent,
    script,
)
from tests.unit.node_agent.node_pods import (
    POD_IP,
    SERVER,
    STUBBORN,
    TCP,
    alive,
    is_ready,
    log_of,
    pid_of,
    records,
)

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]


def content(path: Path) -> str:
    return path.read_text()


async def test_a_pod_from_its_node_to_its_end(api: FakeApi, state: Path) -> None:
    note = 'echo "preStop $POD_IP ${NODE_AGENT_CONTAINER#*#}" >> $HOME/../main/0.log'
    pre_stop = {"exec": {"command": ["sh", "-c", note]}}
    container = script(SERVER) | {"env": [POD_IP], "readinessProbe": TCP, "lifecycle": {"preStop": pre_stop}}
    async with running_agent(api, state):
        api.add_pod(make_pod(container=container))
        await is_ready(api, "web")
        status = api.status("web")
        assert (status["phase"], status["podIP"], status["hostIP"]) == ("Running", "127.77.0.1", HOST_IP)
        assert {c["type"]: c["status"] for c in status["conditions"]} == {
            "PodScheduled": "True",
            "PodReadyToStartContainers": "True",
            "Initialized": "True",
            "ContainersReady": "True",
            "Ready": "True",
        }
        pid = pid_of(state, "web")
        api.begin_deletion("web")
        await eventually(lambda: api.deleted == ["web"], "the removal of the object")
        assert not alive(pid)
        assert log_of(state, "web") == "listening\npreStop 127.77.0.1 probe\nSIGTERM\n"
        readiness = [next(c["status"] for c in body["conditions"] if c["type"] == "Ready") for _, body in api.patches]
        # Not ready before it is told to end; and the last word is how it ended.
        assert readiness[-2:] == ["False", "False"]
        before_last, last = api.patches[-2][1], api.patches[-1][1]
        assert list(before_last["containerStatuses"][0]["state"]) == ["running"]
        assert last["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
        assert last["phase"] == "Succeeded"
        await eventually(lambda: not records(state), "the pod to be forgotten")
        assert [path.name for path in next((state / "pods").iterdir()).iterdir()] == ["main"]
    assert {reason for reason, _ in api.events} >= {"Started", "Killing"}


async def test_nothing_is_written_twice(api: FakeApi, state: Path) -> None:
    async with running_agent(api, state):
        api.add_pod(make_pod(container=SLEEP))
        await is_ready(api, "web")
        count = len(api.patches)
        body = api.pod("web")
        body["metadata"]["labels"] = {"new": "label"}
        api._tell("pod", "MODIFIED", body)
        api.add_pod(make_pod("next", container=SLEEP))
        await is_ready(api, "next")
        assert [name for name, _ in api.patches[count:] if name == "web"] == []
        api.begin_deletion("web", 0)
        api.begin_deletion("next", 0)
        await eventually(lambda: len(api.deleted) == 2)


async def test_only_pods_with_known_images_on_fake_nodes_are_run(api: FakeApi, state: Path) -> None:
    api.add_node("real-0", fake=False)
    unknown = {"name": "side", "image": "nginx"}
    both = [{"name": "main", "image": "test/program", **SLEEP}, unknown]
    async with running_agent(api, state):
        api.add_pod(make_pod("unknown", containers=both))
        api.add_pod(make_pod("elsewhere", nodeName="real-0", container=SLEEP))
        api.add_pod(make_pod("later", nodeName="gpu-1", container=SLEEP))
        api.add_pod(make_pod("ours", container=SLEEP))
        await is_ready(api, "ours")
        assert {name for name, _ in api.patches} == {"ours"}
        api.add_node("gpu-1")
        await is_ready(api, "later")
        assert {name for name, _ in api.patches} == {"ours", "later"}
        for name in ("ours", "later"):
            api.begin_deletion(name, 0)
        await eventually(lambda: len(api.deleted) == 2)


async def test_the_environment_of_a_process(api: FakeApi, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTS_OWN_SECRET", "secret")
    api.config_maps["shop/settings"] = {"app.cfg": "colour = blue"}
    container = {
        "command": ["python3", "-c", "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"],
        "args": ["$(POD_IP)", "--config=/etc/app/app.cfg"],
        "env": [POD_IP, {"name": "CONFIG", "value": "/etc/app/app.cfg"}],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
    }
    pod = make_pod(
        "env",
        container=container,
        restartPolicy="Never",
        volumes=[{"name": "config", "configMap": {"name": "settings"}}],
        metadata={"annotations": {"simulation.inference.platform/gpu": "L4"}},
    )
    async with running_agent(api, state):
        api.add_pod(pod)
        await eventually(lambda: api.status("env").get("phase") == "Succeeded", "the end")
        env, arguments = json.loads(log_of(state, "env"))
        folder = state / "pods" / "shop_env_uid-env"
        config = folder / "volumes/config/app.cfg"
        assert arguments == ["127.77.0.1", f"--config={config}"]
        assert content(config) == "colour = blue"
        path = env.pop("PATH").split(":")
        assert path[1:] == ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        assert env.pop("NODE_AGENT_CONTAINER").startswith(f"{state}#process://")
        assert content(Path(env.pop("KUBECONFIG"))) == "apiVersion: v1\nkind: Config\n"
        assert env == {
            "POD_IP": "127.77.0.1",
            "CONFIG": str(config),
            "SIMULATION_GPU": "L4",
            "HOME": str(folder / "home"),
            "HOSTNAME": "env",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        api.begin_deletion("env")
        await eventually(lambda: api.deleted == ["env"])


async def test_a_pod_with_a_service_account_token_gets_its_own_kubeconfig(api: FakeApi, state: Path) -> None:
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
    mount = {"name": "access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    program = "import os; print(open(os.environ['KUBECONFIG']).read())"
    pod = make_pod(
        container=script(program) | {"volumeMounts": [mount]},
        restartPolicy="Never",
        volumes=[{"name": "access", "projected": {"sources": [token]}}],
    )
    async with running_agent(api, state):
        api.add_pod(pod)
        await eventually(lambda: api.status("web").get("phase") == "Succeeded", "the end")
        place = state / "pods/shop_web_uid-web"
        assert f"tokenFile: {place}/volumes/access/token" in log_of(state, "web")
        assert (place / "volumes/access/token").read_text() == "token-1-for-None"
        assert ((place / "kubeconfig").stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o600, 0o700)
        api.begin_deletion("web")
        await eventually(lambda: not (place / "kubeconfig").exists(), "the removal of secrets")


async def test_a_container_that_fails_is_started_again_with_growing_delays(api: FakeApi, state: Path) -> None:
    async with running_agent(api, state):
        api.add_pod(make_pod(container=script("print('up'); raise SystemExit(3)")))
        await eventually(lambda: api.container("web").get("restartCount", 0) >= 3, "three restarts")
        status = await eventually(
            lambda: api.container("web") if "waiting" in api.container("web")["state"] else None, "a delay"
        )
        assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        assert status["state"]["waiting"]["message"].endswith("failed container=main pod=web_shop(uid-web)")
        assert status["lastState"]["terminated"]["exitCode"] == 3
        assert status["lastState"]["terminated"]["reason"] == "Error"
        assert (api.status("web")["phase"], api.condition("web", "Ready")) == ("Running", "False")
        assert [log_of(state, "web", restart) for restart in range(3)] == ["up\n"] * 3
        # Between two starts there is nothing to wait for.
        api.begin_deletion("web", 600)
        await eventually(lambda: api.deleted == ["web"])


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded")],
)
async def test_pods_that_end_for_good(api: FakeApi, state: Path, policy: str, code: int, phase: str) -> None:
    async with running_agent(api, state):
        api.add_pod(make_pod(container=script(f"raise SystemExit({code})"), restartPolicy=policy))
        await eventually(lambda: api.status("web").get("phase") == phase, phase)
        ended = api.container("web")
        assert ended["state"]["terminated"]["exitCode"] == code
        assert ended["restartCount"] == 0
    async with running_agent(api, state):  # a later agent does not start it again
        api.add_pod(make_pod("next", container=SLEEP))
        await is_ready(api, "next")
        assert api.container("web") == ended
        for name in ("web", "next"):
            api.begin_deletion(name, 0)
        await eventually(lambda: sorted(api.deleted) == ["next", "web"])


async def test_init_containers_run_one_after_the_other(api: FakeApi, state: Path) -> None:
    (state / "pods").mkdir(parents=True)
    order = state / "order"
    init = [
        {"name": name, "image": "test/program", **script(f"open({str(order)!r}, 'a').write('{name} ')")}
        for name in ("one", "two")
    ]
    async with running_agent(api, state):
        program = f"open({str(order)!r}, 'a').write('main')"
        api.add_pod(make_pod(container=script(program), initContainers=init, restartPolicy="Never"))
        await eventually(lambda: api.status("web").get("phase") == "Succeeded", "the end")
        assert order.read_text() == "one two main"
        assert [(c["name"], c["ready"]) for c in api.status("web")["initContainerStatuses"]] == [
            ("one", True),
            ("two", True),
        ]
        api.begin_deletion("web")
        await eventually(lambda: api.deleted == ["web"])


async def test_a_missing_configmap_is_said_and_waited_for(api: FakeApi, state: Path) -> None:
    sources: list[dict[str, Any]] = [{"configMapRef": {"name": "settings"}}]
    async with running_agent(api, state):
        api.add_pod(make_pod(container=SLEEP | {"envFrom": sources}))
        waiting = {"reason": "CreateContainerConfigError", "message": 'configmap "settings" not found'}
        await eventually(lambda: api.container("web").get("state") == {"waiting": waiting}, "the message")
        assert api.status("web")["phase"] == "Pending"
        api.config_maps["shop/settings"] = {}
        await is_ready(api, "web")
        api.begin_deletion("web", 0)
        await eventually(lambda: api.deleted == ["web"])


async def test_a_program_that_cannot_be_started(api: FakeApi, state: Path) -> None:
    async with running_agent(api, state):
        api.add_pod(make_pod(container={"command": ["no-such-program"]}, restartPolicy="Never"))
        await eventually(lambda: api.status("web").get("phase") == "Failed", "the failure")
        terminated = api.container("web")["state"]["terminated"]
        assert (terminated["reason"], terminated["exitCode"]) == ("StartError", 128)
        assert terminated["message"] == 'exec: "no-such-program": executable file not found in $PATH'
        api.begin_deletion("web")
        await eventually(lambda: api.deleted == ["web"])


async def test_a_container_that_fails_its_liveness_probe_is_ended_in_order_and_restarted(
    api: FakeApi, state: Path
) -> None:
    (state / "pods").mkdir(parents=True)
    sick = state / "sick"
    sick.touch()
    liveness = {"exec": {"command": ["test", "!", "-e", str(sick)]}, "periodSeconds": 1, "failureThreshold": 1}
    container = script(SERVER) | {"env": [POD_IP], "startupProbe": TCP, "livenessProbe": liveness}
    async with running_agent(api, state):
        api.add_pod(make_pod(container=container))
        await eventually(lambda: api.container("web").get("restartCount") == 1, "the restart")
        sick.unlink()
        assert log_of(state, "web") == "listening\nSIGTERM\n"
        await is_ready(api, "web")
        assert api.container("web")["lastState"]["terminated"]["exitCode"] == 0
        assert ("Unhealthy", "Liveness probe failed: exit code 1: ") in api.events
        api.begin_deletion("web", 0)
        await eventually(lambda: api.deleted == ["web"])


async def test_a_second_deletion_shortens_the_first(api: FakeApi, state: Path) -> None:
    async with running_agent(api, state):
        api.add_pod(make_pod(container=script(STUBBORN)))
        await eventually(lambda: log_of(state, "web") == "up\n")
        api.begin_deletion("web", 600)
        await eventually(lambda: log_of(state, "web") == "up\nno\n", "SIGTERM")
        api.begin_deletion("web", 0)
        await eventually(lambda: api.deleted == ["web"])
        assert api.patches[-1][1]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
