"""A pod's folder: its record, volumes, home and logs.

<state dir>/pods/<namespace>_<name>_<uid>/
    record.json                      what a later agent needs to take the pod over
    home/                            HOME and default working directory of its processes
    volumes/<volume>/                ConfigMaps, Secrets, tokens, scratch space
    probes/                          exec probes and hooks that run now
    <container>/<restart>.log        output; kept when the pod is gone
"""

from __future__ import annotations

import logging
import shutil
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from local.node_agent import files
from local.node_agent.states import ContainerRecord

log = logging.getLogger(__name__)

RECORD = "record.json"
# The kubelet keeps the log of the current and the previous start; a few more cost nothing here.
LOGS_KEPT_PER_CONTAINER = 5
# Folders of deleted pods, which hold only logs by then.
FOLDERS_KEPT = 200
NAME_LIMIT = 150


class PodRecord(BaseModel):
    """What outlives the agent about one pod.

    Attributes:
        start_time: when an agent first saw the pod.
        volumes_ready: its volumes are laid out.
        containers: by name, init containers too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str
    name: str
    uid: str
    start_time: datetime
    volumes_ready: bool = False
    containers: dict[str, ContainerRecord] = {}


class PodFolder:
    """Paths of one pod; nothing in them is readable by other users."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, pods: Path, namespace: str, name: str, uid: str) -> PodFolder:
        """The folder of a pod below ``pods``; not made yet."""
        return cls(pods / f"{namespace}_{name[:NAME_LIMIT]}_{uid}")

    @property
    def home(self) -> Path:
        """HOME of the pod's processes."""
        return self.path / "home"

    @property
    def volumes(self) -> Path:
        """One folder per volume."""
        return self.path / "volumes"

    @property
    def kubeconfig(self) -> Path:
        """Access to the API with the pod's own ServiceAccount."""
        return self.path / "kubeconfig"

    def create(self) -> None:
        """Make the folder and the home."""
        for folder in (self.path, self.home, self.volumes):
            folder.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE_FOLDER)

    def log_file(self, container: str, restart: int) -> Path:
        """The log of one start; makes its folder and drops the oldest log."""
        folder = self.path / container
        folder.mkdir(exist_ok=True, mode=files.PRIVATE_FOLDER)
        (folder / f"{restart - LOGS_KEPT_PER_CONTAINER}.log").unlink(missing_ok=True)
        return folder / f"{restart}.log"

    def save(self, record: PodRecord) -> None:
        """Write the record."""
        files.write(self.path / RECORD, record.model_dump_json())

    def load(self) -> PodRecord | None:
        """The record that an earlier agent wrote; None if there is none that can be read."""
        try:
            return PodRecord.model_validate_json((self.path / RECORD).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.error("%s: its record cannot be read, the pod starts afresh: %s", self.path.name, error)  # noqa: TRY400
            return None

    def keep_only_logs(self) -> None:
        """Remove everything that the pod's processes needed, secrets first."""
        for folder in (self.volumes, self.home):
            shutil.rmtree(folder, ignore_errors=True)
        self.kubeconfig.unlink(missing_ok=True)
        # The record goes last: with it a later agent would still find what is left here.
        (self.path / RECORD).unlink(missing_ok=True)


def recorded(pods: Path) -> list[PodFolder]:
    """Folders of pods that are not finished."""
    return [PodFolder(record.parent) for record in sorted(pods.glob(f"*/{RECORD}"))]


def drop_old_logs(pods: Path, keep: int = FOLDERS_KEPT) -> None:
    """Remove the folders of the pods that were deleted longest ago, beyond the newest ``keep``."""
    finished = [path for path in pods.iterdir() if path.is_dir() and not (path / RECORD).exists()]
    finished.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in finished[keep:]:
        shutil.rmtree(path, ignore_errors=True)
