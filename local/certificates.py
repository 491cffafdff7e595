"""Keys and certificates of the embedded cluster.

Three authorities, because each opens a different door: ``ca`` (clients and
servers of the Kubernetes API, and KEDA's TLS), ``etcd-ca`` (only the API server
may talk to etcd) and ``front-proxy-ca`` (the aggregator's requests to KEDA).
Everything is made once per cluster and kept, so that a kubeconfig stays valid
over restarts. Files have mode 0600 in a folder of mode 0700.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.layout import KUBERNETES_SERVICE_ADDRESS, NODE_ADDRESS

VALIDITY = datetime.timedelta(days=3650)
SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "keda-operator.keda.svc",
    "keda-metrics-apiserver.keda.svc",
)
SERVER_ADDRESSES = ("127.0.0.1", NODE_ADDRESS, KUBERNETES_SERVICE_ADDRESS)


@dataclass(frozen=True)
class Identity:
    """A client of the API server.

    Attributes:
        user: common name, the user that RBAC sees.
        group: organization, the group that RBAC sees; "" for none.
    """

    user: str
    group: str = ""


# Processes use the ServiceAccount names of their real installations, so that
# the upstream projects' own roles and bindings apply to them unchanged.
IDENTITIES = {
    "admin": Identity("admin", "system:masters"),
    "kube-controller-manager": Identity("system:kube-controller-manager"),
    "kube-scheduler": Identity("system:kube-scheduler"),
    "service-proxy": Identity("system:kube-proxy"),
    "node-agent": Identity("inference-platform:node-agent"),
    "coredns": Identity("system:serviceaccount:kube-system:coredns"),
    "kwok": Identity("system:serviceaccount:kube-system:kwok-controller"),
    "keda": Identity("system:serviceaccount:keda:keda-operator"),
    "keda-http-interceptor": Identity("system:serviceaccount:keda:keda-add-ons-http-interceptor"),
    "keda-http-operator": Identity("system:serviceaccount:keda:keda-add-ons-http-operator"),
    "keda-http-external-scaler": Identity("system:serviceaccount:keda:keda-add-ons-http-external-scaler"),
    "prometheus": Identity("system:serviceaccount:monitoring:prometheus"),
    "rule-loader": Identity("system:serviceaccount:monitoring:rule-loader"),
    "kube-state-metrics": Identity("system:serviceaccount:kube-system:kube-state-metrics"),
}


@dataclass(frozen=True)
class Authority:
    """A certificate authority with its key in memory."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def ensure(folder: Path) -> None:
    """Make the cluster's keys and certificates, unless ``folder`` has them for exactly these identities."""
    complete, identities = folder / "complete", "\n".join(sorted(IDENTITIES))
    if complete.exists() and complete.read_text() == identities:
        return
    authority = new_authority("inference-platform", folder / "ca")
    etcd = new_authority("inference-platform-etcd", folder / "etcd-ca")
    front_proxy = new_authority("inference-platform-front-proxy", folder / "front-proxy-ca")
    issue(authority, folder / "server", Identity("kube-apiserver"), server=True)
    issue(etcd, folder / "etcd", Identity("etcd"), server=True)
    issue(etcd, folder / "etcd-client", Identity("kube-apiserver"))
    issue(front_proxy, folder / "front-proxy-client", Identity("front-proxy-client"))
    for name, identity in IDENTITIES.items():
        issue(authority, folder / name, identity)
    service_account_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write_key(folder / "service-account.key", service_account_key)
    write(
        folder / "service-account.pub",
        service_account_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )
    complete.write_text(identities)


def new_authority(name: str, stem: Path) -> Authority:
    """A self-signed authority, written to ``stem.crt`` and ``stem.key``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .sign(key, hashes.SHA256())
    )
    write_key(stem.with_suffix(".key"), key)
    write(stem.with_suffix(".crt"), certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(key, certificate)


def issue(
    authority: Authority,
    stem: Path,
    identity: Identity,
    *,
    server: bool = False,
    server_names: Sequence[str] = SERVER_NAMES,
) -> None:
    """A certificate signed by ``authority``, written to ``stem.crt`` and ``stem.key``."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, identity.user)]
    if identity.group:
        names.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.group))
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + ([ExtendedKeyUsageOID.SERVER_AUTH] if server else [])
    request = builder(x509.Name(names), authority.certificate.subject, key.public_key()).add_extension(
        x509.ExtendedKeyUsage(usages), critical=False
    )
    if server:
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in server_names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in SERVER_ADDRESSES]
        request = request.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = request.sign(authority.key, hashes.SHA256())
    write_key(stem.with_name(stem.name + ".key"), key)
    write(stem.with_name(stem.name + ".crt"), certificate.public_bytes(serialization.Encoding.PEM))


def builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    """What all certificates share."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        # A minute back, for clocks that are set while the cluster starts.
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + VALIDITY)
    )


def write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    """Write a private key as PEM."""
    write(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def write(path: Path, content: bytes) -> None:
    """Write a file that only its owner can ever read, not even for a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
