"""What keeps an environment's namespace apart.

Does not prove that a network enforces the policies, nor that the API server counts: the local tests read quotas back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pulumi_kubernetes import Provider

from components.labels import EnvironmentLabels
from components.tenancy import QuotaArgs, Tenancy, TenancyArgs, prometheus_namespace
from tests.unit.components.samples import cluster
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


def tenancy(**changes: Any) -> TenancyArgs:
    """Inside `engine.run` only: registers the provider."""
    args = TenancyArgs(
        labels=EnvironmentLabels("dev"),
        cluster=cluster(Provider("provider", kubeconfig="/somewhere")),
        gpu_resources=("nvidia.com/gpu", "nvidia.com/mig-1g.10gb"),
    )
    return replace(args, **changes)


def build(engine: Engine, **changes: Any) -> None:
    engine.run(lambda: Tenancy("tenancy", tenancy(**changes)))


def built_policies(engine: Engine, **changes: Any) -> dict[str, dict[str, Any]]:
    """Specs of the NetworkPolicies by name."""
    engine.seen.clear()
    build(engine, **changes)
    found = [item.inputs for item in engine.seen if item.type.endswith(":NetworkPolicy")]
    assert {item["metadata"]["namespace"] for item in found} == {"inference-dev"}
    return {item["metadata"]["name"]: item["spec"] for item in found}


def test_everything_is_closed_both_ways(engine: Engine) -> None:
    """What is open besides is in test_network_paths.py."""
    made = built_policies(engine)
    assert made["closed"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    # Registered side by side: in no order.
    assert set(made) == {"closed", "gateway", "router", "engine"}


def test_the_policy_of_a_workload(engine: Engine) -> None:
    router = built_policies(engine)["router"]
    ours = {"inference.platform/environment": "dev"}
    assert router == {
        "podSelector": {"matchLabels": {**ours, "inference.platform/component": "router"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}],
                "ports": [{"port": 8000, "protocol": "TCP"}],
            },
            {
                "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
                "ports": [{"port": 29000, "protocol": "TCP"}],
            },
        ],
        "egress": [
            {
                "to": [{"podSelector": {"matchLabels": {**ours, "inference.platform/component": "engine"}}}],
                "ports": [{"port": 8000, "protocol": "TCP"}],
            },
            {"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6443, "protocol": "TCP"}]},
            {"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]},
        ],
    }


def test_without_limits_there_is_no_quota(engine: Engine) -> None:
    build(engine, quota=QuotaArgs())
    assert not [item for item in engine.seen if item.type.endswith(":ResourceQuota")]


def test_a_quota_limits_every_gpu_resource_of_the_pools(engine: Engine) -> None:
    build(engine, quota=QuotaArgs(gpus=4, cpu=32, memory_gib=128, pods=30))
    quota = engine.one("core/v1:ResourceQuota", "tenancy-quota")
    assert quota["metadata"]["namespace"] == "inference-dev"
    assert quota["spec"]["hard"] == {
        "requests.nvidia.com/gpu": "4",
        "requests.nvidia.com/mig-1g.10gb": "4",
        "requests.cpu": "32",
        "requests.memory": "128Gi",
        "pods": "30",
    }


@pytest.mark.parametrize(
    ("address", "namespace"),
    [
        ("http://prometheus-operated.monitoring.svc:9090", "monitoring"),
        ("http://prometheus.metrics.svc.cluster.local:80", "metrics"),
        ("https://prometheus.example.com", ""),
        ("http://10.0.0.7:9090", ""),
    ],
)
def test_where_prometheus_is(address: str, namespace: str) -> None:
    assert prometheus_namespace(address) == namespace
