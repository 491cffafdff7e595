"""The serving stack `production-stack`: exact children, and the values that the chart gets.

Does not prove what the chart makes of the values: tests/local/test_production_stack.py installs the real chart where
its folder is named. Parents and dependencies are not seen by the mocks.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.scheduling import GpuPool
from components.serving.base import EngineArgs, FlagValue, SecretKey
from components.serving.production_stack.chart import ChartFolderError, ChartSource, installable
from components.serving.production_stack.render import chart_values, deployment_name
from components.serving.production_stack.stack import ProductionStack
from tests.unit.components.samples import CHAT, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

LONGEST_NAME = "m" * 40


@pytest.fixture(autouse=True)
def _no_chart_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VLLM_STACK_CHART", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def values(engine: Engine, args: Any = CHAT, **extra: Any) -> dict[str, Any]:
    return engine.run(lambda: chart_values(context(), args, runtime_class="", extra=extra).render())


def test_exactly_these_resources(engine: Engine) -> None:
    engine.run(lambda: ProductionStack(context()).deploy(CHAT))
    assert engine.components() == Counter({("inference-platform:serving:ProductionStackModel", "chat"): 1})
    assert engine.children() == Counter(
        {
            ("pulumi:providers:kubernetes", "dev-provider"): 1,
            ("kubernetes:core/v1:ServiceAccount", "chat-engine"): 1,
            ("kubernetes:helm.sh/v3:Release", "chat-release"): 1,
            ("kubernetes:apps/v1:DeploymentPatch", "chat-drain"): 1,
            ("kubernetes:policy/v1:PodDisruptionBudget", "chat-engine"): 1,
            ("kubernetes:core/v1:ServiceAccount", "chat-router"): 1,
            ("kubernetes:rbac.authorization.k8s.io/v1:Role", "chat-router"): 1,
            ("kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", "chat-router"): 1,
            ("kubernetes:apps/v1:Deployment", "chat-router"): 1,
            ("kubernetes:core/v1:Service", "chat-router"): 1,
            ("kubernetes:http.keda.sh/v1beta1:InterceptorRoute", "chat-route"): 1,
            ("kubernetes:keda.sh/v1alpha1:ScaledObject", "chat-scaling"): 1,
        }
    )


def test_the_release_is_pinned_named_and_does_not_wait_for_pods_that_may_be_at_zero(engine: Engine) -> None:
    engine.run(lambda: ProductionStack(context()).deploy(CHAT))
    release = engine.one("helm.sh/v3:Release", "chat-release")
    assert {key: release[key] for key in release if key != "values"} == {
        "name": "chat",
        "namespace": "inference-dev",
        "chart": "vllm-stack",
        "version": "0.1.12",
        "repositoryOpts": {"repo": "https://vllm-project.github.io/production-stack"},
        "timeout": 600,
        "cleanupOnFail": True,
        "skipAwait": True,
        "compat": "true",
    }


def test_all_values_of_a_model(engine: Engine) -> None:
    spec = values(engine)
    probe = spec["servingEngineSpec"].pop("startupProbe")
    assert probe["exec"]["command"][:3] == ["python3", "-IS", "-c"]
    assert (probe["timeoutSeconds"], probe["failureThreshold"]) == (205, 3)
    http = {
        "initialDelaySeconds": 1,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
        "httpGet": {"path": "/health", "port": 8000},
    }
    device = {"memory": "39321Mi", "nvidia.com/gpu": "1"}
    assert spec == {
        "servingEngineSpec": {
            "labels": {
                "inference.platform/environment": "dev",
                "inference.platform/component": "engine",
                "inference.platform/model": "chat",
            },
            "runtimeClassName": "",
            "imagePullPolicy": "IfNotPresent",
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 2000,
                "runAsGroup": 0,
                "fsGroup": 0,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containerSecurityContext": {
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "readinessProbe": {**http, "periodSeconds": 5},
            "livenessProbe": {**http, "periodSeconds": 10},
            "modelSpec": [
                {
                    "name": "engine",
                    "repository": "vllm/vllm-openai",
                    "tag": "v0.32.0",
                    "modelURL": "meta-llama/Llama-3.1-8B-Instruct",
                    "replicaCount": 0,
                    "keda": {"enabled": True},
                    "raySpec": {"enabled": False},
                    "serviceAccountName": "chat-engine",
                    "podAnnotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": "8000",
                        "prometheus.io/path": "/metrics",
                        "simulation.inference.platform/startup-seconds": "3",
                        "simulation.inference.platform/speedup": "1.5",
                        "simulation.inference.platform/gpu": "l4",
                    },
                    "resources": {"requests": {"cpu": "9600m", **device}, "limits": device},
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": "inference.platform/node-pool", "operator": "In", "values": ["l4"]}
                            ]
                        }
                    ],
                    "tolerations": [
                        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"}
                    ],
                    "vllmConfig": {
                        "enablePrefixCaching": True,
                        "gpuMemoryUtilization": 0.85,
                        "maxModelLen": 8192,
                        "maxNumSeqs": 17,
                        "extraArgs": ["--served-model-name=chat", "--host=$(POD_IP)", "--shutdown-timeout=60"],
                    },
                    "env": [{"name": "VLLM_NO_USAGE_STATS", "value": "1"}],
                    "extraVolumes": [{"name": "weights", "emptyDir": {}}],
                    "extraVolumeMounts": [{"name": "weights", "mountPath": "/tmp/hub"}],  # noqa: S108
                }
            ],
        },
        "routerSpec": {"enableRouter": False},
        "kube-prometheus-stack": {"enabled": False},
        "prometheus-adapter": {"enabled": False},
    }


def test_several_gpus_get_shared_memory(engine: Engine) -> None:
    pool = GpuPool(name="l4", product="NVIDIA-L4", gpus_per_node=4, vcpu=48, memory_gib=192)
    args = deployment(engine=EngineArgs(model="a/b", tensor_parallel=4), placement=pool.place(4))
    (spec,) = values(engine, args)["servingEngineSpec"]["modelSpec"]
    assert (spec["vllmConfig"]["tensorParallelSize"], spec["shmSize"]) == (4, "20Gi")
    assert spec["resources"]["limits"]["nvidia.com/gpu"] == "4"


@pytest.mark.parametrize("switch", ["enable-prefix-caching", "enable_prefix_caching"])
def test_flags_of_the_user_come_last_and_switches_are_the_charts_where_it_has_one(engine: Engine, switch: str) -> None:
    extra: dict[str, FlagValue] = {
        switch: False,
        "enforce-eager": True,
        "kv-cache-dtype": "fp8",
        "allowed-media-domains": ("a.example", "b.example"),
    }
    args = deployment(engine=replace(CHAT.engine, extra_args=extra))
    config = values(engine, args)["servingEngineSpec"]["modelSpec"][0]["vllmConfig"]
    assert config["enablePrefixCaching"] is False
    assert config["extraArgs"][3:] == [
        *("--allowed-media-domains", "a.example", "b.example"),
        "--enforce-eager",
        "--kv-cache-dtype=fp8",
    ]


def test_a_token_is_a_reference(engine: Engine) -> None:
    args = deployment(engine=replace(CHAT.engine, hugging_face_token=SecretKey("hugging-face", "token")))
    (spec,) = values(engine, args)["servingEngineSpec"]["modelSpec"]
    assert spec["hf_token"] == {"secretName": "hugging-face", "secretKey": "token"}


def test_values_of_the_user_are_laid_over_ours(engine: Engine) -> None:
    spec = values(
        engine,
        servingEngineSpec={"modelSpec": {"priorityClassName": "high", "vllmConfig": {"dtype": "float16"}}},
        grafanaDashboards={"enabled": True},
    )
    (model,) = spec["servingEngineSpec"]["modelSpec"]
    assert (model["priorityClassName"], model["vllmConfig"]["dtype"]) == ("high", "float16")
    assert model["vllmConfig"]["maxModelLen"] == 8192
    assert spec["grafanaDashboards"] == {"enabled": True}


def test_names_fit_for_the_longest_model_name() -> None:
    """A host name and a Service's name have at most 63 characters; the chart builds them from release and model."""
    assert len(f"{LONGEST_NAME}-engine-vllm-stack") <= 63
    assert len(f"{LONGEST_NAME}-engine-engine-service") <= 63
    assert len(deployment_name(LONGEST_NAME)) <= 253


def test_what_the_chart_has_no_values_for_is_patched(engine: Engine) -> None:
    engine.run(lambda: ProductionStack(context()).deploy(CHAT))
    patch = engine.one("apps/v1:DeploymentPatch", "chat-drain")
    assert patch["metadata"]["name"] == "chat-engine-deployment-vllm"
    assert patch["spec"]["template"]["spec"] == {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": CHAT.timing.grace_period_seconds,
        "containers": [{"name": "vllm", "lifecycle": {"preStop": {"sleep": {"seconds": 2}}}}],
    }


def test_the_scaled_object_is_ours_and_lets_the_charts_first_replica_go_at_once(engine: Engine) -> None:
    engine.run(lambda: ProductionStack(context()).deploy(CHAT))
    spec = engine.one("ScaledObject", "chat-scaling")["spec"]
    assert spec["scaleTargetRef"]["name"] == "chat-engine-deployment-vllm"
    assert (spec["initialCooldownPeriod"], spec["cooldownPeriod"]) == (0, 600)
    assert [trigger["type"] for trigger in spec["triggers"]] == ["external-push", "prometheus"]


def test_no_image_floats(engine: Engine) -> None:
    engine.run(lambda: ProductionStack(context()).deploy(CHAT))
    assert "latest" not in json.dumps([item.inputs for item in engine.seen])


def test_where_the_chart_comes_from() -> None:
    oci = ChartSource(oci="oci://mirror.example/charts/vllm-stack", digest="sha256:" + "0" * 64)
    assert oci.release_inputs() == {
        "chart": "oci://mirror.example/charts/vllm-stack@sha256:" + "0" * 64,
        "version": "0.1.12",
    }


def chart_folder(folder: Path, **description: object) -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(yaml.safe_dump({"name": "vllm-stack", "version": "0.1.12", **description}))
    (folder / "templates" / "service.yaml").write_text("kind: Service")
    return folder


def test_a_whole_folder_is_used_as_it_is(tmp_path: Path) -> None:
    folder = chart_folder(tmp_path / "chart")
    assert ChartSource(folder=str(folder)).release_inputs() == {"chart": str(folder)}


def test_a_checkout_is_installed_without_the_subcharts_that_it_lacks(tmp_path: Path) -> None:
    folder = chart_folder(tmp_path / "chart", dependencies=[{"name": "kube-prometheus-stack"}])
    copy = installable(folder)
    assert copy != folder
    assert yaml.safe_load((copy / "Chart.yaml").read_text()) == {"name": "vllm-stack", "version": "0.1.12"}
    assert (copy / "templates" / "service.yaml").read_text() == "kind: Service"
    assert installable(folder) == copy
    (folder / "templates" / "service.yaml").write_text("kind: Changed")
    assert installable(folder) != copy


@pytest.mark.parametrize("content", [None, "name: other\n", "[]"])
def test_a_folder_that_is_not_the_chart(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "Chart.yaml").write_text(content)
    with pytest.raises(ChartFolderError, match=r"Chart\.yaml"):
        installable(tmp_path)
