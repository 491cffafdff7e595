"""The gateway component.

Does not prove that clients reach it, nor what HAProxy makes of its configuration: see test_haproxy.py for the latter.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pulumi
import pytest
from pulumi_kubernetes import Provider

from components.cluster import GatewayExposure
from components.gateway.gateway import Gateway, GatewayArgs, haproxy_config
from components.gateway.haproxy import render
from components.labels import EnvironmentLabels
from tests.unit.components.samples import cluster
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


def arguments(**changes: Any) -> GatewayArgs:
    """Inside `engine.run` only: registers the provider."""
    args = GatewayArgs(
        labels=EnvironmentLabels("dev"),
        cluster=cluster(Provider("provider", kubeconfig="/somewhere")),
        models=("chat", "code"),
        patience_seconds=2430,
        drain_seconds=60,
    )
    return replace(args, **changes)


def build(engine: Engine, **changes: Any) -> dict[str, Any]:
    engine.run(lambda: Gateway("gateway", arguments(**changes)))
    return engine.one("apps/v1:Deployment", "gateway")


def test_exactly_these_resources(engine: Engine) -> None:
    build(engine)
    assert engine.components() == Counter({("inference-platform:gateway:Gateway", "gateway"): 1})
    assert engine.children() == Counter(
        {
            ("pulumi:providers:kubernetes", "provider"): 1,
            ("kubernetes:core/v1:ServiceAccount", "gateway"): 1,
            ("kubernetes:core/v1:ConfigMap", "gateway-config"): 1,
            ("kubernetes:apps/v1:Deployment", "gateway"): 1,
            ("kubernetes:core/v1:Service", "gateway"): 1,
        }
    )


def test_the_pod(engine: Engine) -> None:
    spec = build(engine)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "haproxy:2.8.25"
    assert "command" not in container
    assert container["args"] == ["-f", "/usr/local/etc/haproxy/haproxy.cfg"]
    assert container["volumeMounts"] == [{"name": "config", "mountPath": "/usr/local/etc/haproxy", "readOnly": True}]
    assert spec["volumes"] == [{"name": "config", "configMap": {"name": "gateway"}}]
    assert spec["automountServiceAccountToken"] is False
    assert spec["nodeSelector"] == {"inference.platform/node-pool": "system"}
    assert spec["terminationGracePeriodSeconds"] == 2 + 60 + 5
    assert container["securityContext"]["runAsUser"] == 99
    assert container["env"] == [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": 8080}


def test_the_configuration_it_reads_is_the_one_rendered(engine: Engine) -> None:
    config: list[str] = []

    def program() -> None:
        args = arguments()
        config.append(render(haproxy_config(args)))
        Gateway("gateway", args)

    engine.run(program)
    config_map = engine.one("core/v1:ConfigMap", "gateway-config")
    assert config_map["metadata"]["name"] == "gateway"
    assert config_map["data"] == {"haproxy.cfg": config[0]}
    assert "keda-add-ons-http-interceptor-proxy.keda.svc.cluster.local:8080" in config[0]


def test_a_new_configuration_makes_new_pods(engine: Engine) -> None:
    def annotations(models: tuple[str, ...]) -> dict[str, str]:
        engine.seen.clear()
        found: dict[str, str] = build(engine, models=models)["spec"]["template"]["metadata"]["annotations"]
        return found

    one, same, other = annotations(("a",)), annotations(("a",)), annotations(("a", "b"))
    assert one == same
    assert one["inference.platform/config-hash"] != other["inference.platform/config-hash"]
    assert one["prometheus.io/port"] == "8404"


def test_it_is_replaced_without_a_gap(engine: Engine) -> None:
    assert build(engine)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_one_pod_has_no_disruption_budget(engine: Engine) -> None:
    """One that protected it would keep its node from ever being drained."""
    build(engine)
    assert "kubernetes:policy/v1:PodDisruptionBudget" not in {item.type for item in engine.seen}


def test_of_several_pods_a_drain_takes_one_at_a_time(engine: Engine) -> None:
    spec = build(engine, replicas=3)["spec"]
    assert spec["replicas"] == 3
    budget = engine.one("policy/v1:PodDisruptionBudget", "gateway")
    assert budget["metadata"]["namespace"] == "inference-dev"
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": spec["selector"]["matchLabels"]},
    }
    assert budget["spec"]["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_its_pods_spread_over_zones_and_nodes_and_never_wait_for_it(engine: Engine) -> None:
    spec = build(engine, replicas=2)["spec"]
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    assert [item["topologyKey"] for item in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    assert {item["whenUnsatisfiable"] for item in spread} == {"ScheduleAnyway"}
    assert all(item["labelSelector"] == {"matchLabels": spec["selector"]["matchLabels"]} for item in spread)


def test_the_service_is_found_by_label_and_port_name(engine: Engine) -> None:
    """The local cloud's forwarder looks for exactly these."""
    build(engine)
    service = engine.one("core/v1:Service", "gateway")
    assert service["metadata"]["name"] == "gateway"
    assert service["metadata"]["labels"]["inference.platform/component"] == "gateway"
    assert service["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["selector"] == {
        "inference.platform/environment": "dev",
        "inference.platform/component": "gateway",
    }


def test_a_cloud_says_how_it_is_exposed(engine: Engine) -> None:
    exposure = GatewayExposure(url="http://elsewhere", service_type="LoadBalancer", annotations={"a": "b"})

    def program() -> Gateway:
        args = arguments()
        return Gateway("gateway", replace(args, cluster=replace(args.cluster, gateway=exposure)))

    gateway = engine.run(program)
    service = engine.one("core/v1:Service", "gateway")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["metadata"]["annotations"] == {"a": "b"}
    assert gateway.host == "gateway.inference-dev.svc"


def test_its_url(engine: Engine) -> None:
    urls: list[str] = []
    engine.run(lambda: Gateway("gateway", arguments()).url.apply(urls.append))
    assert urls == ["http://127.0.0.1:8080"]


@pytest.mark.parametrize(
    ("point", "url"),
    [
        ({"ip": "10.0.0.7"}, "http://10.0.0.7:8080"),
        ({"hostname": "lb.example.com"}, "http://lb.example.com:8080"),
        (None, "http://gateway.inference-dev.svc:8080"),
    ],
)
def test_its_url_where_the_cloud_gives_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, point: dict[str, str] | None, url: str
) -> None:
    """The address is the load balancer's, which is known only once the Service is there."""
    answer = engine.mocks.new_resource

    def with_status(args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        made, state = answer(args)
        status = {"loadBalancer": {"ingress": [point]} if point else {}}
        return made, {**state, "status": status} if args.typ.endswith(":Service") else state

    monkeypatch.setattr(engine.mocks, "new_resource", with_status)
    urls: list[str] = []

    def program() -> None:
        args = arguments()
        args = replace(args, cluster=replace(args.cluster, gateway=GatewayExposure(service_type="LoadBalancer")))
        Gateway("gateway", args).url.apply(urls.append)

    engine.run(program)
    assert urls == [url]
