"""What is installed for which gaps of a cluster.

Does not prove the order (mocks do not see dependencies), nor that anything starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import chain, combinations

import pytest
from pulumi_kubernetes import Provider

from components.accelerators.node_images import NodeImage
from components.cluster import Capability, ClusterHandle, GatewayExposure, NodeSelection
from stacks.layers import install_missing
from tests.unit.components.samples import L4_POOL
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

ALL = frozenset(Capability)


def layers(engine: Engine, provides: Iterable[Capability], **changes: object) -> ClusterHandle:
    engine.seen.clear()

    def build() -> ClusterHandle:
        handle = ClusterHandle(
            provider=Provider("prod-provider", kubeconfig="/somewhere/kubeconfig"),
            provides=frozenset(provides),
            simulated=False,
            kubeconfig="",
            gateway=GatewayExposure(),
            **changes,  # type: ignore[arg-type]
        )
        return install_missing("prod", handle, (), (L4_POOL,))

    return engine.run(build)


def releases(engine: Engine) -> set[str]:
    return {item.inputs["name"] for item in engine.seen if item.type.endswith(":Release")}


def test_nothing_where_all_is_there(engine: Engine) -> None:
    handle = layers(engine, ALL)
    assert engine.components() == {}
    assert (handle.installed, handle.autoscaling) == ((), ())


def test_everything_where_nothing_is(engine: Engine) -> None:
    handle = layers(engine, ())
    assert releases(engine) == {
        "kube-prometheus-stack",
        "nvidia-device-plugin",
        "dcgm-exporter",
        "keda",
        "keda-add-ons-http",
    }
    assert handle.provides == ALL - {Capability.CERT_MANAGER}
    assert handle.prometheus_address == "http://prometheus-operated.monitoring.svc:9090"
    assert len(handle.autoscaling) == 2, "custom resources of KEDA come after both releases"
    assert set(handle.autoscaling) < set(handle.installed)
    assert len(handle.installed) == 5


@pytest.mark.parametrize("provided", [*chain.from_iterable(combinations(Capability, size) for size in (0, 1, 2, 6))])
def test_what_is_there_is_not_installed_again(engine: Engine, provided: tuple[Capability, ...]) -> None:
    handle = layers(engine, provided)
    brings = {
        Capability.PROMETHEUS: "kube-prometheus-stack",
        Capability.DEVICE_PLUGIN: "nvidia-device-plugin",
        Capability.DCGM_EXPORTER: "dcgm-exporter",
        Capability.KEDA: "keda",
        Capability.KEDA_HTTP_ADD_ON: "keda-add-ons-http",
    }
    assert releases(engine) == {release for what, release in brings.items() if what not in provided}
    assert set(brings) <= handle.provides
    if Capability.PROMETHEUS not in provided:
        stack = engine.one("Release", "prod-monitoring-release")["values"]
        assert stack["grafana"]["enabled"] == (Capability.GRAFANA not in provided)


def test_cert_manager_comes_where_a_certificate_is_to_be_made(engine: Engine) -> None:
    """Pinned, on the system nodes, in a restricted namespace, with its definitions; never where it is there already."""

    def build(provides: frozenset[Capability]) -> None:
        handle = ClusterHandle(
            provider=Provider("prod-provider", kubeconfig="/somewhere/kubeconfig"),
            provides=provides,
            simulated=False,
            kubeconfig="",
            gateway=GatewayExposure(),
        )
        install_missing("prod", handle, (), (L4_POOL,), certificates=True)

    engine.run(lambda: build(ALL - {Capability.CERT_MANAGER}))
    release = engine.one("Release", "prod-certificates-release")
    assert (release["chart"], release["version"]) == ("cert-manager", "v1.21.2")
    assert release["values"] == {
        "global": {"nodeSelector": {"inference.platform/node-pool": "system"}},
        "crds": {"enabled": True, "keep": True},
        "replicaCount": 2,
        "podDisruptionBudget": {"enabled": True},
        "webhook": {"replicaCount": 2, "podDisruptionBudget": {"enabled": True}},
    }
    namespace = engine.one("Namespace", "prod-certificates-namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    engine.seen.clear()
    engine.run(lambda: build(ALL))
    assert releases(engine) == set()


def test_gpus_are_watched_by_a_prometheus_that_knows_no_monitors_too(engine: Engine) -> None:
    layers(engine, ALL - {Capability.DCGM_EXPORTER, Capability.PROMETHEUS_OPERATOR})
    values = engine.one("Release", "prod-accelerators-dcgm-exporter")["values"]
    assert values["serviceMonitor"]["enabled"] is False
    assert values["podAnnotations"]["prometheus.io/scrape"] == "true"


def test_the_node_image_decides(engine: Engine) -> None:
    layers(engine, ALL - {Capability.DEVICE_PLUGIN}, node_image=NodeImage.BARE)
    assert releases(engine) == {"gpu-operator"}


def test_everything_goes_where_the_cluster_has_its_cpu_nodes(engine: Engine) -> None:
    """Of a cluster of somebody else's, whose nodes do not carry our labels; and its GPU pods name its RuntimeClass."""
    elsewhere = {"system": NodeSelection(labels={"role": "infra"})}
    layers(engine, (), selections=elsewhere, runtime_class="nvidia")
    sent = json.dumps([item.inputs.get("values") for item in engine.seen])
    assert 'inference.platform/node-pool": "system' not in sent
    assert sent.count('"nodeSelector": {"role": "infra"}') == 10
    assert sent.count('"runtimeClassName": "nvidia"') == 2


def test_namespaces_belong_to_the_environment(engine: Engine) -> None:
    layers(engine, ())
    made = [item.inputs["metadata"] for item in engine.seen if item.type.endswith(":Namespace")]
    assert {metadata["name"] for metadata in made} == {"monitoring", "accelerators", "keda"}
    for metadata in made:
        assert metadata["labels"]["inference.platform/environment"] == "prod"
