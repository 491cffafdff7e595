"""Each kind of custom resource that the components create is checked by its definition somewhere: none goes unseen.

Where: the embedded cluster's API server has the definition and a local test creates the object, or tests/contract/crds
has it, and the objects are held against it in tests/contract (ExternalSecret: here) and, by an API server, in
tests/local/test_custom_resources.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.secrets import ExternalArgs, SecretArgs, external_secret
from local.layout import share
from tests.contract.cloud_definitions import definitions
from tests.contract.custom_resources import crd_schema

pytestmark = pytest.mark.unit

COMPONENTS = Path(__file__).parents[3] / "components"

EMBEDDED = {"PrometheusRule", "ScaledObject", "InterceptorRoute", "Gateway", "HTTPRoute", "Certificate"}
"""The embedded cluster has the definition; the last three in a dry run (tests/local/test_security.py)."""
RECORDED = {"NodePool", "EC2NodeClass", "AKSNodeClass", "ComputeClass", "ExternalSecret"}
"""Of machines that only a cloud has, and of an operator that is the user's."""


def kinds_created() -> Iterator[tuple[str, str]]:
    """Kind and file of each call that makes a custom resource."""
    for path in COMPONENTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in {
                "CustomResource",
                "CustomResourcePatch",
            }:
                (kind,) = (word.value for word in node.keywords if word.arg == "kind")
                assert isinstance(kind, ast.Constant), f"{path}:{node.lineno}: the kind must be plain to see"
                yield str(kind.value), path.name


def test_every_kind_is_checked_somewhere() -> None:
    created = {kind for kind, _ in kinds_created()}
    assert created == EMBEDDED | RECORDED, "say where a new kind is checked, and check it there"


def test_the_recorded_definitions_are_there() -> None:
    assert {item["spec"]["names"]["kind"] for item in definitions()} == RECORDED


def test_an_external_secret_is_what_the_operator_takes() -> None:
    schema = crd_schema("externalsecret.yaml", "v1", "external-secrets")
    secret = SecretArgs(name="hugging-face", keys=("token", "tls.crt"), values={})
    spec = external_secret(secret, ExternalArgs(store="vault", store_kind="ClusterSecretStore", entry="ml/token"))
    assert list(schema.violations({"spec": spec})) == []
    assert list(schema.violations({"spec": {**spec, "refresh": "1h", "secretStoreRef": {"kind": "Vault"}}})) == [
        ".spec.secretStoreRef.kind: 'Vault' is none of ['SecretStore', 'ClusterSecretStore']",
        ".spec.refresh: no such field",
    ]


@pytest.mark.skipif(not share("keda").exists(), reason="the tools are not built: run `make tools`")
def test_the_embedded_cluster_has_the_others() -> None:
    files = [*share("").glob("*/crd/*.yaml")]
    found = {yaml.safe_load(path.read_text())["spec"]["names"]["kind"] for path in files}
    assert found >= EMBEDDED
