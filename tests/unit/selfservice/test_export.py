"""Planned resources as manifests; that they make the same live objects is shown by the local tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.selfservice.exits import CommandError
from stacks.selfservice.export import SECRET, UNKNOWN, helm_repositories, manifests, write

pytestmark = pytest.mark.unit


def state(type_: str, logical: str, **inputs: Any) -> dict[str, Any]:
    return {"type": f"kubernetes:{type_}", "urn": f"urn:pulumi:s::p::{type_}::{logical}", "inputs": inputs}


def planned(kind: str, name: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "annotations": {"pulumi.com/skipAwait": "true", "keep": "me"}}
    return state(f"apps/v1:{kind}", name, apiVersion="apps/v1", kind=kind, metadata=metadata, **more)


RELEASE = state(
    "helm.sh/v3:Release",
    "keda",
    name="keda",
    namespace="keda",
    chart="keda",
    version="2.20.2",
    repositoryOpts={"repo": "https://charts.example.com"},
    values={"a": 1},
)


def test_the_engines_own_marks_are_left_out_and_the_namespace_comes_first() -> None:
    files = manifests([planned("ScaledObject", "s"), planned("Deployment", "d"), planned("Namespace", "n")], "plain")
    assert [file.name for file in files] == ["000-namespace-n.yaml", "001-deployment-d.yaml", "002-scaledobject-s.yaml"]
    assert files[1].body["metadata"] == {"name": "d", "annotations": {"keep": "me"}}


def test_what_is_not_of_kubernetes_is_left_out() -> None:
    assert manifests([{"type": "pulumi:pulumi:Stack", "urn": "x", "inputs": {}}], "plain") == []


def test_argocd_gets_waves_and_applications() -> None:
    files = manifests([planned("ScaledObject", "s"), RELEASE], "argocd")
    bodies = {file.body["kind"]: file.body for file in files}
    assert bodies["ScaledObject"]["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] == "2"
    assert bodies["Application"]["spec"]["source"] == {
        "repoURL": "https://charts.example.com",
        "chart": "keda",
        "targetRevision": "2.20.2",
        "helm": {"releaseName": "keda", "valuesObject": {"a": 1}},
    }


def test_flux_gets_releases_and_their_repositories() -> None:
    (file,) = manifests([RELEASE], "flux")
    assert file.body["spec"]["chart"]["spec"]["version"] == "2.20.2"
    assert [item["spec"]["url"] for item in helm_repositories([RELEASE])] == ["https://charts.example.com"]


@pytest.mark.parametrize(
    ("inputs", "says"),
    [({"data": {SECRET: "x"}}, "holds a secret"), ({"data": UNKNOWN}, "only known after a deployment")],
)
def test_what_no_manifest_may_hold_is_refused(inputs: dict[str, Any], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        manifests([planned("ConfigMap", "c", **inputs)], "plain")


def test_a_release_cannot_be_plain() -> None:
    with pytest.raises(CommandError, match="--for argocd or --for flux"):
        manifests([RELEASE], "plain")


def test_a_second_export_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    write(tmp_path, manifests([planned("Deployment", "a"), planned("Deployment", "b")], "plain"))
    write(tmp_path, manifests([planned("Deployment", "c")], "plain"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000-deployment-c.yaml", "kustomization.yaml"]
    assert yaml.safe_load((tmp_path / "kustomization.yaml").read_text())["resources"] == ["000-deployment-c.yaml"]
