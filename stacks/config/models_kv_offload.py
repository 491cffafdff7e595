"""Where keys and values of past prompts go that the GPU has no room for."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from stacks.config.base import ImageReference, Int, Strictly
from stacks.config.vocabulary import KvOffloadBackend

CacheUrl = Annotated[
    str, StringConstraints(pattern=r"^(lm|redis|rediss)://[a-z0-9][a-z0-9.-]*:[1-9][0-9]{0,4}$", max_length=300)
]
"""Without a user and password: what stands here is kept in the state."""


class KvCacheServer(Strictly):
    """A server of LMCache's that all replicas of the model share."""

    image: ImageReference = Field(
        description="An image with LMCache's server at /opt/venv/bin/lmcache_server, such as lmcache/vllm-openai with "
        "a tag; its LMCache must speak the protocol of the engine image's."
    )
    memory_gib: Int = Field(
        ge=1,
        le=100_000,
        description="Memory of its pod, GiB. It forgets nothing: when this is full it is restarted, empty.",
    )


class KvOffload(Strictly):
    """A second home for the KV cache: a prompt whose blocks have left the GPU is fetched and not computed again."""

    backend: KvOffloadBackend = Field(
        default=KvOffloadBackend.NATIVE,
        description="native: vLLM's own, in the pod's memory. lmcache: LMCache, which also takes a disk and a remote "
        "cache.",
    )
    cpu_gib: Int = Field(
        ge=1,
        le=100_000,
        description="Memory of the pod for blocks, GiB, of all GPUs of a replica together. LMCache passes everything "
        "through it.",
    )
    disk_gib: Int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Disk of the node for blocks, GiB per replica; gone with the pod. backend lmcache.",
        json_schema_extra={"default_text": "no disk"},
    )
    remote_url: CacheUrl | None = Field(
        default=None,
        description="A cache that is there, shared by replicas: lm://host:port, redis://host:port or "
        "rediss://host:port. backend lmcache.",
        json_schema_extra={"default_text": "no remote cache"},
    )
    server: KvCacheServer | None = Field(
        default=None,
        description="A cache server of the model's own, by the chart. backend lmcache on production-stack.",
        json_schema_extra={"default_text": "no server"},
    )
