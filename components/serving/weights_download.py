"""The Job that fills the store of model weights before a model's first pod starts.

A module of its own: few environments have it, and the types of Jobs take long to import.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from pulumi_kubernetes.batch.v1 import Job, JobSpecArgs
from pulumi_kubernetes.core.v1 import (
    ContainerArgs,
    EmptyDirVolumeSourceArgs,
    EnvVarArgs,
    EnvVarSourceArgs,
    LocalObjectReferenceArgs,
    PersistentVolumeClaimVolumeSourceArgs,
    PodSpecArgs,
    PodTemplateSpecArgs,
    SecretKeySelectorArgs,
    VolumeArgs,
    VolumeMountArgs,
)
from pulumi_kubernetes.meta.v1 import ObjectMetaArgs

from components.base import Component
from components.images import pinned
from components.labels import Workload
from components.pods import confined, engine_pod_security
from components.scheduling import on_system_nodes
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.weights import CLAIM, HUB, MOUNT
from components.versions import VLLM_ENGINE

STORE_MODEL: Final = (Path(__file__).parent / "store_model.py").read_text(encoding="utf-8")
"""What the Job runs: fetches a model by Hugging Face's own client and checks each file."""

SCRATCH: Final = "scratch"
SCRATCH_MOUNT: Final = "/scratch"

DOWNLOAD_TIMEOUT: Final = "2h"
"""Longest wait for a model's download; 700 GB at 100 MB/s."""

DOWNLOAD_ATTEMPTS: Final = 4


def download_job_name(args: ModelDeploymentArgs) -> str:
    """Name of the Job; other weights get another Job, since a Job cannot be changed."""
    weights = json.dumps([item.order() for item in args.engine.downloads])
    return f"{args.name}-weights-{hashlib.sha256(weights.encode()).hexdigest()[:8]}"


def create_download(parent: Component, name: str, context: ServingContext, args: ModelDeploymentArgs) -> Job:
    """The Job that downloads a model into the claim before its first pod starts.

    Args:
        parent: the model deployment's component.
        name: its logical name.
        context: where; with a claim.
        args: what is served.
    """
    placement = on_system_nodes(cpu="1", memory="4Gi", selector=context.cluster.system_nodes)
    labels = context.labels.of(Workload.WEIGHTS, args.name)
    claim = PersistentVolumeClaimVolumeSourceArgs(claim_name=context.weights_claim)
    volumes = [VolumeArgs(name=CLAIM, persistent_volume_claim=claim)]
    if context.weights_whole_files:
        volumes.append(VolumeArgs(name=SCRATCH, empty_dir=EmptyDirVolumeSourceArgs()))
    return Job(
        f"{name}-weights",
        metadata=ObjectMetaArgs(name=download_job_name(args), namespace=context.labels.namespace, labels=labels),
        spec=JobSpecArgs(
            backoff_limit=DOWNLOAD_ATTEMPTS,
            template=PodTemplateSpecArgs(
                metadata=ObjectMetaArgs(labels=labels, annotations=dict(context.weights_annotations) or None),
                spec=PodSpecArgs(
                    restart_policy="Never",
                    image_pull_secrets=[LocalObjectReferenceArgs(name=item) for item in context.image_pull_secrets]
                    or None,
                    automount_service_account_token=False,
                    enable_service_links=False,
                    security_context=engine_pod_security(as_root=context.engines_as_root),
                    node_selector=placement.node_selector,
                    containers=[
                        ContainerArgs(
                            name="download",
                            image=pinned(VLLM_ENGINE, context.image_digests),
                            command=_command(context, args),
                            env=_variables(context, args),
                            resources=placement.resources.as_requirements(),
                            security_context=confined(),
                            # Its last line says what went wrong: it then stands in the pod's status too.
                            termination_message_policy="FallbackToLogsOnError",
                            volume_mounts=_mounts(context),
                        )
                    ],
                    volumes=volumes,
                ),
            ),
        ),
        opts=parent.child(timeout=DOWNLOAD_TIMEOUT),
    )


def _command(context: ServingContext, args: ModelDeploymentArgs) -> list[str]:
    order = {
        "hub": HUB,
        "scratch": f"{SCRATCH_MOUNT}/files" if context.weights_whole_files else None,
        "models": [item.order() for item in args.engine.downloads],
    }
    return ["python3", "-c", STORE_MODEL, json.dumps(order)]


def _variables(context: ServingContext, args: ModelDeploymentArgs) -> list[EnvVarArgs]:
    # What else the client keeps at home (its own caches, locks) a store of whole files does not take either.
    home = f"{SCRATCH_MOUNT}/home" if context.weights_whole_files else MOUNT
    variables = [EnvVarArgs(name="HF_HOME", value=home)]
    token = args.engine.hugging_face_token
    if token is not None:
        reference = SecretKeySelectorArgs(name=token.secret, key=token.key)
        variables.append(EnvVarArgs(name="HF_TOKEN", value_from=EnvVarSourceArgs(secret_key_ref=reference)))
    return variables


def _mounts(context: ServingContext) -> list[VolumeMountArgs]:
    mounts = [VolumeMountArgs(name=CLAIM, mount_path=MOUNT)]
    if context.weights_whole_files:
        mounts.append(VolumeMountArgs(name=SCRATCH, mount_path=SCRATCH_MOUNT))
    return mounts
