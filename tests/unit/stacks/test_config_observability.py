"""Who collects metrics; Grafana's administrator: one of the environment's Secrets, where the platform installs it.

Does not prove that Grafana takes the password.
"""

from __future__ import annotations

from typing import Any

import pytest

from stacks.config import load_environment
from stacks.errors import ConfigError
from tests.unit.stacks.config_samples import sample

pytestmark = pytest.mark.unit

SECRET = {"name": "grafana", "keys": ["admin-user", "admin-password"]}
EXISTING = {"cloud": "existing", "observability": {"grafana_admin_secret": "grafana"}, "secrets": [SECRET]}


def errors(**changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_environment(sample(**{**EXISTING, **changes}), "dev")
    return [error.line() for error in caught.value.errors if error.path.startswith("observability")]


def test_a_secret_of_the_environment() -> None:
    config = load_environment(sample(**EXISTING, existing={"kubeconfig": "/some/file"}), "dev")
    assert config.observability.grafana_admin_secret == "grafana"


def test_the_chart_makes_one_by_default() -> None:
    assert load_environment(sample(), "dev").observability.grafana_admin_secret is None


def test_one_that_is_not_there() -> None:
    (line,) = errors(secrets=[])
    assert line.startswith("observability.grafana_admin_secret: is none of `secrets`")
    assert "Add it, with the keys admin-user and admin-password." in line


def test_one_without_the_keys() -> None:
    (line,) = errors(secrets=[{"name": "grafana", "keys": ["password"]}])
    assert "has not the keys admin-user and admin-password" in line


@pytest.mark.parametrize("provides", [["prometheus"], ["prometheus", "prometheus-operator", "grafana"]])
def test_where_the_cluster_brings_its_own(provides: list[str]) -> None:
    existing = {"kubeconfig": "/some/file", "provides": provides, "prometheus_address": "http://p.m.svc:9090"}
    (line,) = errors(existing=existing)
    assert "the platform installs no Grafana here" in line
    assert "Remove it" in line


def test_the_embedded_cluster_has_none() -> None:
    (line,) = errors(cloud="local")
    assert "the platform installs no Grafana here" in line


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_a_managed_prometheus_is_refused_with_what_to_do(cloud: str) -> None:
    (line,) = errors(cloud=cloud, observability={"prometheus": "managed"})
    assert line.startswith("observability.prometheus: is not built yet")
    assert "choose from in-cluster" in line
    assert "existing.prometheus_address" in line


def test_a_prometheus_in_the_cluster_may_be_named() -> None:
    assert load_environment(sample(observability={"prometheus": "in-cluster"}), "dev").observability.prometheus
