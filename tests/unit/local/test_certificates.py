"""Keys and certificates: who can read them, and which authority opens which door.

Does not prove that the servers ask for them; the embedded cluster's tests do.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local import certificates

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    certificates.ensure(made)
    return made


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def signed_by(child: Path, authority: Path) -> bool:
    key = certificate(authority).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        certificate(child).verify_directly_issued_by(certificate(authority))
    except ValueError:
        return False
    return True


def test_no_file_can_be_read_by_others(folder: Path) -> None:
    readable = [path.name for path in folder.glob("*.*") if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert readable == []


def test_only_the_api_server_has_a_certificate_for_etcd(folder: Path) -> None:
    signed = sorted(path.stem for path in folder.glob("*.crt") if signed_by(path, folder / "etcd-ca.crt"))
    assert signed == ["etcd", "etcd-ca", "etcd-client"]


def test_each_identity_is_the_user_that_rbac_knows(folder: Path) -> None:
    for name, identity in certificates.IDENTITIES.items():
        subject = certificate(folder / f"{name}.crt").subject
        assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == identity.user
        groups = [str(item.value) for item in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        assert groups == ([identity.group] if identity.group else [])
    administrators = [name for name, identity in certificates.IDENTITIES.items() if identity.group]
    assert administrators == ["admin"]


def test_a_second_call_changes_nothing(folder: Path) -> None:
    """A kubeconfig that a user has copied stays valid over restarts."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    certificates.ensure(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_another_identity_means_new_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that was made before a process was added still gets one for it."""
    fewer = {name: identity for name, identity in certificates.IDENTITIES.items() if name != "rule-loader"}
    with monkeypatch.context() as patched:
        patched.setattr(certificates, "IDENTITIES", fewer)
        certificates.ensure(tmp_path)
    assert not (tmp_path / "rule-loader.crt").exists()
    certificates.ensure(tmp_path)
    assert signed_by(tmp_path / "rule-loader.crt", tmp_path / "ca.crt")
    assert signed_by(tmp_path / "admin.crt", tmp_path / "ca.crt")
