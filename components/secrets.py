"""Secrets of an environment: made from values that are encrypted in the state, or brought from a store outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.core.v1 import Secret
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.labels import EnvironmentLabels

EXTERNAL_SECRETS_API: Final = "external-secrets.io/v1"
REFRESH: Final = "1h"
"""How soon a value that was changed in the store is in the cluster; the operator's own default."""

TYPES: Final[Mapping[frozenset[str], str]] = {
    frozenset({"tls.crt", "tls.key"}): "kubernetes.io/tls",
    frozenset({".dockerconfigjson"}): "kubernetes.io/dockerconfigjson",
}
"""Types of Secret that others insist on, by the keys that make one."""


@dataclass(frozen=True, kw_only=True)
class ExternalArgs:
    """An entry of a store.

    Attributes:
        store: its name.
        store_kind: SecretStore or ClusterSecretStore.
        entry: name of the entry.
    """

    store: str
    store_kind: str
    entry: str


@dataclass(frozen=True, kw_only=True)
class SecretArgs:
    """One Secret.

    Attributes:
        name: of the Secret.
        keys: that it has.
        values: by key, each marked as a secret; empty with `external`.
        external: where the values come from instead; None: `values`.
    """

    name: str
    keys: Sequence[str]
    values: Mapping[str, pulumi.Output[str]]
    external: ExternalArgs | None = None


@dataclass(frozen=True, kw_only=True)
class EnvironmentSecretsArgs:
    """All Secrets of an environment.

    Attributes:
        labels: of the environment.
        secrets: which.
    """

    labels: EnvironmentLabels
    secrets: Sequence[SecretArgs]


class EnvironmentSecrets(Component):
    """Makes the Secrets.

    Attributes:
        resources: what pods that use them are created after.
    """

    def __init__(
        self,
        name: str,
        args: EnvironmentSecretsArgs,
        opts: pulumi.ResourceOptions | None = None,
        after: tuple[pulumi.Resource, ...] = (),
    ) -> None:
        super().__init__("secrets", name, opts, after)
        self.resources = tuple(self._make(name, args.labels, secret) for secret in args.secrets)
        self.register_outputs({"names": [secret.name for secret in args.secrets]})

    def _make(self, name: str, labels: EnvironmentLabels, secret: SecretArgs) -> pulumi.Resource:
        metadata = ObjectMetaArgs(name=secret.name, namespace=labels.namespace, labels=labels.shared)
        return create_secret(f"{name}-{secret.name}", secret, metadata, self.child())


def create_secret(
    logical_name: str, secret: SecretArgs, metadata: ObjectMetaArgs, opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """A Secret, or what makes the External Secrets operator make it.

    Args:
        logical_name: of the resource.
        secret: what it holds.
        metadata: its name, its namespace and its labels.
        opts: of a child.
    """
    if secret.external is not None:
        return CustomResource(
            logical_name,
            api_version=EXTERNAL_SECRETS_API,
            kind="ExternalSecret",
            metadata=metadata,
            spec=external_secret(secret, secret.external),
            opts=opts,
        )
    return Secret(
        logical_name,
        metadata=metadata,
        type=TYPES.get(frozenset(secret.keys), "Opaque"),
        # Marked once more: a value that is not marked would be in the state in plain text.
        string_data=pulumi.Output.secret(dict(secret.values)),
        opts=opts,
    )


def external_secret(secret: SecretArgs, source: ExternalArgs) -> dict[str, object]:
    """The spec of an ExternalSecret: a field of the store's entry for each key."""
    return {
        "refreshInterval": REFRESH,
        "secretStoreRef": {"name": source.store, "kind": source.store_kind},
        "target": {"name": secret.name, "creationPolicy": "Owner"},
        "data": [{"secretKey": key, "remoteRef": {"key": source.entry, "property": key}} for key in secret.keys],
    }
