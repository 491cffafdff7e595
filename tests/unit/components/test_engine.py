"""The engine Deployment and what belongs to it.

Does not prove that Pulumi leaves `spec.replicas` to the autoscaler: `ignoreChanges` is the engine's business, which the
mocks do not see (the test below checks that it is asked for). Nor that vLLM accepts the arguments; the simulator, which
knows vLLM's flags, does.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pulumi
import pytest

from components.base import Component
from components.serving.base import EngineArgs, FlagValue, SimulationArgs
from components.serving.engine import engine_arguments
from components.serving.manifests import ModelDeployment
from local.engine_simulator.arguments import parse
from tests.unit.components.samples import CHAT, L4_POOL, SCALING, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


def build(engine: Engine, /, **changes: Any) -> dict[str, Any]:
    engine.run(lambda: ModelDeployment("chat", context(), deployment(**changes)))
    return engine.one("apps/v1:Deployment", "chat-engine")


def pod(engine: Engine, /, **changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = build(engine, **changes)["spec"]["template"]["spec"]
    return spec


def container(engine: Engine, /, **changes: Any) -> dict[str, Any]:
    (only,) = pod(engine, **changes)["containers"]
    return dict(only)


def test_the_arguments(engine: Engine) -> None:
    made = container(engine)
    assert made["image"] == "vllm/vllm-openai:v0.32.0"
    assert made["args"] == [
        "meta-llama/Llama-3.1-8B-Instruct",
        "--served-model-name=chat",
        "--host=$(POD_IP)",
        "--port=8000",
        "--gpu-memory-utilization=0.85",
        "--tensor-parallel-size=1",
        "--shutdown-timeout=60",
        "--max-model-len=8192",
        "--max-num-seqs=17",
    ]
    assert made["env"] == [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HF_HOME", "value": "/weights"},
        {"name": "VLLM_NO_USAGE_STATS", "value": "1"},
    ]


def test_further_flags() -> None:
    flags: dict[str, FlagValue] = {
        "enable_prefix_caching": True,
        "enable-chunked-prefill": False,
        "kv-cache-dtype": "fp8",
        "seed": 7,
        "override-generation-config": '{"a": "$(POD_IP)"}',
    }
    words = engine_arguments(EngineArgs(model="a/b", extra_args=flags), "m", 5)
    assert words[-5:] == [
        "--no-enable-chunked-prefill",
        "--enable-prefix-caching",
        "--kv-cache-dtype=fp8",
        '--override-generation-config={"a": "$$(POD_IP)"}',
        "--seed=7",
    ]


def test_a_list_gives_a_flag_all_its_values() -> None:
    """Unsorted among themselves: their order may mean something. The next flag ends them."""
    extra: dict[str, FlagValue] = {
        "cudagraph-capture-sizes": (8, 1, 4),
        "allowed_media_domains": ("a.example", "$(B)"),
        "seed": 7,
    }
    words = engine_arguments(EngineArgs(model="a/b", extra_args=extra), "m", 5)
    assert words[-8:] == [
        *("--allowed-media-domains", "a.example", "$$(B)"),
        *("--cudagraph-capture-sizes", "8", "1", "4"),
        "--seed=7",
    ]


def test_limits_that_nobody_gave_are_left_to_the_engine() -> None:
    words = engine_arguments(EngineArgs(model="a/b"), "m", 5)
    assert not [word for word in words if word.startswith(("--max-model-len", "--max-num-seqs"))]


def test_the_simulator_understands_the_arguments() -> None:
    words = engine_arguments(CHAT.engine, "chat", 60)
    parsed = parse(["serve", *(word.replace("$(POD_IP)", "10.0.0.1") for word in words)])
    assert parsed.model == "meta-llama/Llama-3.1-8B-Instruct"
    assert parsed.served_model_names == ("chat",)
    assert (parsed.host, parsed.port, parsed.shutdown_timeout) == ("10.0.0.1", 8000, 60)
    assert (parsed.max_model_len, parsed.max_num_seqs, parsed.gpu_memory_utilization) == (8192, 17, 0.85)


@pytest.mark.parametrize("least", [0, 2])
def test_replicas_are_the_autoscalers(engine: Engine, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[pulumi.ResourceOptions] = []
    original = Component.child

    def child(self: Component, *after: pulumi.Resource, **options: Any) -> pulumi.ResourceOptions:
        made = original(self, *after, **options)
        asked.append(made)
        return made

    monkeypatch.setattr(Component, "child", child)
    made = build(engine, scaling=replace(SCALING, min_replicas=least))
    assert made["spec"]["replicas"] == least
    # The path is the API's, in camelCase: a snake_case one would silently do nothing.
    assert [options.ignore_changes for options in asked if options.ignore_changes] == [["spec.replicas"]]


def test_a_rollout_needs_no_spare_gpu(engine: Engine) -> None:
    assert build(engine)["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    }


def test_pulumi_does_not_wait_for_replicas_that_need_not_be(engine: Engine) -> None:
    assert build(engine)["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    service = engine.one("core/v1:Service", "chat-engine")
    assert service["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_where_it_goes_and_what_it_takes(engine: Engine) -> None:
    made = pod(engine)
    assert made["nodeSelector"] == {"inference.platform/node-pool": "l4"}
    assert made["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}
    ]
    assert made["containers"][0]["resources"] == {
        "requests": {"cpu": "9600m", "memory": "39321Mi", "nvidia.com/gpu": "1"},
        "limits": {"memory": "39321Mi", "nvidia.com/gpu": "1"},
    }
    (spread,) = made["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"


def test_tensor_parallel_takes_its_gpus_and_shared_memory(engine: Engine) -> None:
    made = pod(engine, engine=EngineArgs(model="a/b", tensor_parallel=4), placement=L4_POOL.place(4))
    assert made["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "20Gi"}} in made["volumes"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in made["containers"][0]["volumeMounts"]  # noqa: S108


def test_no_token_reaches_an_engine(engine: Engine) -> None:
    made = pod(engine)
    assert made["automountServiceAccountToken"] is False
    assert made["serviceAccountName"] == "chat-engine"
    assert engine.one("core/v1:ServiceAccount", "chat-engine")["automountServiceAccountToken"] is False


def test_no_service_can_put_variables_into_vllm(engine: Engine) -> None:
    assert pod(engine)["enableServiceLinks"] is False


def test_it_gets_time_to_drain(engine: Engine) -> None:
    made = pod(engine, scaling=replace(SCALING, drain_seconds=90))
    assert made["terminationGracePeriodSeconds"] == 2 + 90 + 5
    assert "--shutdown-timeout=90" in made["containers"][0]["args"]
    assert made["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 2}}}


@pytest.mark.parametrize("budget", [1, 10, 600, 1801])
def test_the_startup_probe_waits_as_long_as_the_budget(engine: Engine, budget: int) -> None:
    made = container(engine, scaling=replace(SCALING, startup_budget_seconds=budget, cooldown_seconds=2000))
    probe = made["startupProbe"]
    python, isolated, flag, _, port, seconds = probe["exec"]["command"]
    assert (python, isolated, flag, port) == ("python3", "-IS", "-c", "8000")
    assert math.ceil(float(seconds)) * probe["failureThreshold"] >= budget
    assert math.ceil(float(seconds)) == math.ceil(budget / 3)
    # The probe must end by itself: one that is cut off says nothing in the events.
    assert probe["timeoutSeconds"] > float(seconds)
    assert probe["periodSeconds"] == 1
    assert probe["failureThreshold"] == 3


def test_other_probes_ask_the_pods_own_address(engine: Engine) -> None:
    made = container(engine)
    for name, period in (("readinessProbe", 5), ("livenessProbe", 10)):
        assert made[name] == {
            "httpGet": {"path": "/health", "port": 8000},
            "periodSeconds": period,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        }


def test_a_rollout_is_not_called_failed_while_it_may_still_load(engine: Engine) -> None:
    assert build(engine)["spec"]["progressDeadlineSeconds"] > SCALING.startup_budget_seconds


def test_prometheus_and_the_simulator_find_their_annotations(engine: Engine) -> None:
    assert build(engine)["spec"]["template"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "8000",
        "prometheus.io/path": "/metrics",
        "simulation.inference.platform/startup-seconds": "3",
        "simulation.inference.platform/speedup": "1.5",
        "simulation.inference.platform/gpu": "l4",
    }


def test_a_simulated_engine_learns_its_share_of_the_gpu(engine: Engine) -> None:
    told = SimulationArgs(startup_seconds=0, speedup=1, gpu="h100", gpu_share=1 / 7, memory_gib=9.75)
    annotations = build(engine, simulation=told)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["simulation.inference.platform/gpu-share"] == "0.142857"
    assert annotations["simulation.inference.platform/gpu-memory-gib"] == "9.75"


def test_real_engines_are_told_nothing_of_simulation(engine: Engine) -> None:
    annotations = build(engine, simulation=None)["spec"]["template"]["metadata"]["annotations"]
    assert not [name for name in annotations if name.startswith("simulation.")]


def test_pods_are_confined(engine: Engine) -> None:
    assert container(engine)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_one_replica_at_a_time_is_evicted(engine: Engine) -> None:
    build(engine)
    budget = engine.one("policy/v1:PodDisruptionBudget", "chat-engine")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert "minAvailable" not in budget


def test_selectors_are_one(engine: Engine) -> None:
    selector = {
        "inference.platform/environment": "dev",
        "inference.platform/component": "engine",
        "inference.platform/model": "chat",
    }
    made = build(engine)["spec"]
    assert made["selector"]["matchLabels"] == selector
    assert selector.items() <= made["template"]["metadata"]["labels"].items()
    assert engine.one("core/v1:Service", "chat-engine")["spec"]["selector"] == selector
    disruption = engine.one("policy/v1:PodDisruptionBudget", "chat-engine")["spec"]
    assert disruption["selector"]["matchLabels"] == selector


@pytest.mark.parametrize(
    ("rollout", "strategy"),
    [
        ("rolling", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        ("surge", {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ("recreate", {"type": "Recreate"}),
    ],
)
def test_how_a_new_version_takes_over(engine: Engine, rollout: str, strategy: dict[str, object]) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), deployment(rollout=rollout)))
    assert engine.one("apps/v1:Deployment", "chat-engine")["spec"]["strategy"] == strategy
