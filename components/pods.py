"""What all our pods have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pulumi_kubernetes.core.v1 import (
    CapabilitiesArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    HTTPGetActionArgs,
    LifecycleArgs,
    LifecycleHandlerArgs,
    LocalObjectReferenceArgs,
    ObjectFieldSelectorArgs,
    PodSecurityContextArgs,
    ProbeArgs,
    SeccompProfileArgs,
    SecurityContextArgs,
    ServiceAccount,
    SleepActionArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.timing import PRE_STOP_SECONDS

SKIP_AWAIT: Final[Mapping[str, str]] = {"pulumi.com/skipAwait": "true"}
"""Pulumi does not wait for these: there is nothing to wait for at zero replicas, and the autoscaler owns the number."""

POD_IP: Final = "$(POD_IP)"
"""Pods bind their own address only: on the local cloud all pods share one network namespace."""

NOBODY: Final = 65534

ENGINE_USER: Final = 2000
ENGINE_GROUP: Final = 0
"""User `vllm` and group of the engine's image, the only ones that its caches are writable for. The image starts as root
unless told otherwise. Source: vLLM, docs/deployment/docker.md, "Run as a non-root user"."""

ENGINE_POD_SECURITY: Final[Mapping[str, object]] = {
    "runAsNonRoot": True,
    "runAsUser": ENGINE_USER,
    "runAsGroup": ENGINE_GROUP,
    "fsGroup": ENGINE_GROUP,
    # A volume that is right already is not walked through, file by file, at every start.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of engine pods, as Kubernetes writes it; of pods that need not be root."""


def pod_ip() -> EnvVarArgs:
    """The pod's address, as the variable POD_IP."""
    return EnvVarArgs(
        name="POD_IP",
        value_from=EnvVarSourceArgs(field_ref=ObjectFieldSelectorArgs(field_path="status.podIP")),
    )


def scraped(port: int, path: str = "/metrics") -> dict[str, str]:
    """Annotations by which Prometheus finds a pod's metrics."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": path,
    }


def http_probe(path: str, port: int, *, period: int, failures: int = 3, timeout: int = 5) -> ProbeArgs:
    """A GET of the pod's own address; seconds."""
    return ProbeArgs(
        http_get=HTTPGetActionArgs(path=path, port=port),
        period_seconds=period,
        timeout_seconds=timeout,
        failure_threshold=failures,
    )


def serve_on_after_deletion() -> LifecycleArgs:
    """Wait before SIGTERM until those who send requests have heard of the deletion."""
    return LifecycleArgs(pre_stop=LifecycleHandlerArgs(sleep=SleepActionArgs(seconds=PRE_STOP_SECONDS)))


def confined(user: int | None = None) -> SecurityContextArgs:
    """As little as possible.

    Args:
        user: the numeric user of an image that needs neither root nor a writable file system; None: an image that
            needs both.
    """
    return SecurityContextArgs(
        allow_privilege_escalation=False,
        capabilities=CapabilitiesArgs(drop=["ALL"]),
        seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
        run_as_non_root=None if user is None else True,
        run_as_user=user,
        run_as_group=user,
        read_only_root_filesystem=None if user is None else True,
    )


def engine_pod_security(*, as_root: bool) -> PodSecurityContextArgs | None:
    """Security context of a pod of the engine's image.

    Args:
        as_root: the image's own user; None of it is set then.
    """
    if as_root:
        return None
    return PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=ENGINE_USER,
        run_as_group=ENGINE_GROUP,
        fs_group=ENGINE_GROUP,
        fs_group_change_policy="OnRootMismatch",
        seccomp_profile=SeccompProfileArgs(type="RuntimeDefault"),
    )


def service_account(
    parent: Component, logical_name: str, metadata: ObjectMetaArgs, image_pull_secrets: Sequence[str] = ()
) -> ServiceAccount:
    """A ServiceAccount whose token is mounted nowhere; a pod that needs it asks for it itself.

    Args:
        parent: the component.
        logical_name: of the resource.
        metadata: name, namespace and labels.
        image_pull_secrets: names of the Secrets that its pods' images are fetched with.
    """
    return ServiceAccount(
        logical_name,
        metadata=metadata,
        automount_service_account_token=False,
        image_pull_secrets=[LocalObjectReferenceArgs(name=name) for name in image_pull_secrets] or None,
        opts=parent.child(),
    )
