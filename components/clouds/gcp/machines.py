"""What Google Cloud's GPU machines are called and what is in them. Data and pure functions; no SDK.

Sources, read 2026-11: Compute Engine documentation "GPU machine types" (accelerator types, bundled local SSD, the note
that a3-highgpu-1g, -2g and -4g are had as Spot or Flex-start only) and "About Local SSD disks" (how many fit where); AI
Hypercomputer documentation "Review compute instance and cluster configurations" (A3 Ultra and A4 are had
reservation-bound, Flex-start or Spot); which disks: "GPU machine types" (A3 Ultra and A4 take Hyperdisk only).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ACCELERATOR_TYPES: Final[Mapping[str, str]] = {
    "t4": "nvidia-tesla-t4",
    "l4": "nvidia-l4",
    "a100-40": "nvidia-tesla-a100",
    "a100-80": "nvidia-a100-80gb",
    "h100": "nvidia-h100-80gb",
    "h200": "nvidia-h200-141gb",
    "b200": "nvidia-b200",
}
"""Google's name of a GPU, by its key in the catalogue."""

MEGA_ACCELERATOR: Final = "nvidia-h100-mega-80gb"

LOCAL_SSDS: Final[Mapping[str, int]] = {
    "g2-standard-4": 1,
    "g2-standard-8": 1,
    "g2-standard-12": 1,
    "g2-standard-16": 1,
    "g2-standard-24": 2,
    "g2-standard-32": 1,
    "g2-standard-48": 4,
    "g2-standard-96": 8,
    "a2-highgpu-1g": 1,
    "a2-highgpu-2g": 2,
    "a2-highgpu-4g": 4,
    "a2-highgpu-8g": 8,
    "a2-megagpu-16g": 8,
    "a2-ultragpu-1g": 1,
    "a2-ultragpu-2g": 2,
    "a2-ultragpu-4g": 4,
    "a2-ultragpu-8g": 8,
    "a3-highgpu-1g": 2,
    "a3-highgpu-2g": 4,
    "a3-highgpu-4g": 8,
    "a3-highgpu-8g": 16,
    "a3-megagpu-8g": 16,
    "a3-ultragpu-8g": 32,
    "a4-highgpu-8g": 32,
    "n1-standard-4": 1,
    "n1-standard-8": 1,
    "n1-standard-16": 1,
}
"""Local SSDs (375 GiB each) that a node gets with `local_nvme`: all that are bundled with the machine, or one per GPU
where the number is free."""

SPOT_OR_FLEX_START_ONLY: Final = frozenset({"a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g"})
NEVER_ON_DEMAND: Final = frozenset({"a3-ultragpu-8g", "a4-highgpu-8g"})
HYPERDISK_ONLY: Final = frozenset({"a3-ultragpu-8g", "a4-highgpu-8g"})


def accelerator_type(accelerator: str, machine_type: str) -> str:
    """Google's name of the GPU in a machine.

    Args:
        accelerator: its key in the catalogue.
        machine_type: A3 Mega has a name of its own for the same GPU.

    Raises:
        ValueError: Google Cloud has no such GPU, which the configuration's checks refuse.
    """
    if machine_type.startswith("a3-megagpu"):
        return MEGA_ACCELERATOR
    if accelerator not in ACCELERATOR_TYPES:
        raise ValueError(f"Google Cloud has no GPU {accelerator!r}; it has {', '.join(ACCELERATOR_TYPES)}")
    return ACCELERATOR_TYPES[accelerator]


def boot_disk_type(machine_type: str) -> str:
    """The balanced disk that the machine takes."""
    return "hyperdisk-balanced" if machine_type in HYPERDISK_ONLY else "pd-balanced"
