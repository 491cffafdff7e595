"""Route and ScaledObject of a model: each known trap.

Does not prove that KEDA acts on them (the local tests do), nor that they are made after the engine Deployment and
destroyed before it: the mocks do not see dependencies.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from components.autoscaling.model_scaling import waiting_requests_query
from components.serving.manifests import ModelDeployment
from tests.unit.components.samples import CHAT, SCALING, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

SCALED_OBJECT = "keda.sh/v1alpha1:ScaledObject"
ROUTE = "http.keda.sh/v1beta1:InterceptorRoute"


def scaled_object(engine: Engine, /, environment: str = "dev", **changes: Any) -> dict[str, Any]:
    engine.run(lambda: ModelDeployment("chat", context(environment), deployment(**changes)))
    return engine.one(SCALED_OBJECT, "chat-scaling")


def test_the_whole_scaled_object(engine: Engine) -> None:
    made = scaled_object(engine)
    assert made["metadata"]["name"] == "chat"
    assert made["metadata"]["namespace"] == "inference-dev"
    assert made["spec"] == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat-engine"},
        "minReplicaCount": 0,
        "maxReplicaCount": 5,
        "pollingInterval": 10,
        "cooldownPeriod": 600,
        "initialCooldownPeriod": 600,
        "advanced": {
            "horizontalPodAutoscalerConfig": {
                "behavior": {
                    "scaleUp": {
                        "stabilizationWindowSeconds": 0,
                        "selectPolicy": "Max",
                        "policies": [
                            {"type": "Pods", "value": 4, "periodSeconds": 15},
                            {"type": "Percent", "value": 100, "periodSeconds": 15},
                        ],
                    },
                    "scaleDown": {
                        "stabilizationWindowSeconds": 300,
                        "selectPolicy": "Max",
                        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                    },
                }
            },
        },
        "triggers": [
            {
                "type": "external-push",
                "name": "requests-in-flight",
                "metricType": "AverageValue",
                "metadata": {
                    "scalerAddress": "keda-add-ons-http-external-scaler.keda:9090",
                    "interceptorRoute": "chat",
                },
            },
            {
                "type": "prometheus",
                "name": "queue-depth",
                "metricType": "AverageValue",
                "metadata": {
                    "serverAddress": "http://prometheus-operated.monitoring.svc:9090",
                    "query": 'sum(vllm:num_requests_waiting{namespace="inference-dev",model_name="chat"}) or vector(0)',
                    "threshold": "5",
                },
            },
        ],
    }


def test_there_is_always_a_behavior_and_never_an_idle_count(engine: Engine) -> None:
    spec = scaled_object(engine, scaling=replace(SCALING, min_replicas=2))["spec"]
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert "idleReplicaCount" not in spec
    assert spec["minReplicaCount"] == 2


def test_something_wakes_that_exists_at_zero(engine: Engine) -> None:
    """The engines' own queue cannot: at zero there is no engine to report it."""
    triggers = scaled_object(engine)["spec"]["triggers"]
    assert [trigger["type"] for trigger in triggers] == ["external-push", "prometheus"]


def test_no_trigger_has_value_as_its_metric_type(engine: Engine) -> None:
    triggers = scaled_object(engine)["spec"]["triggers"]
    assert {trigger["metricType"] for trigger in triggers} == {"AverageValue"}


def test_queries_are_summed_per_model_and_environment() -> None:
    queries = {waiting_requests_query(namespace, model) for namespace in ("a", "b") for model in ("m", "n")}
    assert len(queries) == 4
    assert all(query.startswith("sum(") and query.endswith(" or vector(0)") for query in queries)


def test_metadata_of_triggers_is_text(engine: Engine) -> None:
    for trigger in scaled_object(engine)["spec"]["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_pulumi_waits_until_keda_has_accepted_it(engine: Engine) -> None:
    assert scaled_object(engine)["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Ready"}


def test_a_paused_model_is_held_at_zero(engine: Engine) -> None:
    paused = replace(deployment().scaling, paused=True)
    annotations = scaled_object(engine, scaling=paused)["metadata"]["annotations"]
    assert annotations["autoscaling.keda.sh/paused-replicas"] == "0"


def test_the_whole_route(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), CHAT))
    made = engine.one(ROUTE, "chat-route")
    assert made["metadata"]["name"] == "chat"
    assert made["metadata"]["namespace"] == "inference-dev"
    assert made["spec"] == {
        "target": {"service": "chat-router", "port": 8000},
        "rules": [
            {
                "hosts": ["gateway.inference-dev.svc"],
                "headers": [{"name": "x-inference-model", "value": "chat"}],
            }
        ],
        "scalingMetric": {"concurrency": {"targetValue": 32}},
        "timeouts": {"readiness": "0s", "request": "0s", "responseHeader": "2430s"},
    }


def test_the_interceptor_waits_for_the_slowest_start_and_the_longest_answer(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", context(), CHAT))
    text = engine.one(ROUTE, "chat-route")["spec"]["timeouts"]["responseHeader"]
    assert int(text.removesuffix("s")) >= SCALING.startup_budget_seconds + 1800


def test_nothing_of_one_environment_names_another(engine: Engine) -> None:
    engine.run(lambda: [ModelDeployment(f"{name}-chat", context(name), CHAT) for name in ("blue", "green")])
    for item in engine.seen:
        if item.name.startswith("blue") and not item.is_component:
            assert "green" not in json.dumps(item.inputs)
