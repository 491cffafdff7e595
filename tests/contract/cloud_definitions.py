"""Definitions of custom resources that the embedded cluster does not have, from `crds`, as an API server takes them."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.contract.custom_resources import CRDS

FILES = (
    "azure/karpenter.azure.com_aksnodeclasses.yaml",
    "azure/karpenter.sh_nodepools.yaml",
    "gcp/computeclass.yaml",
    "external-secrets/externalsecret.yaml",
)


def definitions() -> list[dict[str, Any]]:
    """One definition per kind; NodePool is Karpenter's own, the same on every cloud."""
    found = [yaml.safe_load((CRDS / name).read_text(encoding="utf-8")) for name in FILES]
    return [_usable(item) for item in (*found, _ec2_node_class())]


def _usable(definition: dict[str, Any]) -> dict[str, Any]:
    """With what was left out when it was recorded: which version is served and stored, the list's name."""
    names = definition["spec"]["names"]
    names.setdefault("listKind", f"{names['kind']}List")
    names.setdefault("singular", names["kind"].lower())
    for index, version in enumerate(definition["spec"]["versions"]):
        version.update(served=True, storage=index == 0)
        # What is not in the schema of a part without a name of its own, as metadata, is known to every API server.
        version["schema"]["openAPIV3Schema"].setdefault("type", "object")
    definition.pop("status", None)
    return definition


def _ec2_node_class() -> dict[str, Any]:
    schema = json.loads((CRDS / "ec2nodeclass.json").read_text(encoding="utf-8"))["schema"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ec2nodeclasses.karpenter.k8s.aws"},
        "spec": {
            "group": "karpenter.k8s.aws",
            "names": {"kind": "EC2NodeClass", "plural": "ec2nodeclasses"},
            "scope": "Cluster",
            "versions": [
                {
                    "name": "v1",
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _structural(schema)}}},
                }
            ],
        },
    }


def _structural(schema: Any) -> Any:
    """Without `additionalProperties: false`, which an API server does not take: it refuses unknown fields if asked."""
    if isinstance(schema, list):
        return [_structural(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _structural(value) for key, value in schema.items() if not (key == "additionalProperties" and not value)
    }
