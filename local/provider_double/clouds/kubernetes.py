"""Kubernetes: accepts every object that the SDK's types allow; there is no API server behind it.

Custom resources are held against the fields that all objects share; their CRDs are not known here.
"""

from __future__ import annotations

from typing import Any

from local.provider_double import synthesis
from local.provider_double.clouds.base import Cloud
from local.provider_double.diff import AUTONAMED, AUTONAMED_OBJECT
from local.provider_double.wire import Properties
from local.provider_double.world import ProviderError

RELEASE = "kubernetes:helm.sh/v3:Release"


class Kubernetes(Cloud):
    """Answers of the kubernetes provider."""

    def with_defaults(self, token: str, name: str, news: Properties, olds: Properties, seed: bytes) -> Properties:
        digits = synthesis.hex_digits(seed.hex(), name, length=8)
        if token == RELEASE:
            return super().with_defaults(token, name, news, olds, seed)
        metadata = dict(news.get("metadata") or {})
        if not metadata.get("name") and not metadata.get("generateName"):
            before = olds.get("metadata") or {}
            kept = before.get("name") if AUTONAMED_OBJECT in (before.get("annotations") or {}) else None
            metadata["name"] = kept or f"{name}-{digits}"
            metadata["annotations"] = {**(metadata.get("annotations") or {}), AUTONAMED_OBJECT: "true"}
        return {**news, "metadata": metadata}

    def identifier(self, token: str, name: str, inputs: Properties, seed: str) -> str:
        if token == RELEASE:
            return f"{inputs.get('namespace') or 'default'}/{inputs['name']}"
        metadata = inputs["metadata"]
        own = metadata.get("name") or f"{metadata.get('generateName')}{synthesis.hex_digits(seed, length=5)}"
        return f"{metadata['namespace']}/{own}" if metadata.get("namespace") else own

    def outputs(self, token: str, identifier: str, inputs: Properties) -> Properties:
        if token == RELEASE:
            return {**{key: value for key, value in inputs.items() if key != AUTONAMED}, **_release(inputs)}
        metadata = {
            "uid": synthesis.uuid(token, identifier),
            "creationTimestamp": synthesis.CREATED_AT,
            "resourceVersion": "1",
            "generation": 1,
            **inputs["metadata"],
        }
        return {**inputs, "metadata": metadata, **_status(token, inputs, identifier)}

    def invoke(self, token: str, arguments: Properties) -> Properties:
        raise ProviderError(f"{token}: there is no cluster behind the double")


def _release(inputs: Properties) -> Properties:
    status = {
        "name": inputs["name"],
        "namespace": inputs.get("namespace") or "default",
        "chart": inputs["chart"],
        "version": inputs.get("version") or "0.0.0",
        "revision": 1,
        "status": "deployed",
        "appVersion": "",
    }
    return {"status": status, "resourceNames": {}}


def _status(token: str, inputs: dict[str, Any], identifier: str) -> Properties:
    """What a controller would have set by the time that the real provider stops waiting."""
    spec = inputs.get("spec") or {}
    if token == "kubernetes:core/v1:Service" and spec.get("type") == "LoadBalancer":
        host = f"{synthesis.hex_digits(identifier, length=12)}.lb.double.invalid"
        return {"status": {"loadBalancer": {"ingress": [{"hostname": host}]}}}
    if token in {"kubernetes:apps/v1:Deployment", "kubernetes:apps/v1:StatefulSet"}:
        replicas = spec.get("replicas", 1)
        return {"status": {"replicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas}}
    if token == "kubernetes:batch/v1:Job":
        return {"status": {"succeeded": spec.get("completions", 1)}}
    return {}
