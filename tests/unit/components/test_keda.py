"""KEDA and its HTTP add-on as releases: every value that is sent.

Does not prove that the charts do with the values what we mean, nor that KEDA runs: test_chart_values checks them
against the charts where those are at hand, and the embedded cluster runs the same programs with the same settings.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from components.autoscaling.keda import Interceptor, InterceptorReplicas, Keda, KedaArgs, KedaValues, add_on_values
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

RELEASE = "kubernetes:helm.sh/v3:Release"
NAMESPACE = "kubernetes:core/v1:Namespace"
SYSTEM = {"inference.platform/node-pool": "system"}


def keda(engine: Engine, **changes: Any) -> Keda:
    return engine.run(lambda: Keda("prod-keda", KedaArgs(**changes)))


def test_exactly_these_children(engine: Engine) -> None:
    keda(engine)
    assert engine.children() == Counter(
        {
            (NAMESPACE, "prod-keda-namespace"): 1,
            (RELEASE, "prod-keda-release"): 1,
            (RELEASE, "prod-keda-http-add-on"): 1,
        }
    )


def test_the_release_of_keda(engine: Engine) -> None:
    keda(engine)
    assert engine.one("Release", "prod-keda-release") == {
        "name": "keda",
        "chart": "keda",
        "version": "2.20.2",
        "repositoryOpts": {"repo": "https://kedacore.github.io/charts"},
        "namespace": "keda",
        "timeout": 600,
        "cleanupOnFail": True,
        "atomic": False,
        "compat": "true",  # the SDK adds it
        "maxHistory": 5,
        "values": {
            "nodeSelector": SYSTEM,
            "operator": {"replicaCount": 2},
            "metricsServer": {"replicaCount": 2},
            "webhooks": {"replicaCount": 2},
            "extraArgs": {"keda": {"kube-api-qps": "200", "kube-api-burst": "400"}},
            "prometheus": {"operator": {"enabled": True, "port": 8080}},
            "podAnnotations": {
                "keda": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": "8080",
                    "prometheus.io/path": "/metrics",
                }
            },
            "podDisruptionBudget": {
                "operator": {"maxUnavailable": 1},
                "metricServer": {"maxUnavailable": 1},
                "webhooks": {"maxUnavailable": 1},
            },
        },
    }


def test_the_release_of_the_add_on(engine: Engine) -> None:
    keda(engine, interceptor_replicas=3, most_interceptors=20)
    made = engine.one("Release", "prod-keda-http-add-on")
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": "2223", "prometheus.io/path": "/metrics"}
    security = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert (made["chart"], made["version"], made["namespace"]) == ("keda-add-ons-http", "0.15.0", "keda")
    assert made["values"] == {
        "interceptor": {
            "replicas": {"min": 3, "max": 20},
            "responseHeaderTimeout": "3600s",
            "shutdownDelay": "5s",
            "drainTimeout": "1800s",
            "terminationGracePeriodSeconds": 1810,
            "nodeSelector": SYSTEM,
            "podAnnotations": scraped,
            "resources": {
                "requests": {"cpu": "250m", "memory": "256Mi"},
                "limits": {"cpu": "2", "memory": "1Gi"},
            },
        },
        "scaler": {
            "replicas": 2,
            "streamInterval": 200,
            "extraEnvs": {"KEDA_HTTP_QUEUE_TICK_DURATION": "50ms"},
            "nodeSelector": SYSTEM,
            "podAnnotations": scraped,
            "resources": {
                "requests": {"cpu": "100m", "memory": "64Mi"},
                "limits": {"cpu": "1", "memory": "256Mi"},
            },
        },
        "operator": {"nodeSelector": SYSTEM},
        "podSecurityContext": {"operator": security, "scaler": security, "interceptor": security},
    }


def test_the_namespace_lets_nothing_privileged_in(engine: Engine) -> None:
    keda(engine, labels={"a": "b"})
    assert engine.one("Namespace", "prod-keda-namespace")["metadata"] == {
        "name": "keda",
        "labels": {"a": "b", "pod-security.kubernetes.io/enforce": "restricted"},
    }


def test_clients_find_it_where_they_look(engine: Engine) -> None:
    made = keda(engine)
    assert made.interceptor.address == "keda-add-ons-http-interceptor-proxy.keda:8080"
    assert made.external_scaler.address == "keda-add-ons-http-external-scaler.keda:9090"
    assert len(made.releases) == 2


@pytest.mark.parametrize(
    ("missing", "names"),
    [
        ({"keda": False}, ["prod-keda-http-add-on"]),
        ({"http_add_on": False}, ["prod-keda-release"]),
    ],
)
def test_only_what_is_missing(engine: Engine, missing: dict[str, bool], names: list[str]) -> None:
    keda(engine, **missing)
    assert [name for kind, name in engine.children() if kind == RELEASE] == names


@pytest.mark.parametrize(("fewest", "most"), [(1, 10), (0, 10), (5, 4)])
def test_one_interceptor_is_not_enough(fewest: int, most: int) -> None:
    with pytest.raises(ValueError, match="2 <= interceptor_replicas <= most_interceptors"):
        KedaArgs(interceptor_replicas=fewest, most_interceptors=most)


def test_unknown_keys_and_wrong_types_are_errors() -> None:
    with pytest.raises(ValidationError, match="extraArgz"):
        KedaValues(extraArgz={})
    with pytest.raises(ValidationError, match="extraArgs"):
        KedaValues(extraArgs={})
    replicas = InterceptorReplicas(min=2, max=3)
    with pytest.raises(ValidationError, match="drain_timeout"):
        Interceptor(node_selector=SYSTEM, replicas=replicas, drain_timeout=30)  # type: ignore[arg-type]


def test_a_longer_answer_than_the_drain_does_not_exist() -> None:
    """An interceptor that is scaled in may still carry the longest answer that the router allows."""
    values = add_on_values(KedaArgs()).interceptor.render()
    drain, delay = (int(values[key].removesuffix("s")) for key in ("drainTimeout", "shutdownDelay"))
    assert drain >= 1800
    assert values["terminationGracePeriodSeconds"] >= drain + delay
