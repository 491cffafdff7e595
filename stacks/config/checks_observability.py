"""Checks of what watches the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stacks.config.models import EnvironmentConfig
from stacks.config.models_observability import PrometheusKind
from stacks.config.salvage import has
from stacks.config.vocabulary import Cloud
from stacks.errors import FieldError, unknown_choice

GRAFANA_KEYS: Final = ("admin-user", "admin-password")
"""Of the Secret, as the chart looks for them."""

FIELD: Final = "observability.grafana_admin_secret"
BROUGHT: Final = frozenset({"prometheus", "grafana"})


def check_observability(config: EnvironmentConfig) -> Iterator[FieldError]:
    """A collector that is not built, an administrator for a Grafana that is not ours, or of a Secret that is not there.

    Args:
        config: valid, or salvaged from an invalid one.
    """
    if not has(config, "observability"):
        return
    if has(config.observability, "prometheus") and config.observability.prometheus is PrometheusKind.MANAGED:
        yield FieldError(
            "observability.prometheus",
            PrometheusKind.MANAGED,
            "is not built yet: KEDA, which asks for queue lengths, and the rules know a Prometheus without credentials",
            (PrometheusKind.IN_CLUSTER,),
            "Remove it; the Prometheus in the cluster can write to the managed service too (remote write). Or make the "
            "cluster yourself and give existing.prometheus_address a proxy that adds the credentials.",
        )
    if has(config.observability, "grafana_admin_secret"):
        yield from _check_admin(config)


def _check_admin(config: EnvironmentConfig) -> Iterator[FieldError]:
    name = config.observability.grafana_admin_secret
    if name is None:
        return
    if _brings_its_own(config):
        message = "the platform installs no Grafana here"
        yield FieldError(FIELD, name, message, fix="Remove it; whoever runs the cluster's Grafana has its password.")
        return
    if not has(config, "secrets"):
        return
    keys = {item.name: item.keys for item in config.secrets if has(item, "name", "keys")}
    if name not in keys:
        fix = f"Add it, with the keys {' and '.join(GRAFANA_KEYS)}."
        yield unknown_choice(FIELD, name, "is none of `secrets`", list(keys), fix)
    elif not set(GRAFANA_KEYS) <= set(keys[name]):
        message = f"the Secret of `secrets` has not the keys {' and '.join(GRAFANA_KEYS)}"
        yield FieldError(FIELD, name, message, fix="Add them to its keys.")


def _brings_its_own(config: EnvironmentConfig) -> bool:
    if not has(config, "cloud"):
        return False
    if config.cloud is Cloud.EXISTING and has(config, "existing") and config.existing is not None:
        # Without a Prometheus of its own the platform installs the chart, with Grafana in it unless it is there.
        provides = {item.value for item in config.existing.provides} if has(config.existing, "provides") else set()
        return bool(BROUGHT & provides)
    return config.cloud is Cloud.LOCAL
