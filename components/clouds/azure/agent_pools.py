"""Agent pools in Azure's own words: how a pool of the configuration is told apart, named and told to grow. No SDK.

A GPU pool becomes one agent pool, or two with spot-with-fallback: spot, and on-demand beside it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from components.clouds.azure.settings import AzureSettings
from components.clouds.rules import CloudSettings

SPOT_TAINT: Final = ("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule")
"""Key, value and effect of the taint that AKS puts on the nodes of a spot pool by itself (spot-node-pool.md)."""

LONGEST_POOL_NAME: Final = 12
"""Of a Linux pool; lower-case letters and digits, a letter first."""

DIGEST_LENGTH: Final = 6
"""Base 32: one in 10^9 that two pools get the same name, which the rules then refuse."""

MIG_SLICES: Final[Mapping[str, str]] = {"1g": "MIG1g", "2g": "MIG2g", "3g": "MIG3g", "4g": "MIG4g", "7g": "MIG7g"}
"""Azure's GPU instance profile by the compute part of NVIDIA's name."""

MIG_PROFILES: Final[Mapping[str, tuple[str, ...]]] = {
    "a100-40": ("1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"),
    "a100-80": ("1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "h100": ("1g.10gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"),
    "h100-nvl": ("1g.12gb", "2g.24gb", "3g.47gb", "4g.47gb", "7g.94gb"),
    "h200": ("1g.18gb", "2g.35gb", "3g.71gb", "4g.71gb", "7g.141gb"),
}
"""The slice that each GPU instance profile gives, by GPU: the profile names only the compute part, the memory is the
default of that part (gpu-multi-instance.md; NVIDIA MIG user guide, supported GPU instance profiles)."""


class Purchase(StrEnum):
    """How the nodes of one agent pool are bought; the value ends the pool's name at Azure."""

    ON_DEMAND = "o"
    SPOT = "s"
    RESERVED = "r"


PURCHASES: Final[Mapping[str, tuple[Purchase, ...]]] = {
    "on-demand": (Purchase.ON_DEMAND,),
    "spot": (Purchase.SPOT,),
    "spot-with-fallback": (Purchase.SPOT, Purchase.ON_DEMAND),
    "reserved": (Purchase.RESERVED,),
}
"""Agent pools of a capacity type, the preferred one first."""

SPOT_POOLS: Final = r"^aks-[a-z0-9]{11}s-.*"
"""Scale sets of spot pools, for the autoscaler's priorities: aks-<pool>-<number>-vmss."""

ANY_POOL: Final = ".*"

PRIORITIES: Final[Mapping[int, tuple[str, ...]]] = {50: (SPOT_POOLS,), 10: (ANY_POOL,)}
"""Of the cluster autoscaler's priority expander: larger is tried first; a group that could not grow is left out for
a while, which is what makes on-demand the fallback."""


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What of an agent pool cannot be changed in place.

    All of it is part of the pool's name, so that a change makes a new pool first and then takes the old one away.

    Attributes:
        pool: its name in the configuration.
        vm_size: Azure's name of the machine.
        purchase: how its nodes are bought.
        gpu_instance_profile: MIG1g to MIG7g; "" for whole GPUs.
        disk_gib: of a node.
        os: ubuntu or azure-linux.
        zones: availability zones; () for Azure's choice.
        reservation_id: of the capacity reservation group; "" for none.
        options: further ones, e.g. encryption at host.
    """

    pool: str
    vm_size: str
    purchase: Purchase
    gpu_instance_profile: str = ""
    disk_gib: int = 200
    os: str = "ubuntu"
    zones: tuple[str, ...] = ()
    reservation_id: str = ""
    options: Mapping[str, object] = field(default_factory=dict)


def agent_pool_name(fixed: Fixed) -> str:
    """Name at Azure: 12 lower-case letters and digits, the same for the same pool.

    Five letters of the pool's own name, six of a digest and one that tells how its nodes are bought: ``h100pabc2deo``.
    """
    facts = [
        fixed.pool,
        fixed.vm_size,
        fixed.gpu_instance_profile,
        fixed.disk_gib,
        fixed.os,
        sorted(fixed.zones),
        fixed.reservation_id,
        sorted(fixed.options.items()),
    ]  # of the purchase its letter is enough
    digest = hashlib.sha256(json.dumps(facts).encode()).digest()
    letters = base64.b32encode(digest).decode().lower()[:DIGEST_LENGTH]
    stem_length = LONGEST_POOL_NAME - DIGEST_LENGTH - 1
    stem = "".join(c for c in fixed.pool if c.isascii() and c.isalnum()) + "pool0"
    return f"{stem[:stem_length]}{letters}{fixed.purchase}"


def fixed_parts(
    *,
    name: str,
    vm_size: str,
    capacity_type: str,
    mig_profile: str,
    disk_gib: int,
    zones: Sequence[str],
    reservation_id: str,
    settings: CloudSettings | None,
) -> tuple[Fixed, ...]:
    """The agent pools of a pool, the preferred one first.

    Args:
        name: of the pool in the configuration.
        vm_size: Azure's name of the machine.
        capacity_type: on-demand, spot, spot-with-fallback or reserved.
        mig_profile: NVIDIA's name of the slice; "" for whole GPUs.
        disk_gib: of a node.
        zones: availability zones.
        reservation_id: of the capacity reservation group; "" for none.
        settings: the section `azure`; None for its defaults. Of a broken section what is there.
    """
    said = AzureSettings().__dict__ | (settings.__dict__ if settings is not None else {})
    options = {
        "encryption_at_host": said["encryption_at_host"],
        "gpu_driver": said["install_gpu_driver"],
    }
    return tuple(
        Fixed(
            pool=name,
            vm_size=vm_size,
            purchase=purchase,
            gpu_instance_profile=MIG_SLICES.get(mig_profile.split(".", 1)[0], ""),
            disk_gib=disk_gib,
            os=said["os"].value,
            zones=tuple(sorted(set(zones))),
            reservation_id=reservation_id,
            options={**options, "spot_max_price": said["spot_max_price"]} if purchase is Purchase.SPOT else options,
        )
        for purchase in PURCHASES[capacity_type]
    )
