"""The key that encrypts Kubernetes secrets in etcd, in a key vault of the environment's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi_azure_native.authorization import get_client_config_output
from pulumi_azure_native.keyvault import Key, KeyPropertiesArgs, SkuArgs, SkuFamily, SkuName, Vault, VaultPropertiesArgs

from components.base import Component
from components.clouds.azure.identity import KEY_VAULT_CRYPTO_USER, grant

RETENTION_DAYS: Final = 7
"""Shortest that Azure allows: the name of a deleted vault is taken, and its keys can be restored, for so long."""


def unique_name(prefix: str, resource_group_id: str, length: int) -> str:
    """A name that nobody else in the world has: from the id of a resource group, whose name is random.

    Args:
        prefix: lower-case letters.
        resource_group_id: of an environment's own.
        length: of the name.
    """
    return (prefix + hashlib.sha256(resource_group_id.lower().encode()).hexdigest())[:length]


@dataclass(frozen=True, kw_only=True)
class SecretsKeyArgs:
    """The key.

    Attributes:
        resource_group: its name.
        resource_group_id: of the same.
        location: Azure region.
        principal_id: object id of the identity that encrypts and decrypts.
        tags: on everything that is billed.
    """

    resource_group: pulumi.Input[str]
    resource_group_id: pulumi.Output[str]
    location: str
    principal_id: pulumi.Input[str]
    tags: Mapping[str, str] = field(default_factory=dict)


class SecretsKey(Component):
    """A key vault with one key.

    The vault answers on a public address, with Azure's roles: the control plane reaches a closed one only with a
    subnet of its own (use-kms-etcd-encryption.md, limitations). It cannot be purged for seven days after a destroy:
    whoever takes the key away takes every secret.

    Attributes:
        key_id: URI of the key's version.
        grants: the role; the cluster is made after it.
    """

    def __init__(self, name: str, args: SecretsKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("azure", name, opts)
        tenant = get_client_config_output(opts=pulumi.InvokeOptions(parent=self)).tenant_id
        vault = Vault(
            f"{name}-vault",
            vault_name=args.resource_group_id.apply(lambda group: unique_name("kv", group, 24)),
            resource_group_name=args.resource_group,
            location=args.location,
            properties=VaultPropertiesArgs(
                tenant_id=tenant,
                sku=SkuArgs(family=SkuFamily.A, name=SkuName.STANDARD),
                enable_rbac_authorization=True,
                enable_purge_protection=True,
                soft_delete_retention_in_days=RETENTION_DAYS,
            ),
            tags=args.tags,
            opts=self.child(),
        )
        key = Key(
            f"{name}-key",
            key_name="kubernetes-secrets",
            vault_name=vault.name,
            resource_group_name=args.resource_group,
            properties=KeyPropertiesArgs(kty="RSA", key_size=2048, key_ops=["encrypt", "decrypt"]),
            opts=self.child(),
        )
        user = grant(f"{name}-user", KEY_VAULT_CRYPTO_USER, args.principal_id, vault.id, self.child())
        self.key_id = key.key_uri_with_version
        self.grants = (key, user)
        self.register_outputs({"keyId": key.key_uri_with_version})
