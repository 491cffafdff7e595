"""What the agent asks of the Kubernetes API."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

import httpx2
from lightkube import ApiError
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import User
from lightkube.core.async_client import AsyncClient
from lightkube.models.authentication_v1 import BoundObjectReference, TokenRequestSpec
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.operators import not_equal
from lightkube.resources.core_v1 import (
    ConfigMap,
    Event,
    Node,
    Pod,
    PodStatus,
    Secret,
    ServiceAccountToken,
)

from local.node_agent.states import now
from local.node_agent.transport import AiohttpTransport

# The API server ends a watch after this time; the client goes on from where it was.
WATCH_SECONDS = 300
REQUEST_TIMEOUT_SECONDS = 10.0
# All transport and status errors of the client; a broken line in a watch is a ValueError.
API_ERRORS = (httpx2.HTTPError, ValueError, OSError)
COMPONENT = "node-agent"


class ObjectGoneError(Exception):
    """The object is not there any more, or another of the same name has taken its place."""


@dataclass(frozen=True)
class Token:
    """A ServiceAccount token and the time when it ends."""

    text: str
    expires_at: datetime


class ObjectReader(Protocol):
    """Reads what containers refer to."""

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """A ConfigMap; None if there is none."""

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret; None if there is none."""


class KubernetesApi(ObjectReader, Protocol):
    """Everything that the agent asks of the API.

    All methods raise one of API_ERRORS when the API cannot be reached or refuses.
    """

    async def list_pods(self) -> tuple[list[Pod], str]:
        """All bound pods, and the resource version of the list."""

    def watch_pods(self, version: str) -> AsyncIterator[tuple[str, Pod]]:
        """Changes after that version: ADDED, MODIFIED or DELETED, and the pod."""

    async def list_nodes(self) -> tuple[list[Node], str]:
        """All nodes, and the resource version of the list."""

    def watch_nodes(self, version: str) -> AsyncIterator[tuple[str, Node]]:
        """Changes after that version."""

    async def patch_pod_status(self, pod: ObjectMeta, status: dict[str, Any]) -> None:
        """Strategic merge patch of a pod's status.

        Raises:
            ObjectGoneError: that pod, by uid, does not exist.
        """

    async def delete_pod(self, pod: ObjectMeta) -> None:
        """Remove a pod whose processes have ended.

        Raises:
            ObjectGoneError: that pod, by uid, does not exist.
        """

    async def request_token(self, pod: Pod, audience: str | None, expiration_seconds: int | None) -> Token:
        """A token of the pod's ServiceAccount that ends with the pod.

        Raises:
            ObjectGoneError: the pod or its ServiceAccount does not exist.
        """

    async def record_event(self, pod: ObjectMeta, kind: str, reason: str, message: str) -> None:
        """Create an Event about a pod; ``kind`` is Normal or Warning."""


class LightkubeApi(AsyncClient):
    """The API through lightkube."""

    def __init__(self, config: SingleConfig) -> None:
        user = config.user or User()
        transport = AiohttpTransport(verify_cluster(config.cluster, user, config.abs_file, trust_env=False))
        # trust_env: proxies and tokens of the agent's own environment have no part in this.
        super().__init__(
            config,
            timeout=httpx2.Timeout(REQUEST_TIMEOUT_SECONDS),
            trust_env=False,
            transport=transport,
        )

    async def list_pods(self) -> tuple[list[Pod], str]:
        """See KubernetesApi."""
        items = self.list(Pod, namespace="*", fields={"spec.nodeName": not_equal("")})
        pods = [pod async for pod in items]
        return pods, items.resourceVersion

    def watch_pods(self, version: str) -> AsyncIterator[tuple[str, Pod]]:
        """See KubernetesApi."""
        events = self.watch(
            Pod,
            namespace="*",
            fields={"spec.nodeName": not_equal("")},
            server_timeout=WATCH_SECONDS,
            resource_version=version,
        )
        return aiter(events)

    async def list_nodes(self) -> tuple[list[Node], str]:
        """See KubernetesApi."""
        items = self.list(Node)
        nodes = [node async for node in items]
        return nodes, items.resourceVersion

    def watch_nodes(self, version: str) -> AsyncIterator[tuple[str, Node]]:
        """See KubernetesApi."""
        return aiter(self.watch(Node, server_timeout=WATCH_SECONDS, resource_version=version))

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """See ObjectReader."""
        try:
            return await self.get(ConfigMap, name, namespace=namespace)
        except ApiError as error:
            if _is_missing(error):
                return None
            raise

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """See ObjectReader."""
        try:
            return await self.get(Secret, name, namespace=namespace)
        except ApiError as error:
            if _is_missing(error):
                return None
            raise

    async def patch_pod_status(self, pod: ObjectMeta, status: dict[str, Any]) -> None:
        """See KubernetesApi."""
        # The uid makes the API server refuse the patch for another pod of the same name.
        body = {"metadata": {"uid": pod.uid}, "status": status}
        try:
            await self.patch(PodStatus, _name(pod), body, namespace=pod.namespace)
        except ApiError as error:
            raise _translated(error) from None

    async def delete_pod(self, pod: ObjectMeta) -> None:
        """See KubernetesApi."""
        # lightkube's delete() knows no preconditions, so the request is made in two steps.
        request = self._client.prepare_request("delete", Pod, name=pod.name, namespace=pod.namespace)
        request.data = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": pod.uid},
        }
        # mypy: lightkube does not annotate these two.
        response = await self._client.send(self._client.build_adapter_request(request))  # type: ignore[no-untyped-call]
        try:
            self._client.raise_for_status(response)  # type: ignore[no-untyped-call]
        except ApiError as error:
            raise _translated(error) from None

    async def request_token(self, pod: Pod, audience: str | None, expiration_seconds: int | None) -> Token:
        """See KubernetesApi."""
        assert pod.metadata is not None and pod.spec is not None  # noqa: S101 - the API server sets both
        spec = TokenRequestSpec(
            audiences=[audience] if audience else [],
            boundObjectRef=BoundObjectReference(
                apiVersion="v1", kind="Pod", name=pod.metadata.name, uid=pod.metadata.uid
            ),
            expirationSeconds=expiration_seconds,
        )
        account = pod.spec.serviceAccountName or "default"
        try:
            answer = await self.create(
                ServiceAccountToken(metadata=ObjectMeta(), spec=spec), account, namespace=pod.metadata.namespace
            )
        except ApiError as error:
            raise _translated(error) from None
        status = answer.status
        if status is None or status.token is None or status.expirationTimestamp is None:
            raise ValueError(f"the API server gave no token for ServiceAccount {account}")
        return Token(status.token, status.expirationTimestamp)

    async def record_event(self, pod: ObjectMeta, kind: str, reason: str, message: str) -> None:
        """See KubernetesApi."""
        time = now()
        subject = ObjectReference(apiVersion="v1", kind="Pod", name=pod.name, namespace=pod.namespace, uid=pod.uid)
        event = Event(
            metadata=ObjectMeta(name=f"{_name(pod)}.{uuid.uuid4().hex[:16]}", namespace=pod.namespace),
            involvedObject=subject,
            type=kind,
            reason=reason,
            message=message,
            count=1,
            firstTimestamp=time,
            lastTimestamp=time,
            source=EventSource(component=COMPONENT),
            reportingComponent=COMPONENT,
        )
        await self.create(event)


def _is_missing(error: ApiError) -> bool:
    return error.status.code == HTTPStatus.NOT_FOUND


def _translated(error: ApiError) -> Exception:
    """ObjectGoneError if that says it, else the error itself; a plain conflict is worth a retry."""
    message = error.status.message or ""
    other_uid = error.status.code == HTTPStatus.CONFLICT and "UID" in message
    if error.status.code == HTTPStatus.NOT_FOUND or other_uid:
        return ObjectGoneError(message)
    return error


def _name(pod: ObjectMeta) -> str:
    return pod.name or ""
