"""What only this cloud can be told: the section `existing` of the configuration."""

from __future__ import annotations

from components.clouds.rules import CloudSettings


class ExistingSettings(CloudSettings):
    """Settings of the cloud `existing`."""
