"""Kinds of workers, adapters and a shared router as objects, on both serving stacks.

Does not prove that the router, the engines or the chart do what they are told: the local tests run them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from vllm_router.router_args import RouterArgs  # type: ignore[import-untyped]

from components.labels import EnvironmentLabels
from components.serving.lora import LoraAdapter, LoraArgs
from components.serving.manifests import Manifests, ModelDeployment
from components.serving.production_stack.stack import ProductionStack
from components.serving.router import router_arguments
from components.serving.shared_router import SharedRouter, shared_router_words
from components.serving.topologies import Disaggregated
from components.timing import RequestTiming
from tests.unit.components.samples import CHAT, SCALING, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

LABELS = EnvironmentLabels("dev")
PREFILL = replace(SCALING, min_replicas=1, max_replicas=2)
DECODE = replace(SCALING, min_replicas=2, max_replicas=4, queue_depth=9)
APART = deployment(topology=Disaggregated(prefill=PREFILL, decode=DECODE))
LORA = LoraArgs(
    adapters=(LoraAdapter(name="sql", source="somebody/sql"), LoraAdapter(name="legal", source="somebody/legal")),
    slots=1,
    rank=32,
)
WITH_ADAPTERS = deployment(engine=replace(CHAT.engine, lora=LORA, extra_args={"seed": 7}))
SELECTED = {
    "inference.platform/environment": "dev",
    "inference.platform/component": "engine",
    "inference.platform/model": "chat",
}


def parse(words: list[str]) -> RouterArgs:
    parser = argparse.ArgumentParser(exit_on_error=False)
    RouterArgs.add_cli_args(parser, use_router_prefix=False)
    parsed: RouterArgs = RouterArgs.from_cli_args(parser.parse_args(words), use_router_prefix=False)
    return parsed


def container(engine: Engine, name: str) -> dict[str, Any]:
    (found,) = engine.one("apps/v1:Deployment", name)["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def test_disaggregated_makes_exactly_these_resources(engine: Engine) -> None:
    engine.run(lambda: Manifests(context()).deploy(APART))
    workers = [
        (f"kubernetes:{kind}", f"chat-{role}")
        for role in ("prefill", "decode")
        for kind in ("apps/v1:Deployment", "core/v1:Service", "policy/v1:PodDisruptionBudget")
    ]
    router = ("apps/v1:Deployment", "core/v1:Service", "core/v1:ServiceAccount")
    roles = ("rbac.authorization.k8s.io/v1:Role", "rbac.authorization.k8s.io/v1:RoleBinding")
    assert engine.children() == Counter(
        [
            ("pulumi:providers:kubernetes", "dev-provider"),
            ("kubernetes:core/v1:ServiceAccount", "chat-engine"),
            *workers,
            *((f"kubernetes:{kind}", "chat-router") for kind in (*router, *roles)),
            ("kubernetes:http.keda.sh/v1beta1:InterceptorRoute", "chat-route"),
            ("kubernetes:keda.sh/v1alpha1:ScaledObject", "chat-prefill-scaling"),
            ("kubernetes:keda.sh/v1alpha1:ScaledObject", "chat-decode-scaling"),
        ]
    )


@pytest.mark.parametrize(("role", "kv_role"), [("prefill", "kv_producer"), ("decode", "kv_consumer")])
def test_workers_hand_blocks_over_by_nixl(engine: Engine, role: str, kv_role: str) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), APART))
    made = container(engine, f"chat-{role}")
    (transfer,) = [word for word in made["args"] if word.startswith("--kv-transfer-config=")]
    assert json.loads(transfer.partition("=")[2]) == {
        "kv_connector": "NixlConnector",
        "kv_role": kv_role,
        "kv_load_failure_policy": "recompute",
    }
    variables = [(item["name"], item.get("value")) for item in made["env"]]
    assert ("VLLM_NIXL_SIDE_CHANNEL_HOST", "$(POD_IP)") in variables
    assert ("VLLM_NIXL_SIDE_CHANNEL_PORT", "5600") in variables
    # Kubernetes expands what stands before.
    names = [name for name, _ in variables]
    assert names.index("POD_IP") < names.index("VLLM_NIXL_SIDE_CHANNEL_HOST")


def test_each_kind_is_selected_and_scaled_on_its_own(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), APART))
    for role, scaling in (("prefill", PREFILL), ("decode", DECODE)):
        spec = engine.one("apps/v1:Deployment", f"chat-{role}")["spec"]
        selected = {**SELECTED, "inference.platform/role": role}
        assert spec["selector"]["matchLabels"] == selected
        assert spec["template"]["metadata"]["labels"].items() >= selected.items()
        assert spec["replicas"] == scaling.min_replicas
        budget = engine.one("policy/v1:PodDisruptionBudget", f"chat-{role}")["spec"]
        assert budget["selector"]["matchLabels"] == selected
        scaled = engine.one("keda.sh/v1alpha1:ScaledObject", f"chat-{role}-scaling")
        assert scaled["metadata"]["name"] == f"chat-{role}"
        assert scaled["spec"]["scaleTargetRef"]["name"] == f"chat-{role}"
        bounds = scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]
        assert bounds == (scaling.min_replicas, scaling.max_replicas)
        in_flight, queue = (trigger["metadata"] for trigger in scaled["spec"]["triggers"])
        assert in_flight["interceptorRoute"] == "chat"
        assert queue["threshold"] == str(scaling.queue_depth)
        assert f'pod=~"chat-{role}-.+"' in queue["query"]


def test_the_router_of_workers_apart_is_ready_with_workers_only(engine: Engine) -> None:
    """It does not hold: the interceptor does, as long as the Service has no ready endpoint."""
    engine.run(lambda: ModelDeployment("chat", context(), APART))
    made = container(engine, "chat-router")
    assert made["readinessProbe"]["httpGet"]["path"] == "/readiness"
    assert (made["readinessProbe"]["periodSeconds"], made["readinessProbe"]["failureThreshold"]) == (1, 1)
    assert made["livenessProbe"]["httpGet"]["path"] == "/liveness"
    metadata = engine.one("apps/v1:Deployment", "chat-router")["metadata"]
    assert metadata["annotations"] == {"pulumi.com/skipAwait": "true"}
    parsed = parse(list(made["args"]))
    assert parsed.vllm_pd_disaggregation is True
    assert parsed.service_discovery is True
    assert parsed.prefill_selector == {**SELECTED, "inference.platform/role": "prefill"}
    assert parsed.decode_selector == {**SELECTED, "inference.platform/role": "decode"}
    assert (parsed.policy, parsed.decode_policy) == ("cache_aware", "power_of_two")


def test_adapters_are_arguments_of_the_engine(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), WITH_ADAPTERS))
    words = container(engine, "chat-engine")["args"]
    assert words[words.index("--enable-lora") :] == [
        "--enable-lora",
        "--max-loras=1",
        "--max-lora-rank=32",
        "--max-cpu-loras=2",
        "--lora-modules",
        "sql=somebody/sql",
        "legal=somebody/legal",
        "--seed=7",
    ]


def test_adapters_are_downloaded_with_the_model(engine: Engine) -> None:
    engine.run(
        lambda: ModelDeployment("chat", replace(context(), weights_claim="weights", preload=True), WITH_ADAPTERS)
    )
    (made,) = engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]["containers"]
    names = [item["id"] for item in json.loads(made["command"][-1])["models"]]
    assert names == [CHAT.engine.model, "somebody/sql", "somebody/legal"]


@pytest.mark.parametrize("changes", [{"adapters": ()}, {"slots": 0}])
def test_adapters_without_any_are_none(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="both must be at least 1"):
        replace(LORA, **changes)


def test_a_shared_router_makes_exactly_these_resources(engine: Engine) -> None:
    def build() -> None:
        made = replace(context(), shared_router="router")
        SharedRouter("router", made, [CHAT, replace(CHAT, name="code")])
        for name in ("chat", "code"):
            Manifests(made).deploy(replace(CHAT, name=name))

    engine.run(build)
    routers = {name for kind, name in engine.children() if kind == "kubernetes:apps/v1:Deployment"}
    assert routers == {"router", "chat-engine", "code-engine"}
    for name in ("chat", "code"):
        route = engine.one("http.keda.sh/v1beta1:InterceptorRoute", f"{name}-route")["spec"]
        assert route["target"] == {"service": "router", "port": 8000}
    labels = engine.one("apps/v1:Deployment", "router")["spec"]["template"]["metadata"]["labels"]
    assert labels["inference.platform/component"] == "router"
    assert "inference.platform/model" not in labels


def test_a_shared_router_finds_all_engines_and_is_as_patient_as_the_slowest() -> None:
    slow = replace(CHAT, name="slow", scaling=replace(SCALING, startup_budget_seconds=1200, cooldown_seconds=1200))
    parsed = parse(shared_router_words(LABELS, [CHAT, slow]))
    assert parsed.enable_igw is True
    assert parsed.selector == {key: value for key, value in SELECTED.items() if not key.endswith("/model")}
    assert parsed.retry_max_retries == slow.timing.retries.max_retries
    assert parsed.policy == "cache_aware"
    with pytest.raises(ValueError, match="cache_aware, random"):
        shared_router_words(LABELS, [CHAT, replace(CHAT, router_policy="random")])


def values(engine: Engine, args: Any) -> dict[str, Any]:
    engine.run(lambda: ProductionStack(context()).deploy(args))
    made = engine.one("helm.sh/v3:Release", "chat-release")["values"]
    assert isinstance(made, dict)
    return made


def test_the_chart_makes_both_kinds_of_workers(engine: Engine) -> None:
    specs = values(engine, APART)["servingEngineSpec"]["modelSpec"]
    assert [spec["name"] for spec in specs] == ["prefill", "decode"]
    assert [spec["replicaCount"] for spec in specs] == [1, 2]
    for spec in specs:
        assert spec["podLabels"] == {"inference.platform/role": spec["name"]}
        assert [word for word in spec["vllmConfig"]["extraArgs"] if "kv-transfer-config" in word]
        assert {"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "value": "$(POD_IP)"} in spec["env"]
        name = spec["name"]
        patch = engine.one("apps/v1:DeploymentPatch", f"chat-{name}-drain")
        assert patch["metadata"]["name"] == f"chat-{name}-deployment-vllm"
        scaled = engine.one("keda.sh/v1alpha1:ScaledObject", f"chat-{name}-scaling")["spec"]
        assert scaled["scaleTargetRef"]["name"] == f"chat-{name}-deployment-vllm"


def test_the_chart_starts_engines_with_adapters(engine: Engine) -> None:
    (spec,) = values(engine, WITH_ADAPTERS)["servingEngineSpec"]["modelSpec"]
    assert spec["enableLoRA"] is True
    assert spec["vllmConfig"]["maxLoras"] == 1
    words = spec["vllmConfig"]["extraArgs"]
    start = words.index("--lora-modules")
    assert words[start : start + 3] == ["--lora-modules", "sql=somebody/sql", "legal=somebody/legal"]
    assert "--max-lora-rank=32" in words
    assert not [word for word in words if word.startswith(("--enable-lora", "--max-loras"))]


def test_the_charts_user_values_lie_over_each_kind(engine: Engine) -> None:
    extra = {"servingEngineSpec": {"modelSpec": {"priorityClassName": "interactive"}}}
    specs = values(engine, replace(APART, chart_values=extra))["servingEngineSpec"]["modelSpec"]
    assert [spec["priorityClassName"] for spec in specs] == ["interactive", "interactive"]


def test_the_routers_words_are_known_to_its_parser_for_every_topology() -> None:
    for args in (CHAT, APART):
        words = router_arguments(LABELS, "round_robin", RequestTiming(600, 60), args.topology.discovery(LABELS, "chat"))
        assert parse(words).service_discovery is True
