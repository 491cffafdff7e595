"""TLS of the gateway: where its certificate comes from, and who ends the encryption.

The certificate is a Secret that is there, or one that cert-manager makes. The encryption ends in HAProxy, or before it
in a gateway of the Gateway API, whose controller is the cluster's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi_kubernetes.apiextensions import CustomResource
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.labels import Workload

CERTIFICATE_SECRET: Final = "gateway-tls"  # noqa: S105 - a name
"""What cert-manager writes the certificate to."""

GATEWAY_API: Final = "gateway.networking.k8s.io/v1"
CERT_MANAGER_API: Final = "cert-manager.io/v1"
HTTPS_PORT: Final = 443
LISTENER: Final = "https"


@dataclass(frozen=True, kw_only=True)
class TlsArgs:
    """How clients' connections are encrypted.

    Attributes:
        host: name that clients know; "" with a Secret whose names we need not know.
        secret: of type kubernetes.io/tls, in the environment's namespace; "" with an issuer.
        issuer: of cert-manager; "" with a Secret.
        issuer_kind: Issuer or ClusterIssuer.
        gateway_class: of the Gateway API; "": HAProxy ends the encryption.

    Raises:
        ValueError: not exactly one of Secret and issuer, or no host where one is needed.
    """

    host: str = ""
    secret: str = ""
    issuer: str = ""
    issuer_kind: str = "ClusterIssuer"
    gateway_class: str = ""

    def __post_init__(self) -> None:
        if bool(self.secret) == bool(self.issuer):
            raise ValueError("a certificate comes from a Secret or from an issuer")
        if not self.host and (self.issuer or self.gateway_class):
            raise ValueError("an issuer and a gateway class need the host's name")

    @property
    def certificate_secret(self) -> str:
        """Where the certificate is."""
        return self.secret or CERTIFICATE_SECRET

    @property
    def in_haproxy(self) -> bool:
        """Whether HAProxy ends the encryption."""
        return not self.gateway_class


def create_certificate(parent: Component, name: str, tls: TlsArgs, metadata: ObjectMetaArgs) -> CustomResource | None:
    """What cert-manager makes the certificate of; None if it is there already.

    Args:
        parent: the gateway's component.
        name: its logical name.
        tls: with or without an issuer.
        metadata: name, namespace and labels.
    """
    if not tls.issuer:
        return None
    return CustomResource(
        f"{name}-certificate",
        api_version=CERT_MANAGER_API,
        kind="Certificate",
        metadata=metadata,
        spec=certificate_spec(tls),
        opts=parent.child(),
    )


def certificate_spec(tls: TlsArgs) -> dict[str, Any]:
    """The spec of a Certificate."""
    return {
        "secretName": CERTIFICATE_SECRET,
        "dnsNames": [tls.host],
        "issuerRef": {"group": "cert-manager.io", "kind": tls.issuer_kind, "name": tls.issuer},
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
    }


def create_entrance(
    parent: Component,
    name: str,
    tls: TlsArgs,
    metadata: ObjectMetaArgs,
    backend: tuple[str, int],
    *after: pulumi.Resource,
) -> CustomResource | None:
    """The gateway of the Gateway API and its route; None where HAProxy ends the encryption.

    Args:
        parent: the gateway's component.
        name: its logical name.
        tls: with or without a gateway class.
        metadata: name, namespace, labels and annotations of both.
        backend: the Service that requests go on to, and its port.
        after: what both are created after.

    Returns:
        The Gateway.
    """
    if tls.in_haproxy:
        return None
    entrance = CustomResource(
        f"{name}-entrance",
        api_version=GATEWAY_API,
        kind="Gateway",
        metadata=metadata,
        spec=entrance_spec(tls),
        opts=parent.child(*after),
    )
    CustomResource(
        f"{name}-route",
        api_version=GATEWAY_API,
        kind="HTTPRoute",
        metadata=metadata,
        spec=route_spec(tls, *backend),
        opts=parent.child(entrance),
    )
    return entrance


def entrance_spec(tls: TlsArgs) -> dict[str, Any]:
    """The spec of a Gateway: one listener, encrypted, for the routes of its own namespace."""
    return {
        "gatewayClassName": tls.gateway_class,
        "listeners": [
            {
                "name": LISTENER,
                "protocol": "HTTPS",
                "port": HTTPS_PORT,
                "hostname": tls.host,
                "tls": {
                    "mode": "Terminate",
                    "certificateRefs": [{"group": "", "kind": "Secret", "name": tls.certificate_secret}],
                },
                "allowedRoutes": {"namespaces": {"from": "Same"}},
            }
        ],
    }


def route_spec(tls: TlsArgs, service: str, port: int) -> dict[str, Any]:
    """The spec of an HTTPRoute: everything to the gateway's Service, for as long as it takes."""
    group, _, _ = GATEWAY_API.partition("/")
    return {
        "parentRefs": [{"group": group, "kind": "Gateway", "name": str(Workload.GATEWAY), "sectionName": LISTENER}],
        "hostnames": [tls.host],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [{"group": "", "kind": "Service", "name": service, "port": port, "weight": 1}],
                # A request may wait for its model to start: HAProxy is the one that loses patience.
                "timeouts": {"request": "0s"},
            }
        ],
    }
