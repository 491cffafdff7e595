"""Where the chart comes from: the project's repository, an OCI mirror, or a folder on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pulumi_kubernetes.helm.v3 import RepositoryOptsArgs

from components.versions import VLLM_STACK_CHART_VERSION

CHART: Final = "vllm-stack"
REPOSITORY: Final = "https://vllm-project.github.io/production-stack"
FOLDER_VARIABLE: Final = "VLLM_STACK_CHART"


@dataclass(frozen=True, kw_only=True)
class ChartSource:
    """A chart, pinned.

    Attributes:
        repository: URL of a chart repository; "" with the other two.
        oci: reference without a version (``oci://registry/path/vllm-stack``); "" with the other two.
        folder: path of the unpacked chart; "" with the other two.
        version: of the chart; a folder has its own.
        digest: of an OCI artifact, ``sha256:...``; "" to trust the version.
    """

    repository: str = REPOSITORY
    oci: str = ""
    folder: str = ""
    version: str = VLLM_STACK_CHART_VERSION
    digest: str = ""

    def release_inputs(self) -> Mapping[str, Any]:
        """`chart`, `version` and `repositoryOpts` of a Release."""
        folder = self.folder or os.environ.get(FOLDER_VARIABLE, "")
        if folder:
            return {"chart": str(installable(Path(folder).absolute()))}
        if self.oci:
            return {"chart": f"{self.oci}@{self.digest}" if self.digest else self.oci, "version": self.version}
        return {
            "chart": CHART,
            "version": self.version,
            "repository_opts": RepositoryOptsArgs(repo=self.repository),
        }


class ChartFolderError(Exception):
    """The folder is not the chart; the message says what is missing."""


def installable(folder: Path) -> Path:
    """A folder that Helm can install: the chart's own, or a copy without the subcharts that we never enable.

    Helm refuses a chart whose subcharts are not in its folder, enabled or not, as in a checkout of the source. The copy
    is in the user's cache, under a name that follows from the contents.

    Args:
        folder: of the unpacked chart.

    Raises:
        ChartFolderError: there is no chart in it.
    """
    description = folder / "Chart.yaml"
    if not description.is_file():
        raise ChartFolderError(f"{folder} has no Chart.yaml: name the folder of the unpacked chart {CHART}")
    document = yaml.safe_load(description.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or document.get("name") != CHART:
        raise ChartFolderError(f"{description} is not the description of the chart {CHART}")
    if not document.get("dependencies") or any((folder / "charts").glob("*")):
        return folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashed = hashlib.sha256()
    for path in files:
        hashed.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    copy = _cache() / f"{CHART}-{hashed.hexdigest()[:16]}"
    if not copy.exists():
        _copy_without_subcharts(folder, copy, document)
    return copy


def _copy_without_subcharts(folder: Path, copy: Path, document: dict[str, Any]) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent) as work:
        made = Path(work) / CHART
        shutil.copytree(folder, made, ignore=shutil.ignore_patterns("Chart.lock", "tests"))
        kept = {key: value for key, value in document.items() if key != "dependencies"}
        (made / "Chart.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
        # Another run may have been quicker; its copy is the same.
        with contextlib.suppress(OSError):
            made.rename(copy)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inference-platform" / "charts"
