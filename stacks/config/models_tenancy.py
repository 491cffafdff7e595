"""What keeps an environment apart from others on the same cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from stacks.config.base import Int, Strictly
from stacks.config.models_secrets import ObjectName
from stacks.config.vocabulary import PodSecurity

KeyHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Quota(Strictly):
    """Most that the environment's namespace may ask for; what is not given is not limited."""

    gpus: Int | None = Field(
        default=None,
        ge=0,
        le=100_000,
        description="GPUs, or slices of one; of each resource name that its pools have.",
        json_schema_extra={"default_text": "no limit"},
    )
    cpu: Int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="CPUs asked for by its pods.",
        json_schema_extra={"default_text": "no limit"},
    )
    memory_gib: Int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Memory asked for by its pods, GiB.",
        json_schema_extra={"default_text": "no limit"},
    )
    pods: Int | None = Field(
        default=None, ge=1, le=100_000, description="Pods.", json_schema_extra={"default_text": "no limit"}
    )


class Tenancy(Strictly):
    """Isolation of the environment: its namespace is closed to others in any case."""

    quota: Quota | None = Field(
        default=None, description="Limits of the namespace.", json_schema_extra={"default_text": "none"}
    )
    pod_security: PodSecurity | None = Field(
        default=None,
        description="Pod Security level that the API server enforces in the namespace. restricted: engines run as the "
        "image's user 2000. baseline: they run as root.",
        json_schema_extra={
            "default_text": "restricted; baseline with a shared store, whose folders belong to root, with an engine "
            "other than vllm, and with chart_values that add containers"
        },
    )
    image_pull_secrets: tuple[ObjectName, ...] = Field(
        default=(),
        description="Secrets that images are fetched with from a private registry: of `secrets` with the key "
        ".dockerconfigjson, or put there by others.",
        json_schema_extra={"default_text": "[]"},
    )
    api_key_hashes: tuple[KeyHash, ...] = Field(
        default=(),
        description="SHA-256, in lower-case hexadecimal, of each API key that the gateway accepts as a bearer token. "
        "Keys are 32 random bytes, so that a hash gives none away; `python -m stacks key NAME` makes one.",
        json_schema_extra={"default_text": "no key is asked for"},
    )
