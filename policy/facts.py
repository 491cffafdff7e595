"""What the project knows about itself: the versions that were tested together, and the licences of models."""

from __future__ import annotations

import fnmatch
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from components import versions

LICENCES = Path(__file__).parent / "licences.toml"


def _texts() -> dict[str, str]:
    return {name: value for name, value in vars(versions).items() if name.isupper() and isinstance(value, str)}


@cache
def tested_images() -> Mapping[str, tuple[str, ...]]:
    """Tags of every tested image, by repository."""
    found: dict[str, tuple[str, ...]] = {}
    for name, value in _texts().items():
        repository, _, tag = value.rpartition(":")
        if repository and not value.startswith(("http", "oci")) and not name.endswith(("_CHART", "_VERSION")):
            found[repository] = (*found.get(repository, ()), tag)
    return found


@cache
def tested_charts() -> Mapping[str, str]:
    """Version of every tested chart, by the chart's name.

    `X_CHART` is its name and `X_VERSION` or `X_CHART_VERSION` its version.
    """
    texts = _texts()
    found = {}
    for name, value in texts.items():
        if name.endswith("_CHART"):
            version = texts.get(f"{name}_VERSION") or texts.get(f"{name.removesuffix('_CHART')}_VERSION")
            if version:
                found[value.rsplit("/", 1)[-1]] = version
    return found


@cache
def kubernetes_versions() -> Mapping[str, str]:
    """Tested minor version of Kubernetes by cloud, as far as the lock has one."""
    suffix = "_KUBERNETES_VERSION"
    return {name.removesuffix(suffix).lower(): value for name, value in _texts().items() if name.endswith(suffix)}


@cache
def _licences() -> tuple[tuple[str, str], ...]:
    rows = tomllib.loads(LICENCES.read_text(encoding="utf-8"))["licences"]
    return tuple(rows.items())


def licence_of(model: str) -> str:
    """Licence of a model by its Hugging Face id; "" if the table does not know it."""
    for pattern, licence in _licences():
        if fnmatch.fnmatchcase(model.lower(), pattern.lower()):
            return licence
    return ""
