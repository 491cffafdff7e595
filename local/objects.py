"""The cluster's base objects, applied at every start through the API server.

Two waves: namespaces and definitions first, since the rest refers to them.
Server-side apply with one field manager makes it idempotent.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import string
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from local.api import ApiAccess
from local.layout import (
    DNS_ADDRESS,
    EXTERNAL_SCALER_PORT,
    INTERCEPTOR_ADMIN_PORT,
    INTERCEPTOR_PROXY_PORT,
    KEDA_METRICS_PORT,
    NODE_ADDRESS,
    ClusterFiles,
    share,
)

FIELD_MANAGER = "inference-platform-cluster"
FIRST_WAVE = ("Namespace", "CustomResourceDefinition")
# Kind -> resource name in the API's paths. The objects go out as the dictionaries that were read:
# typed clients drop fields of definitions that they do not know.
RESOURCES = {
    "Namespace": "namespaces",
    "CustomResourceDefinition": "customresourcedefinitions",
    "ConfigMap": "configmaps",
    "Service": "services",
    "EndpointSlice": "endpointslices",
    "APIService": "apiservices",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}
ESTABLISH_DEADLINE_SECONDS = 30.0
MANIFESTS = Path(__file__).resolve().parent / "manifests"


def load(files: ClusterFiles) -> list[dict[str, Any]]:
    """All base objects as plain dictionaries, own and upstream ones."""
    values = {
        "DNS_ADDRESS": DNS_ADDRESS,
        "NODE_ADDRESS": NODE_ADDRESS,
        "KEDA_METRICS_PORT": KEDA_METRICS_PORT,
        "INTERCEPTOR_PROXY_PORT": INTERCEPTOR_PROXY_PORT,
        "INTERCEPTOR_ADMIN_PORT": INTERCEPTOR_ADMIN_PORT,
        "EXTERNAL_SCALER_PORT": EXTERNAL_SCALER_PORT,
        "CA_BUNDLE": base64.b64encode((files.certificates / "ca.crt").read_bytes()).decode(),
    }
    own = [string.Template(path.read_text()).substitute(values) for path in sorted(MANIFESTS.glob("*.yaml"))]
    upstream = [
        *share("keda/crd").glob("*.yaml"),
        *share("keda-http-add-on/crd").glob("*.yaml"),
        *share("keda-http-add-on/rbac").glob("*.yaml"),
        *share("prometheus-operator/crd").glob("*.yaml"),
        *share("gateway-api/crd").glob("*.yaml"),
        *share("cert-manager/crd").glob("*.yaml"),
        *share("external-secrets/crd").glob("*.yaml"),
        *share("kube-state-metrics").glob("*.yaml"),
        share("keda/rbac") / "role.yaml",
        share("keda/rbac") / "role_binding.yaml",
        share("keda/metrics-server") / "role.yaml",
        share("keda/metrics-server") / "role_binding.yaml",
        share("kwok/rbac") / "role.yaml",
    ]
    texts = own + [path.read_text() for path in upstream]
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for text in texts for document in yaml.load_all(text, Loader=loader) if document]


class ObjectsError(Exception):
    """A base object could not be applied; the message names it and the API server's reason."""


async def apply_all(objects: list[dict[str, Any]], files: ClusterFiles) -> None:
    """Apply every base object and wait until the definitions are established.

    Args:
        objects: from `load`.
        files: of the cluster.

    Raises:
        ObjectsError: the API server refuses an object, or a definition stays unestablished.
    """
    marker = marker_of(objects)
    access = ApiAccess.from_kubeconfig(files.kubeconfig_of("admin"))
    async with access.session() as session:
        # After a crash all is there already. Applying definitions again would wait for the
        # aggregated API of KEDA, which itself waits for us.
        if await is_applied(session, marker):
            return
        first = [item for item in objects if item["kind"] in FIRST_WAVE]
        await asyncio.gather(*(apply(session, item) for item in first))
        rest = [item for item in objects if item["kind"] not in FIRST_WAVE]
        await asyncio.gather(*(apply(session, item) for item in rest))
        definitions = [item for item in first if item["kind"] == "CustomResourceDefinition"]
        async with asyncio.timeout(ESTABLISH_DEADLINE_SECONDS):
            await asyncio.gather(*(established(session, item) for item in definitions))
        await apply(session, marker)


def marker_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """A ConfigMap that says which base objects the store holds, written last."""
    digest = hashlib.sha256(json.dumps(objects, sort_keys=True).encode()).hexdigest()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "inference-platform-base-objects", "namespace": "kube-system"},
        "data": {"sha256": digest},
    }


async def is_applied(session: aiohttp.ClientSession, marker: dict[str, Any]) -> bool:
    """Whether the store holds exactly these base objects."""
    async with session.get(path_of(marker)) as response:
        body = await response.json()
    return bool(body.get("data") == marker["data"])


def path_of(item: dict[str, Any]) -> str:
    """The object's path in the API."""
    group = item["apiVersion"]
    prefix = f"/api/{group}" if "/" not in group else f"/apis/{group}"
    namespace = item["metadata"].get("namespace")
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{prefix}{scope}/{RESOURCES[item['kind']]}/{item['metadata']['name']}"


async def apply(session: aiohttp.ClientSession, item: dict[str, Any]) -> None:
    """Server-side apply one object."""
    async with session.patch(
        path_of(item),
        params={"fieldManager": FIELD_MANAGER, "force": "true"},
        data=json.dumps(item),
        headers={"Content-Type": "application/apply-patch+yaml"},
    ) as response:
        if response.status >= 400:  # noqa: PLR2004 - HTTP errors
            reason = (await response.text())[:500]
            raise ObjectsError(f"{item['kind']} {item['metadata']['name']}: {reason}")


async def established(session: aiohttp.ClientSession, item: dict[str, Any]) -> None:
    """Wait until the API server serves the kind that a definition defines."""
    while True:
        async with session.get(path_of(item)) as response:
            body = await response.json()
        conditions = {c["type"]: c["status"] for c in body.get("status", {}).get("conditions") or []}
        if conditions.get("Established") == "True":
            return
        await asyncio.sleep(0.05)
