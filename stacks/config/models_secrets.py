"""Secrets of an environment: by name, never by value."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from stacks.config.base import Strictly

ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
SecretKeyName = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]


class StoreKind(StrEnum):
    """Whose the store of the External Secrets operator is."""

    CLUSTER = "ClusterSecretStore"
    NAMESPACE = "SecretStore"


class SecretReference(Strictly):
    """A key of a Secret in the environment's namespace."""

    secret: ObjectName = Field(
        description="Name of a Secret in the environment's namespace: one of `secrets`, or one that others put there."
    )
    key: SecretKeyName = Field(default="token", description="Key of that Secret.")


class ExternalSource(Strictly):
    """An entry of a store outside the cluster, brought by the External Secrets operator."""

    store: ObjectName = Field(description="Name of the store.")
    store_kind: StoreKind = Field(default=StoreKind.CLUSTER, description="Whose the store is.")
    entry: str = Field(
        min_length=1,
        max_length=500,
        pattern=r"^[\w./:-]+$",
        description="Name of the entry in the store; its fields are named like `keys`.",
    )


class EnvironmentSecret(Strictly):
    """A Secret in the environment's namespace that the platform makes."""

    name: ObjectName = Field(description="Of the Secret.")
    keys: tuple[SecretKeyName, ...] = Field(
        min_length=1,
        description="Its keys. The values are encrypted in the stack's file: "
        '`pulumi config set --secret --path \'inference-platform:secrets["NAME"]["KEY"]\'`.',
    )
    external: ExternalSource | None = Field(
        default=None,
        description="Bring the values from a store outside the cluster instead; the operator must be there.",
        json_schema_extra={"default_text": "the values are in the stack's file, encrypted"},
    )
