"""The clouds. Only the chosen one is imported, and with it its SDK."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Final

from components.cluster import Cloud

CLOUDS: Final[Mapping[str, str]] = {"local": "components.clouds.local"}
"""Module of each cloud; it has an attribute ``CLOUD``."""


def load_cloud(name: str) -> Cloud:
    """The cloud of this name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in CLOUDS:
        raise ValueError(f"cloud {name!r} is not built yet; built: {', '.join(sorted(CLOUDS))}")
    cloud: Cloud = importlib.import_module(CLOUDS[name]).CLOUD
    return cloud
