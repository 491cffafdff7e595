"""What only this cloud can be told: the section `azure` of the configuration."""

from __future__ import annotations

from components.clouds.rules import CloudSettings


class AzureSettings(CloudSettings):
    """Settings of the cloud `azure`."""
