"""Prometheus, Alertmanager and Grafana as a release: every value that is sent, and the scrape job of our pods.

Does not prove that the operator starts a Prometheus from them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.cluster import ClusterHandle
from components.observability.prometheus import PrometheusStack, PrometheusStackArgs
from components.observability.scraping import pod_scrape_job
from components.secrets import ExternalArgs, SecretArgs
from local.configuration import prometheus_configuration
from local.layout import ClusterFiles
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

SYSTEM = {"nodeSelector": {"inference.platform/node-pool": "system"}}


def made(engine: Engine, **changes: Any) -> dict[str, Any]:
    engine.run(lambda: PrometheusStack("prod-monitoring", PrometheusStackArgs(**changes)))
    return engine.one("Release", "prod-monitoring-release")


def test_exactly_these_children(engine: Engine) -> None:
    made(engine)
    assert engine.children() == Counter(
        {
            ("kubernetes:core/v1:Namespace", "prod-monitoring-namespace"): 1,
            ("kubernetes:helm.sh/v3:Release", "prod-monitoring-release"): 1,
        }
    )


def test_the_release(engine: Engine) -> None:
    release = made(engine)
    values = release.pop("values")
    assert release == {
        "name": "kube-prometheus-stack",
        "chart": "kube-prometheus-stack",
        "version": "88.5.3",
        "repositoryOpts": {"repo": "https://prometheus-community.github.io/helm-charts"},
        "namespace": "monitoring",
        "timeout": 900,
        "cleanupOnFail": True,
        "atomic": False,
        "compat": "true",  # the SDK adds it
        "maxHistory": 5,
    }
    (job,) = values["prometheus"]["prometheusSpec"].pop("additionalScrapeConfigs")
    assert job == pod_scrape_job(scrape_interval="5s", scrape_timeout="5s")
    assert values == {
        "prometheus": {
            "prometheusSpec": {
                "retention": "15d",
                "retentionSize": "80GiB",
                "storageSpec": {
                    "volumeClaimTemplate": {
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "100Gi"}},
                        }
                    }
                },
                "scrapeInterval": "15s",
                "evaluationInterval": "15s",
                "serviceMonitorSelectorNilUsesHelmValues": False,
                "podMonitorSelectorNilUsesHelmValues": False,
                "ruleSelectorNilUsesHelmValues": False,
                "scrapeConfigSelectorNilUsesHelmValues": False,
                "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"memory": "4Gi"}},
                **SYSTEM,
            }
        },
        "grafana": {"enabled": True, **SYSTEM},
        "alertmanager": {"alertmanagerSpec": SYSTEM},
        "prometheusOperator": SYSTEM,
        "kube-state-metrics": {
            "metricLabelsAllowlist": [
                "nodes=[inference.platform/node-pool,inference.platform/capacity-type,node.kubernetes.io/instance-type]",
                "pods=[inference.platform/model,inference.platform/component]",
            ],
            **SYSTEM,
        },
        "kubeControllerManager": {"enabled": False},
        "kubeScheduler": {"enabled": False},
        "kubeEtcd": {"enabled": False},
        "kubeProxy": {"enabled": False},
    }


def test_what_can_be_chosen(engine: Engine) -> None:
    values = made(engine, grafana=False, storage_class="gp3", storage_gib=10, retention="30d")["values"]
    spec = values["prometheus"]["prometheusSpec"]
    assert values["grafana"] == {"enabled": False}
    assert spec["storageSpec"]["volumeClaimTemplate"]["spec"]["storageClassName"] == "gp3"
    assert (spec["retention"], spec["retentionSize"]) == ("30d", "8GiB")


def test_grafanas_password_is_a_reference(engine: Engine) -> None:
    """The Secret is made beside Grafana, marked; the release has its name only, and comes after it."""
    password = "planted-grafana-password"
    admin = SecretArgs(
        name="grafana-admin",
        keys=("admin-user", "admin-password"),
        values={"admin-user": pulumi.Output.secret("admin"), "admin-password": pulumi.Output.secret(password)},
    )
    release = made(engine, grafana_admin=admin)
    assert release["values"]["grafana"]["admin"] == {"existingSecret": "grafana-admin"}
    assert "assword" not in str(release)
    secret = engine.one("core/v1:Secret", "prod-monitoring-admin")
    assert secret["metadata"]["namespace"] == "monitoring"
    assert secret["metadata"]["name"] == "grafana-admin"
    holders = {item.type for item in engine.seen if password in str(item.inputs)}
    assert holders == {"kubernetes:core/v1:Secret"}


def test_grafanas_password_comes_from_a_store(engine: Engine) -> None:
    source = ExternalArgs(store="vault", store_kind="ClusterSecretStore", entry="ops/grafana")
    admin = SecretArgs(name="grafana-admin", keys=("admin-user", "admin-password"), values={}, external=source)
    assert made(engine, grafana_admin=admin)["values"]["grafana"]["admin"] == {"existingSecret": "grafana-admin"}
    brought = engine.one("ExternalSecret", "prod-monitoring-admin")
    assert brought["metadata"]["namespace"] == "monitoring"
    assert [item["remoteRef"]["property"] for item in brought["spec"]["data"]] == ["admin-user", "admin-password"]


def test_it_is_where_the_cluster_says_that_prometheus_is(engine: Engine) -> None:
    stack = engine.run(lambda: PrometheusStack("prod-monitoring", PrometheusStackArgs()))
    assert stack.address == "http://prometheus-operated.monitoring.svc:9090"
    assert stack.address == ClusterHandle.prometheus_address


def test_no_storage_is_an_error() -> None:
    with pytest.raises(ValueError, match="storage_gib 0"):
        PrometheusStackArgs(storage_gib=0)


def test_the_embedded_cluster_labels_its_series_alike(tmp_path: Path) -> None:
    """One rule for both: what is recorded and alerted on locally means the same on a cloud."""
    local = prometheus_configuration(ClusterFiles(tmp_path))["scrape_configs"][0]
    cloud = pod_scrape_job()
    for key in ("job_name", "relabel_configs", "metric_relabel_configs"):
        assert local[key] == cloud[key]
    targets = {rule.get("target_label") for rule in cloud["relabel_configs"]}
    assert {"namespace", "pod", "node", "inference_model", "inference_component"} <= targets
