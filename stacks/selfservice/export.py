"""An environment as manifests that ArgoCD, Flux or kubectl apply: the same objects that the engine would make.

The program is previewed against an empty state, so that every object is one to create with all of its inputs. What
belongs to the engine alone is left out. Helm releases become ArgoCD Applications or Flux HelmReleases.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from stacks.selfservice.exits import CommandError

OWN_ANNOTATIONS: Final = "pulumi.com/"
UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
SECRET: Final = "4dabf18193072939515e22adb298388d"  # noqa: S105 - a marker, not a secret
"""Key by which the engine marks a secret in its JSON."""

WAVES: Final[Mapping[str, int]] = {
    "Namespace": -3,
    "CustomResourceDefinition": -3,
    "NetworkPolicy": -2,
    "ResourceQuota": -2,
    "ServiceAccount": -2,
    "Role": -2,
    "ClusterRole": -2,
    "RoleBinding": -1,
    "ClusterRoleBinding": -1,
    "ConfigMap": -1,
    "Secret": -1,
    "InterceptorRoute": 1,
    "ScaledObject": 2,
}
"""Order of creation where it matters, as ArgoCD's sync waves; everything else is in wave 0."""


@dataclass(frozen=True)
class Manifest:
    """One file.

    Attributes:
        name: of the file.
        body: its one document.
    """

    name: str
    body: dict[str, Any]


def manifests(states: Sequence[Mapping[str, Any]], flavour: str) -> list[Manifest]:
    """Manifests of planned resources.

    Args:
        states: `newState` of each step of a preview.
        flavour: `plain`, `argocd` or `flux`.

    Raises:
        CommandError: an object has a secret or a value that is only known after a deployment, or a Helm release is to
            be written as plain manifests.
    """
    objects = [body for state in states if (body := _object(state, flavour))]
    objects.sort(key=lambda body: WAVES.get(str(body["kind"]), 0))
    if flavour == "argocd":
        for body in objects:
            wave = WAVES.get(str(body["kind"]), 0)
            if wave:
                notes = body["metadata"].setdefault("annotations", {})
                notes["argocd.argoproj.io/sync-wave"] = str(wave)
    return [Manifest(_file_name(index, body), body) for index, body in enumerate(objects)]


def _object(state: Mapping[str, Any], flavour: str) -> dict[str, Any] | None:
    if not state["type"].startswith("kubernetes:"):
        return None
    inputs = dict(state.get("inputs") or {})
    name = state["urn"].rsplit("::", 1)[-1]
    if state["type"].startswith("kubernetes:helm.sh/"):
        return _helm(inputs, name, flavour)
    _refuse_unknown(inputs, name)
    inputs.pop("__fieldManager", None)
    inputs.pop("__initialApiVersion", None)
    metadata = dict(inputs.get("metadata") or {})
    notes = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if not key.startswith(OWN_ANNOTATIONS)
    }
    metadata.pop("annotations", None)
    inputs["metadata"] = {**metadata, **({"annotations": notes} if notes else {})}
    return inputs


def _refuse_unknown(inputs: Mapping[str, Any], name: str) -> None:
    text = json.dumps(inputs)
    if SECRET in text:
        raise CommandError(
            f"{name} holds a secret, which no manifest may: keep it in a Secret of its own, made elsewhere"
        )
    if UNKNOWN in text:
        raise CommandError(f"{name} holds a value that is only known after a deployment: deploy the cluster first")


def _helm(inputs: Mapping[str, Any], name: str, flavour: str) -> dict[str, Any]:
    release = str(inputs.get("name") or name)
    namespace = str(inputs.get("namespace") or "default")
    repository = (inputs.get("repositoryOpts") or {}).get("repo", "")
    values = inputs.get("values") or {}
    _refuse_unknown(values, name)
    if flavour == "argocd":
        source = {
            "repoURL": repository,
            "chart": inputs.get("chart"),
            "targetRevision": inputs.get("version"),
            "helm": {"releaseName": release, "valuesObject": values},
        }
        spec = {
            "project": "default",
            "source": source,
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "syncPolicy": {"syncOptions": ["CreateNamespace=true", "ServerSideApply=true"]},
        }
        return _custom("argoproj.io/v1alpha1", "Application", release, "argocd", spec)
    if flavour == "flux":
        chart = {
            "chart": inputs.get("chart"),
            "version": inputs.get("version"),
            "sourceRef": {"kind": "HelmRepository", "name": release, "namespace": "flux-system"},
        }
        spec = {
            "interval": "10m",
            "releaseName": release,
            "targetNamespace": namespace,
            "install": {"createNamespace": True},
            "chart": {"spec": chart},
            "values": values,
        }
        return _custom("helm.toolkit.fluxcd.io/v2", "HelmRelease", release, "flux-system", spec)
    raise CommandError(f"{release} is a Helm release: export with --for argocd or --for flux")


def _custom(api: str, kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": dict(spec)}


def helm_repositories(states: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Flux's HelmRepository of each release."""
    for state in states:
        inputs = state.get("inputs") or {}
        if state["type"] == "kubernetes:helm.sh/v3:Release":
            url = (inputs.get("repositoryOpts") or {}).get("repo", "")
            name = str(inputs.get("name") or state["urn"].rsplit("::", 1)[-1])
            spec = {"interval": "1h", "url": url, **({"type": "oci"} if url.startswith("oci:") else {})}
            yield _custom("source.toolkit.fluxcd.io/v1", "HelmRepository", name, "flux-system", spec)


def _file_name(index: int, body: Mapping[str, Any]) -> str:
    words = f"{index:03}-{body['kind']}-{body['metadata']['name']}".lower()
    return re.sub(r"[^a-z0-9.-]+", "-", words) + ".yaml"


def write(folder: Path, files: Sequence[Manifest], extra: Sequence[dict[str, Any]] = ()) -> None:
    """Write manifests and a kustomization.yaml that lists them in order; what an earlier export wrote is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9][0-9]-*.yaml"):
        old.unlink()
    first = [Manifest(f"{index:03}-source-{item['metadata']['name']}.yaml", item) for index, item in enumerate(extra)]
    for file in (*first, *files):
        (folder / file.name).write_text(yaml.safe_dump(file.body, sort_keys=False, width=120), encoding="utf-8")
    listing = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [file.name for file in (*first, *files)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(listing, sort_keys=False), encoding="utf-8")
