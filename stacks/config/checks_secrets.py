"""Secrets: none in plain text anywhere in the environment object, and references that lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from stacks.config.models import EnvironmentConfig, ModelDeployment
from stacks.config.models_secrets import EnvironmentSecret
from stacks.config.salvage import has
from stacks.config.shapes import Location, show_path
from stacks.errors import MISSING, FieldError, unknown_choice
from stacks.plain_secrets import find_secrets

SECRETS_KEY: Final = "inference-platform:secrets"
"""Of the stack's configuration: values of the environment's Secrets, encrypted."""

REFUSED_ELSEWHERE: Final = {
    "chart_values": frozenset({"hf_token", "vllmApiKey", "credentials"}),
    "extra_args": frozenset({"api-key", "api_key", "hf-token", "hf_token"}),
}
"""Values of the chart and flags of the engine that are refused in words of their own, also without the value."""


def check_plain_secrets(raw: object) -> Iterator[FieldError]:
    """What looks like a secret in the environment object, by its name or its form; the value is in no message.

    Args:
        raw: the object as it was written.
    """
    for path in find_secrets(raw):
        if any(section in path and not names.isdisjoint(path[-2:]) for section, names in REFUSED_ELSEWHERE.items()):
            continue
        yield FieldError(
            show_path(path) or "environment",
            MISSING,
            "looks like a secret in plain text: what stands here is kept in state, previews and Helm values",
            fix="Put it into a Secret and name that (docs/security.md). If it was one, replace it: it was in a file.",
        )


def check_encrypted_values(values: object) -> Iterator[FieldError]:
    """What is wrong with the values under `inference-platform:secrets` of a stack's file; no value is repeated.

    Args:
        values: what stands there, encrypted texts as `{secure: ...}`.
    """
    if not isinstance(values, Mapping):
        fix = f"Set each value with {how_to_set('<name>', '<key>')}."
        yield FieldError(SECRETS_KEY, MISSING, "must be a mapping of names of Secrets", fix=fix)
        return
    for name, keys in values.items():
        if isinstance(keys, Mapping) and set(keys) == {"secure"}:
            yield FieldError(f"{SECRETS_KEY}.{name}", MISSING, "must be a mapping of keys to encrypted values")
        elif not isinstance(keys, Mapping):
            yield _not_encrypted(str(name))
        else:
            for key, value in keys.items():
                if not (isinstance(value, Mapping) and set(value) == {"secure"}):
                    yield _not_encrypted(str(name), str(key))


def _not_encrypted(*names: str) -> FieldError:
    fix = f"Set it with {how_to_set(*names)}, and replace what stood there: it has been in a file."
    return FieldError(".".join((SECRETS_KEY, *names)), MISSING, "is not encrypted", fix=fix)


def how_to_set(*names: str) -> str:
    """The command that encrypts a value; names may have dots and dashes."""
    path = "".join(f'["{name}"]' for name in names)
    return f"pulumi config set --secret --path '{SECRETS_KEY}{path}'"


def missing_values(secrets: Sequence[EnvironmentSecret], values: Mapping[str, Any]) -> Iterator[FieldError]:
    """Values that the environment's Secrets need and the stack's configuration does not have, and the other way round.

    Args:
        secrets: of the environment.
        values: by name and key; only the names are looked at.
    """
    wanted = {item.name: item.keys for item in secrets if item.external is None}
    for name, keys in wanted.items():
        given = values.get(name)
        for key in keys:
            if not isinstance(given, Mapping) or key not in given:
                path = f"{SECRETS_KEY}.{name}.{key}"
                fix = f"{how_to_set(name, key)}."
                yield FieldError(path, MISSING, "required, but not given: the Secret's value", fix=fix)
    for name in values:
        if name not in wanted:
            message = "no Secret of the environment takes its values from here"
            yield unknown_choice(f"{SECRETS_KEY}.{name}", MISSING, message, wanted, "Remove it, or add it to secrets.")


def check_references(config: EnvironmentConfig, deployments: Sequence[ModelDeployment]) -> Iterator[FieldError]:
    """References to keys that a Secret of the environment does not have, and names that are there twice.

    Args:
        config: valid, or salvaged from an invalid one.
        deployments: its model deployments.
    """
    secrets = config.secrets if has(config, "secrets") else ()
    keys: dict[str, tuple[str, ...]] = {}
    for index, item in enumerate(secrets):
        if not has(item, "name", "keys"):
            continue
        if item.name in keys:
            yield FieldError(f"secrets[{index}].name", item.name, "is there twice", fix="Give each its own name.")
        keys.setdefault(item.name, item.keys)
    for index, deployment in enumerate(deployments):
        token = deployment.source.token if has(deployment, "source") and has(deployment.source, "token") else None
        if token is None or not has(token, "secret", "key") or token.secret not in keys:
            continue
        if token.key not in keys[token.secret]:
            path: Location = ("model_deployments", index, "source", "token", "key")
            message = f"the Secret {token.secret} of `secrets` has no such key"
            yield unknown_choice(show_path(path), MISSING, message, keys[token.secret])
