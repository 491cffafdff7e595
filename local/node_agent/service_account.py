"""Access to the API with a pod's own ServiceAccount: fresh tokens and a kubeconfig.

A pod never sees more rights than its ServiceAccount has. A container without a mounted
token gets a kubeconfig without a cluster, so that no client falls back to another one.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from lightkube.config.kubeconfig import SingleConfig
from lightkube.resources.core_v1 import Pod

from local.node_agent import files
from local.node_agent.fields import meta
from local.node_agent.kubernetes import API_ERRORS, KubernetesApi, ObjectGoneError
from local.node_agent.states import now
from local.node_agent.volumes import TokenFile

log = logging.getLogger(__name__)

# The kubelet renews a token when 80 % of its life is over or it is 24 hours old.
RENEW_AT_SHARE_OF_LIFE = 0.8
RENEW_AT_MOST_SECONDS = 24 * 3600.0
RETRY_SECONDS = 5.0
NO_CLUSTER = "apiVersion: v1\nkind: Config\n"


@dataclass(frozen=True)
class ApiEndpoint:
    """Where pods find the API server, and the certificates to trust (PEM)."""

    server: str
    authorities: bytes

    @classmethod
    def of(cls, config: SingleConfig) -> ApiEndpoint:
        """The one that the agent itself uses."""
        cluster = config.cluster
        if cluster.certificate_auth_data:
            return cls(cluster.server, base64.b64decode(cluster.certificate_auth_data))
        if cluster.certificate_auth:
            return cls(cluster.server, Path(config.abs_file(cluster.certificate_auth)).read_bytes())
        return cls(cluster.server, b"")

    def kubeconfig(self, token: Path, namespace: str) -> str:
        """A kubeconfig that names the token's file, so that a renewed token reaches its users."""
        cluster = {"server": self.server}
        if self.authorities:
            cluster["certificate-authority-data"] = base64.b64encode(self.authorities).decode()
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": "service-account", "user": {"tokenFile": str(token)}}],
            "contexts": [
                {
                    "name": "local",
                    "context": {"cluster": "local", "user": "service-account", "namespace": namespace},
                }
            ],
            "current-context": "local",
        }
        return yaml.safe_dump(document, sort_keys=False)


async def write_tokens(api: KubernetesApi, pod: Pod, tokens: Sequence[TokenFile]) -> float:
    """Fetch and write all tokens.

    Returns:
        Seconds until they should be renewed; infinite if there are none.

    Raises:
        ObjectGoneError: the pod or its ServiceAccount is not there. Any of API_ERRORS.
    """
    delays = [float("inf")]
    for wanted in tokens:
        token = await api.request_token(pod, wanted.audience, wanted.expiration_seconds)
        files.write(wanted.path, token.text)
        life = (token.expires_at - now()).total_seconds()
        delays.append(min(RENEW_AT_SHARE_OF_LIFE * life, RENEW_AT_MOST_SECONDS))
    return min(delays)


async def keep_tokens_fresh(api: KubernetesApi, pod: Pod, tokens: Sequence[TokenFile], first_delay: float) -> None:
    """Renew the tokens for ever; returns at once if there are none."""
    delay = first_delay
    while tokens:
        await asyncio.sleep(delay)
        try:
            delay = await write_tokens(api, pod, tokens)
        except ObjectGoneError:
            return
        except API_ERRORS as error:
            log.warning("%s: its token is not renewed yet: %s", meta(pod).name, error)
            delay = RETRY_SECONDS
