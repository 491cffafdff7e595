"""What only this cloud can be told: the section `gcp` of the configuration."""

from __future__ import annotations

from components.clouds.rules import CloudSettings


class GcpSettings(CloudSettings):
    """Settings of the cloud `gcp`."""
