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


def build(engine: Engine, **changes: Any) -> None:
    def program() -> None:
        args = TenancyArgs(
            labels=EnvironmentLabels("dev"),
            cluster=cluster(Provider("provider", kubeconfig="/somewhere")),
            gpu_resources=("nvidia.com/gpu", "nvidia.com/mig-1g.10gb"),
        )
        Tenancy("tenancy", replace(args, **changes))

    engine.run(program)


def test_the_namespace_is_closed_but_for_keda_prometheus_and_itself(engine: Engine) -> None:
    build(engine)
    spec = engine.one("networking.k8s.io/v1:NetworkPolicy", "tenancy-closed")["spec"]
    name = "kubernetes.io/metadata.name"
    assert spec == {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [
                    {"podSelector": {}},
                    {"namespaceSelector": {"matchLabels": {name: "keda"}}},
                    {"namespaceSelector": {"matchLabels": {name: "monitoring"}}},
                ]
            }
        ],
    }


def test_the_gateway_is_open_on_its_port_only(engine: Engine) -> None:
    build(engine)
    spec = engine.one("networking.k8s.io/v1:NetworkPolicy", "tenancy-gateway")["spec"]
    assert spec["podSelector"]["matchLabels"]["inference.platform/component"] == "gateway"
    assert spec["podSelector"]["matchLabels"]["inference.platform/environment"] == "dev"
    assert spec["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]


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
