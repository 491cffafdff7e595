"""The gateway: one address for all models, its encryption and its limits."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from stacks.config.base import Int, Strictly
from stacks.config.models_secrets import ObjectName

HostName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", max_length=253
    ),
]


class IssuerKind(StrEnum):
    """Whose a cert-manager issuer is."""

    CLUSTER = "ClusterIssuer"
    NAMESPACE = "Issuer"


class Tls(Strictly):
    """How clients' connections are encrypted: give `secret` or `issuer`."""

    secret: ObjectName | None = Field(
        default=None,
        description="Secret of type kubernetes.io/tls in the environment's namespace: one of `secrets` with the keys "
        "tls.crt and tls.key, or one that others put there.",
    )
    issuer: ObjectName | None = Field(
        default=None,
        description="Issuer of cert-manager that makes the certificate for `gateway.host`. cert-manager is installed "
        "where the cluster does not bring it; the issuer is yours.",
    )
    issuer_kind: IssuerKind = Field(default=IssuerKind.CLUSTER, description="Whose the issuer is.")
    gateway_class: ObjectName | None = Field(
        default=None,
        description="Class of the Gateway API whose controller ends the encryption and reloads a renewed certificate.",
        json_schema_extra={"default_text": "the gateway's own pods end it, and reload a renewed certificate"},
    )


class Limits(Strictly):
    """Most that each API key may ask for; what is not given is not limited. Each gateway pod counts for itself."""

    requests_per_minute: Int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Requests in any 60 seconds.",
        json_schema_extra={"default_text": "no limit"},
    )
    concurrent_requests: Int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Requests at a time, those that wait for a model included.",
        json_schema_extra={"default_text": "no limit"},
    )
    tokens_per_minute: Int | None = Field(
        default=None,
        ge=1,
        le=2_000_000_000,
        description="Tokens reserved in any 60 seconds: what a request allows for its answer (max_tokens, which it "
        "must then give), and one for every four bytes of its body. What it does not use is not given back.",
        json_schema_extra={"default_text": "no limit"},
    )


class Gateway(Strictly):
    """The one address that all models answer on."""

    host_port: Int = Field(
        default=8080, ge=1, le=65_535, description="Port on 127.0.0.1 of the host; local cloud only."
    )
    replicas: Int = Field(
        default=1,
        ge=1,
        le=100,
        description="Gateway pods. From 2 on they spread over zones and nodes, and a node that is drained takes one at "
        "a time; `limits` hold for each pod.",
    )
    host: HostName | None = Field(
        default=None,
        description="Name that clients know it by, and that the certificate is for; the DNS record is yours.",
        json_schema_extra={"default_text": "none"},
    )
    tls: Tls | None = Field(
        default=None,
        description="Encrypt clients' connections.",
        json_schema_extra={"default_text": "not encrypted: for networks of your own"},
    )
    limits: Limits | None = Field(
        default=None,
        description="What each API key may ask for; with tenancy.api_key_hashes.",
        json_schema_extra={"default_text": "no limits"},
    )
