"""Checks of what watches the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from stacks.config.models import EnvironmentConfig
from stacks.config.salvage import has
from stacks.config.vocabulary import Cloud
from stacks.errors import FieldError, unknown_choice

GRAFANA_KEYS: Final = ("admin-user", "admin-password")
"""Of the Secret, as the chart looks for them."""

FIELD: Final = "observability.grafana_admin_secret"
BROUGHT: Final = frozenset({"prometheus", "grafana"})


def check_observability(config: EnvironmentConfig) -> Iterator[FieldError]:
    """An administrator for a Grafana that is not ours, or of a Secret that is not there.

    Args:
        config: valid, or salvaged from an invalid one.
    """
    if not has(config, "observability") or not has(config.observability, "grafana_admin_secret"):
        return
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
