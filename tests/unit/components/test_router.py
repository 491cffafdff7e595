"""The router of a model deployment.

Does not prove what the router does with its arguments (the local tests do), only that its own parser takes them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import pytest
from vllm_router.router_args import RouterArgs  # type: ignore[import-untyped]

from components.labels import EnvironmentLabels
from components.serving.manifests import ModelDeployment
from components.serving.router import router_arguments
from components.serving.topologies import Aggregated
from components.timing import RequestTiming
from tests.unit.components.samples import CHAT, SCALING, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

POLICIES = ("cache_aware", "round_robin", "random", "power_of_two", "consistent_hash")


def arguments(policy: str, timing: RequestTiming) -> list[str]:
    labels = EnvironmentLabels("dev")
    return router_arguments(labels, policy, timing, Aggregated().discovery(labels, "chat"))


def parse(words: list[str]) -> RouterArgs:
    parser = argparse.ArgumentParser(exit_on_error=False)
    RouterArgs.add_cli_args(parser, use_router_prefix=False)
    parsed: RouterArgs = RouterArgs.from_cli_args(parser.parse_args(words), use_router_prefix=False)
    return parsed


def build(engine: Engine, /, **changes: Any) -> dict[str, Any]:
    engine.run(lambda: ModelDeployment("chat", context(), deployment(**changes)))
    return engine.one("apps/v1:Deployment", "chat-router")


def pod(engine: Engine, /, **changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = build(engine, **changes)["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("policy", POLICIES)
def test_the_routers_own_parser_takes_the_arguments(policy: str) -> None:
    timing = RequestTiming(600, 60)
    parsed = parse(arguments(policy, timing))
    assert parsed.policy == policy
    assert (parsed.host, parsed.port) == ("$(POD_IP)", 8000)
    assert (parsed.prometheus_host, parsed.prometheus_port) == ("$(POD_IP)", 29000)
    assert parsed.service_discovery is True
    assert parsed.selector == {
        "inference.platform/environment": "dev",
        "inference.platform/component": "engine",
        "inference.platform/model": "chat",
    }
    assert (parsed.service_discovery_port, parsed.service_discovery_namespace) == (8000, "inference-dev")
    assert parsed.retry_max_retries == timing.retries.max_retries
    assert parsed.retry_initial_backoff_ms == timing.retries.initial_backoff_ms
    assert parsed.retry_max_backoff_ms == timing.retries.max_backoff_ms
    assert parsed.retry_backoff_multiplier == timing.retries.multiplier
    assert parsed.retry_jitter_factor == timing.retries.jitter
    assert parsed.disable_retries is False
    assert parsed.request_timeout_secs == 1800


def test_nothing_holds_up_a_fresh_worker() -> None:
    """The defaults would: 60 s until an open circuit is tried again, 60 s between health checks."""
    parsed = parse(arguments("cache_aware", RequestTiming(600, 60)))
    assert parsed.cb_timeout_duration_secs == 2
    assert parsed.cb_success_threshold == 1
    assert parsed.health_check_interval_secs == 2
    assert parsed.worker_startup_check_interval == 1
    assert parsed.worker_startup_timeout_secs == 10


def test_the_program_is_named_since_the_image_has_no_entry_point(engine: Engine) -> None:
    (container,) = pod(engine)["containers"]
    assert container["command"] == ["vllm-router"]
    assert container["image"] == "vllm/vllm-router:v0.1.17"
    assert container["args"] == arguments("cache_aware", CHAT.timing)


def test_a_router_without_workers_is_ready(engine: Engine) -> None:
    (container,) = pod(engine)["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/liveness", "port": 8000}


def test_it_may_read_pods_in_its_namespace_and_nothing_else(engine: Engine) -> None:
    build(engine)
    role = engine.one("v1:Role", "chat-router")
    assert role["metadata"]["namespace"] == "inference-dev"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    binding = engine.one("v1:RoleBinding", "chat-router")
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": role["metadata"]["name"],
    }
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "chat-router", "namespace": "inference-dev"}]
    assert not [item for item in engine.seen if "ClusterRole" in item.type]


def test_it_has_its_own_account_with_a_token(engine: Engine) -> None:
    made = pod(engine)
    assert made["serviceAccountName"] == "chat-router"
    assert made["automountServiceAccountToken"] is True
    assert engine.one("core/v1:ServiceAccount", "chat-router")["metadata"]["name"] == "chat-router"


def test_it_runs_on_the_system_nodes_confined(engine: Engine) -> None:
    made = pod(engine)
    assert made["nodeSelector"] == {"inference.platform/node-pool": "system"}
    assert "tolerations" not in made
    context_of_container = made["containers"][0]["securityContext"]
    assert context_of_container["runAsNonRoot"] is True
    assert context_of_container["runAsUser"] == 65534
    assert context_of_container["readOnlyRootFilesystem"] is True


def test_it_is_replaced_without_a_gap_and_drains(engine: Engine) -> None:
    made = build(engine, scaling=replace(SCALING, drain_seconds=30))["spec"]
    assert made["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert made["template"]["spec"]["terminationGracePeriodSeconds"] == 37
    assert made["template"]["spec"]["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 2}}}


def test_its_service_is_what_the_interceptor_is_told(engine: Engine) -> None:
    build(engine)
    service = engine.one("core/v1:Service", "chat-router")
    target = engine.one("InterceptorRoute", "chat-route")["spec"]["target"]
    assert target == {"service": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}
    assert service["spec"]["selector"] == {
        "inference.platform/environment": "dev",
        "inference.platform/component": "router",
        "inference.platform/model": "chat",
    }


def test_its_metrics_are_scraped(engine: Engine) -> None:
    annotations = build(engine)["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "29000",
        "prometheus.io/path": "/metrics",
    }
