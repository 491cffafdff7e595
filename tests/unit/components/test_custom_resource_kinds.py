"""Each kind of custom resource that the components create is checked by its definition somewhere: none goes unseen.

Where: the embedded cluster's API server has the definition and the object is created there by every local test, or
tests/contract/crds has it, and the objects are held against it in tests/contract and, by an API server, in
tests/local/test_custom_resources.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from local.layout import share
from tests.contract.cloud_definitions import definitions

pytestmark = pytest.mark.unit

COMPONENTS = Path(__file__).parents[3] / "components"

EMBEDDED = {"PrometheusRule", "ScaledObject", "InterceptorRoute"}
"""Created on the embedded cluster."""
RECORDED = {"NodePool", "EC2NodeClass", "AKSNodeClass", "ComputeClass"}
"""Of machines that only a cloud has."""


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


@pytest.mark.skipif(not share("keda").exists(), reason="the tools are not built: run `make tools`")
def test_the_embedded_cluster_has_the_others() -> None:
    files = [*share("").glob("*/crd/*.yaml")]
    found = {yaml.safe_load(path.read_text())["spec"]["names"]["kind"] for path in files}
    assert found >= EMBEDDED
