"""What each simulated cloud answers: ids, computed outputs, functions."""

from __future__ import annotations

from local.provider_double.clouds.aws import Aws
from local.provider_double.clouds.azure import Azure
from local.provider_double.clouds.base import Account, Cloud
from local.provider_double.clouds.gcp import Gcp
from local.provider_double.clouds.kubernetes import Kubernetes
from local.provider_double.world import World

CLOUDS: dict[str, type[Cloud]] = {"aws": Aws, "azure-native": Azure, "gcp": Gcp, "kubernetes": Kubernetes}


def cloud_of(package: str, account: Account, world: World) -> Cloud:
    """The simulated cloud of a provider."""
    return CLOUDS[package](package, account, world)


__all__ = ["Account", "Cloud", "cloud_of"]
