"""A kubeconfig that asks Google's own plugin for a token: nothing in it opens the cluster by itself."""

from __future__ import annotations

import json
from typing import Any, Final

PLUGIN: Final = "gke-gcloud-auth-plugin"
INSTALL_HINT: Final = (
    "Install gke-gcloud-auth-plugin: https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl"
)


def kubeconfig(context: str, host: str, certificate_authority: str | None) -> str:
    """The contents, as JSON, which is YAML.

    Args:
        context: name of cluster, user and context.
        host: of the API server, without scheme.
        certificate_authority: base64 of its certificate; None where a public authority vouches for it (DNS endpoint).
    """
    cluster: dict[str, Any] = {"server": f"https://{host}"}
    if certificate_authority is not None:
        cluster["certificate-authority-data"] = certificate_authority
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": PLUGIN,
            "installHint": INSTALL_HINT,
            "interactiveMode": "Never",
            "provideClusterInfo": True,
        }
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "clusters": [{"name": context, "cluster": cluster}],
            "users": [{"name": context, "user": user}],
        }
    )
