"""The clouds. Only the chosen one is imported, and with it its SDK; its rules need no SDK."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from components.clouds.rules import CloudRules
    from components.cluster import Cloud

CLOUDS: Final[Mapping[str, str]] = {
    "azure": "components.clouds.azure",
    "aws": "components.clouds.aws",
    "local": "components.clouds.local",
    "existing": "components.clouds.existing",
    "gcp": "components.clouds.gcp",
}
"""Package of each cloud that is built. Its module ``cloud`` has an attribute ``CLOUD``, its module ``rules`` an
attribute ``RULES``; a new cloud is a package and a line here."""


def load_cloud(name: str) -> Cloud:
    """The cloud of this name.

    Raises:
        ValueError: there is none; the message lists those there are.
        CloudSdkMissingError: its SDK is not installed.
    """
    if name not in CLOUDS:
        raise ValueError(f"cloud {name!r} is not built yet; built: {', '.join(sorted(CLOUDS))}")
    try:
        cloud: Cloud = importlib.import_module(f"{CLOUDS[name]}.cloud").CLOUD
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("pulumi_"):
            raise
        raise CloudSdkMissingError(
            f"cloud {name} needs the package {error.name}, which is not installed: "
            f"install the extra, pip install '.[{name}]'"
        ) from error
    return cloud


def load_rules(name: str) -> CloudRules | None:
    """The rules of this cloud; None if it is not built."""
    if name not in CLOUDS:
        return None
    rules: CloudRules = importlib.import_module(f"{CLOUDS[name]}.rules").RULES
    return rules


class CloudSdkMissingError(Exception):
    """The chosen cloud's SDK is not installed; the message says how to install it."""
