"""What a pod has in addition when its idle engine sleeps. Does not prove that anything sleeps: see the local tests."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from components.serving import sleep
from components.serving.base import SleepArgs
from components.serving.manifests import ModelDeployment
from components.serving.sleeper import parse
from local.engine_simulator.arguments import parse as parse_engine
from planner.flags.check import check_engine_arguments
from tests.unit.components.samples import SCALING, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

AWAKE = replace(SCALING, min_replicas=1)


def template(engine: Engine, /, **changes: Any) -> dict[str, Any]:
    args = deployment(scaling=AWAKE, sleep=SleepArgs(level=2, after_seconds=120), **changes)
    engine.run(lambda: ModelDeployment("chat", context(), args))
    made: dict[str, Any] = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]
    return made


def test_the_engine_listens_on_a_socket_and_on_no_port(engine: Engine) -> None:
    (container,) = template(engine)["spec"]["containers"]
    assert container["args"][2:4] == ["--uds=/run/engine/vllm.sock", "--enable-sleep-mode"]
    assert not [word for word in container["args"] if word.startswith(("--host", "--port"))]
    assert "ports" not in container
    assert {"name": "VLLM_SERVER_DEV_MODE", "value": "1"} in container["env"]
    assert {"name": "socket", "mountPath": "/run/engine"} in container["volumeMounts"]
    assert check_engine_arguments("vllm", "v0.32.0", container["args"]) == []
    assert parse_engine(["serve", *container["args"]]).uds == "/run/engine/vllm.sock"


def test_the_sleeper_takes_the_port_before_the_engine_starts_and_until_it_has_drained(engine: Engine) -> None:
    made = template(engine)["spec"]
    (sidecar,) = made["initContainers"]
    # One of Kubernetes' own sidecars: begins first, ends last.
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("sleeper", "Always")
    assert sidecar["image"] == made["containers"][0]["image"]
    assert sidecar["command"] == ["python3", "-I", "/etc/sleeper/sleeper.py"]
    assert sidecar["args"] == [
        "--socket=vllm.sock",
        "--host=$(POD_IP)",
        "--port=8000",
        "--model=chat",
        "--level=2",
        "--after-seconds=120",
        "--read=/simulated-dcgm",
    ]
    assert sidecar["workingDir"] == "/run/engine"
    assert (options := parse(sidecar["args"])).level == 2
    assert (options.socket, options.port, options.read) == ("vllm.sock", 8000, ["/simulated-dcgm"])
    # Whoever may not write to the engine's socket cannot connect: the same user.
    assert sidecar["securityContext"] == made["containers"][0]["securityContext"]
    assert made["containers"][0]["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8000}


def test_on_a_cluster_with_gpus_nothing_of_the_simulation_is_passed_on(engine: Engine) -> None:
    (sidecar,) = template(engine, simulation=None)["spec"]["initContainers"]
    assert not [word for word in sidecar["args"] if word.startswith("--read")]


def test_its_script_is_a_config_map_and_a_new_one_replaces_pods(engine: Engine) -> None:
    made = template(engine)
    assert engine.one("core/v1:ConfigMap", "chat-sleeper")["data"] == {"sleeper.py": sleep.SCRIPT}
    assert made["metadata"]["annotations"]["inference.platform/sleeper"] == sleep.SCRIPT_DIGEST
    volumes = {volume["name"]: volume for volume in made["spec"]["volumes"]}
    assert volumes["sleeper"] == {"name": "sleeper", "configMap": {"name": "chat-sleeper"}}
    assert volumes["socket"] == {"name": "socket", "emptyDir": {}}


def test_exactly_one_resource_more(engine: Engine) -> None:
    template(engine)
    assert len(engine.children()) == 13
    assert Counter(kind for kind, _ in engine.children())["kubernetes:core/v1:ConfigMap"] == 1


def test_metrics_are_scraped_as_ever(engine: Engine) -> None:
    annotations = template(engine)["metadata"]["annotations"]
    assert (annotations["prometheus.io/port"], annotations["prometheus.io/path"]) == ("8000", "/metrics")


@pytest.mark.parametrize(
    ("level", "seconds", "message"), [(3, 300, "level 3 must be 1 or 2"), (1, 0, "after_seconds 0 must be at least 1")]
)
def test_impossible_figures(level: int, seconds: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SleepArgs(level=level, after_seconds=seconds)


def test_a_model_cannot_sleep_and_go_away() -> None:
    with pytest.raises(ValueError, match="min_replicas must be at least 1"):
        deployment(sleep=SleepArgs(level=1, after_seconds=300))
