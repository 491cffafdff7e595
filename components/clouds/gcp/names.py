"""Names within Google Cloud's limits of length, and a project's principals."""

from __future__ import annotations

from typing import Final

from components.clouds.names import shortened

CLUSTER: Final = 40
NODE_POOL: Final = 40
SERVICE_ACCOUNT: Final = 30
RESOURCE: Final = 63
BUCKET: Final = 63

COMPUTE_CLASS: Final = "cloud.google.com/compute-class"
"""Label and taint of nodes that GKE makes for a ComputeClass; pods select by it."""


def environment_name(environment: str, suffix: str, longest: int) -> str:
    """Name of something that an environment has one of; begins with a letter, as Google Cloud demands."""
    return shortened("-".join(part for part in ("inference", environment, suffix) if part), longest)


def compute_class_name(pool: str) -> str:
    """Name of a pool's ComputeClass: `default` and names of GKE's own are not to be taken by accident."""
    return f"inference-{pool}"


def namespace_principals(project: str, project_number: int, namespace: str) -> str:
    """All pods of a namespace, as access policies name them (Workload Identity Federation for GKE)."""
    pool = f"projects/{project_number}/locations/global/workloadIdentityPools/{project}.svc.id.goog"
    return f"principalSet://iam.googleapis.com/{pool}/namespace/{namespace}"


def gke_service_agent(project_number: int) -> str:
    """GKE itself, as access policies name it."""
    return f"serviceAccount:service-{project_number}@container-engine-robot.iam.gserviceaccount.com"
