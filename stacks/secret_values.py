"""Values of the environment's Secrets, from the stack's encrypted configuration; only inside the Pulumi program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.runtime import get_config, is_config_secret

from stacks.config import EnvironmentConfig
from stacks.config.checks_secrets import SECRETS_KEY, how_to_set, missing_values
from stacks.errors import MISSING, ConfigError, FieldError

SecretValues = Mapping[str, Mapping[str, pulumi.Output[str]]]
"""Values of Secrets by name and key, each marked as a secret."""


def secret_values(config: EnvironmentConfig, stack: str) -> SecretValues:
    """The values by name of the Secret and key, each marked as a secret.

    Args:
        config: checked.
        stack: its name, for messages.

    Raises:
        ConfigError: a value is missing, is nobody's or is not encrypted; no message repeats one.
    """
    text = get_config(SECRETS_KEY)
    values = _parse(text)
    errors = list(missing_values(config.secrets, values))
    if text is not None and not is_config_secret(SECRETS_KEY):
        fix = f"Set each value with {how_to_set('<name>', '<key>')}."
        errors.insert(0, FieldError(SECRETS_KEY, MISSING, "is not encrypted", fix=fix))
    if errors:
        raise ConfigError(errors, f"Pulumi.{stack}.yaml")
    wanted = {item.name: item.keys for item in config.secrets if item.external is None}
    return {name: {key: pulumi.Output.secret(values[name][key]) for key in keys} for name, keys in wanted.items()}


def _parse(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
