"""Configuration of NVIDIA's device plugin and MIG manager for pools whose GPUs are split.

Nodes choose theirs by the labels of `components.scheduling.GpuPool.node_labels`.
Sources: NVIDIA/k8s-device-plugin api/config/v1 (sharing.go, replicas.go), NVIDIA/mig-parted api/spec/v1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import yaml

from components.scheduling import WHOLE_GPU, GpuPool, Sharing, SharingMode

WHOLE: Final = "default"
"""Configuration of nodes that ask for none: each GPU is one device."""

MIG_DISABLED: Final = "all-disabled"


def device_plugin_configs(pools: Sequence[GpuPool]) -> dict[str, str]:
    """One configuration of the device plugin per way of sharing, as YAML by name; `default` is always there."""
    shared = {pool.sharing.device_plugin_config: pool.sharing for pool in pools if pool.sharing.device_plugin_config}
    return {WHOLE: _yaml(_config({})), **{name: _yaml(_config(_shares(shared[name]))) for name in sorted(shared)}}


def _config(sharing: dict[str, Any]) -> dict[str, Any]:
    # `mixed` names a MIG device by its profile and changes nothing where MIG is off.
    return {"version": "v1", "flags": {"migStrategy": "mixed"}, **({"sharing": sharing} if sharing else {})}


def _shares(sharing: Sharing) -> dict[str, Any]:
    """Replicas of every GPU, under a name of their own: a pod that wants a whole GPU never gets a share of one."""
    field = {SharingMode.TIME_SLICING: "timeSlicing", SharingMode.MPS: "mps"}[sharing.mode]
    resource = {"name": WHOLE_GPU, "replicas": sharing.slices_per_gpu}
    return {field: {"renameByDefault": True, "resources": [resource]}}


def mig_config(pools: Sequence[GpuPool]) -> str:
    """Configuration of the MIG manager: every profile that a pool uses, on all GPUs of a node, as YAML."""
    layouts: dict[str, list[dict[str, Any]]] = {MIG_DISABLED: [{"devices": "all", "mig-enabled": False}]}
    for sharing in sorted({pool.sharing for pool in pools if pool.sharing.mig_config}, key=lambda s: s.mig_config):
        layouts[sharing.mig_config] = [
            {"devices": "all", "mig-enabled": True, "mig-devices": {sharing.profile: sharing.slices_per_gpu}}
        ]
    return _yaml({"version": "v1", "mig-configs": layouts})


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)
