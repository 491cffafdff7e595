"""What only this cloud can be told: the section `aws` of the configuration."""

from __future__ import annotations

from components.clouds.rules import CloudSettings


class AwsSettings(CloudSettings):
    """Settings of the cloud `aws`."""
