"""KV offload: keys and values of past prompts beside the GPU, in the pod's memory, on a disk, in a remote cache.

The same words on both serving stacks. Of the chart vllm-stack only the cache server is used, not `lmcacheConfig`: its
disk has no place, its sizes below a GiB are dropped, and it raises vLLM's RPC timeout to 1,000 s. Names and defaults of
the variables: LMCache 0.5.6 lmcache/v1/config.py; of the connectors: vLLM 0.32.0 config/vllm.py
_post_init_kv_transfer_config. Nothing of it was measured here: the simulated engine has no KV offload.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

NATIVE: Final = "native"
LMCACHE: Final = "lmcache"

DISK_MOUNT: Final = "/kv-cache"
DISK_VOLUME: Final = "kv-cache"

SERVER_PORT: Final = 80
"""Of the chart's Service of its cache server (`cacheserverSpec.servicePort`)."""

SERVER_POD_PORT: Final = 8000

HASH_SEED: Final = "123"
"""Replicas find one another's blocks only if they hash alike; the chart gives its engines the same."""

DISK_MARGIN: Final = 10
"""A volume is larger than what LMCache may fill by one part in so many: it writes a block before it drops one, and a
pod that outgrows its volume is evicted."""


@dataclass(frozen=True, kw_only=True)
class KvCacheServerArgs:
    """A cache server of the chart's.

    Attributes:
        image: with its tag or digest.
        memory_gib: of its pod; at this it is restarted, empty.
    """

    image: str
    memory_gib: int


@dataclass(frozen=True, kw_only=True)
class KvOffloadArgs:
    """What one replica keeps beside its GPUs.

    Attributes:
        backend: `native` or `lmcache`.
        cpu_gib: memory of the pod, of all its GPUs together.
        disk_gib: disk of the node; 0: none.
        remote_url: of a cache that is there; "": none.
        server: a cache server of the model's own; None: none.

    Raises:
        ValueError: an unknown backend, a size that is none, what only LMCache has with another backend, or two remote
            caches.
    """

    backend: str
    cpu_gib: int
    disk_gib: int = 0
    remote_url: str = ""
    server: KvCacheServerArgs | None = None

    def __post_init__(self) -> None:
        if self.backend not in {NATIVE, LMCACHE}:
            raise ValueError(f"backend {self.backend!r} must be {NATIVE} or {LMCACHE}")
        if self.cpu_gib < 1 or self.disk_gib < 0:
            raise ValueError(f"cpu_gib {self.cpu_gib} must be at least 1 and disk_gib {self.disk_gib} not negative")
        if self.backend == NATIVE and (self.disk_gib or self.remote_url or self.server):
            raise ValueError(f"a disk and a remote cache are LMCache's, and the backend is {self.backend}")
        if self.remote_url and self.server:
            raise ValueError("an engine has one remote cache: remote_url or server")

    def arguments(self) -> tuple[str, ...]:
        """Flags of `vllm serve`."""
        if self.backend == NATIVE:
            return ("--kv-offloading-backend=native", f"--kv-offloading-size={self.cpu_gib}")
        transfer = {"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}
        return (f"--kv-transfer-config={json.dumps(transfer, separators=(',', ':'))}",)

    def variables(self, model: str, tensor_parallel: int) -> dict[str, str]:
        """Environment of the engine; each of its GPUs' processes takes these sizes.

        Args:
            model: name of the model deployment, which is that of the chart's release.
            tensor_parallel: GPUs of a replica.
        """
        if self.backend == NATIVE:
            return {}
        found = {
            "PYTHONHASHSEED": HASH_SEED,
            "LMCACHE_LOCAL_CPU": "True",
            "LMCACHE_MAX_LOCAL_CPU_SIZE": f"{self.cpu_gib / tensor_parallel:g}",
        }
        if self.disk_gib:
            found["LMCACHE_LOCAL_DISK"] = f"file://{DISK_MOUNT}/"
            found["LMCACHE_MAX_LOCAL_DISK_SIZE"] = f"{self.disk_gib / tensor_parallel:g}"
        remote = self.remote_url or (f"lm://{server_name(model)}:{SERVER_PORT}" if self.server else "")
        if remote:
            found["LMCACHE_REMOTE_URL"] = remote
        return found

    @property
    def disk_size(self) -> str:
        """Of the volume; "" without a disk."""
        return f"{self.disk_gib + -(-self.disk_gib // DISK_MARGIN)}Gi" if self.disk_gib else ""


def server_name(model: str) -> str:
    """Service of the chart's cache server."""
    return f"{model}-cache-server-service"
