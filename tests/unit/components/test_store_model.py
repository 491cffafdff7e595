"""How a model gets into a bucket: the script of the download Job, with a hub and a folder that plays the bucket.

The folder refuses what a mounted bucket refuses (rename, links, writing anywhere but at the end). Does not prove that
Mountpoint, Cloud Storage FUSE or BlobFuse behave so, nor what Hugging Face's client does; that the client finds the
model afterwards is in tests/contract.
"""

from __future__ import annotations

import ast
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from components.serving.store_model import store
from components.serving.weights_download import STORE_MODEL

pytestmark = pytest.mark.unit

COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": bytes(range(256)) * 4096,
    "model-00002-of-00002.safetensors": b"w" * 100_000,
    "original/params.json": b"p",
    "empty.txt": b"",
}


@dataclass
class Hub:
    """What of Hugging Face's client the script uses."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    fetched: list[str] = field(default_factory=list)
    fails_at: str = ""

    def model_info(self, model: str, *, files_metadata: bool) -> SimpleNamespace:
        assert (model, files_metadata) == ("meta-llama/Llama-3.1-8B-Instruct", True)
        siblings = [SimpleNamespace(rfilename=name, size=len(content)) for name, content in self.files.items()]
        return SimpleNamespace(sha=COMMIT, siblings=siblings)

    def hf_hub_download(self, model: str, name: str, *, revision: str, local_dir: Path) -> str:
        assert (model, revision) == ("meta-llama/Llama-3.1-8B-Instruct", COMMIT)
        if name == self.fails_at:
            raise ConnectionError("the hub went away")
        self.fetched.append(name)
        place = Path(local_dir, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(self.files[name])
        return str(place)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    module = ModuleType("huggingface_hub")
    module.HfApi = lambda: made  # type: ignore[attr-defined]
    module.hf_hub_download = made.hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return made


class FromFirstToLast(io.FileIO):
    """A new file of a bucket."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence == os.SEEK_CUR and offset == 0:
            return super().seek(offset, whence)
        raise OSError(22, "Invalid argument")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without rename and links, where files are written from the first byte to the last."""
    root = tmp_path / "bucket"
    root.mkdir()

    def refused(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*paths: Any, **options: Any) -> Any:
            if any(str(path).startswith(str(root)) for path in paths):
                raise OSError(38, "Function not implemented")
            return original(*paths, **options)

        return call

    for name in ("rename", "replace", "symlink", "link"):
        monkeypatch.setattr(os, name, refused(getattr(os, name)))
    opened = Path.open

    def opening(self: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "w" in mode and str(self).startswith(str(root)):
            assert mode == "wb"
            return FromFirstToLast(str(self), "w")
        assert not ("a" in mode and str(self).startswith(str(root)))
        return opened(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", opening)
    return root


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def fill(bucket: Path, scratch: Path) -> Path:
    return store("meta-llama/Llama-3.1-8B-Instruct", bucket / "hub", scratch)


def test_the_model_is_there_as_the_client_looks_for_it(hub: Hub, bucket: Path, tmp_path: Path) -> None:
    snapshot = fill(bucket, tmp_path / "scratch")
    place = bucket / "hub" / "models--meta-llama--Llama-3.1-8B-Instruct"
    assert snapshot == place / "snapshots" / COMMIT
    assert content(snapshot) == FILES
    assert content(place / "refs") == {"main": COMMIT.encode()}
    assert hub.fetched == list(FILES)


def test_the_disk_holds_one_file_at_a_time(hub: Hub, bucket: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    most: list[int] = []
    download = hub.hf_hub_download

    def watched(*words: Any, **options: Any) -> str:
        place = download(*words, **options)
        most.append(len(content(scratch)))
        return place

    sys.modules["huggingface_hub"].hf_hub_download = watched  # type: ignore[attr-defined]
    fill(bucket, scratch)
    assert most == [1] * len(FILES)


def test_a_model_that_is_half_there_cannot_be_found_and_another_attempt_goes_on(
    hub: Hub, bucket: Path, tmp_path: Path
) -> None:
    hub.fails_at = "model-00002-of-00002.safetensors"
    with pytest.raises(ConnectionError):
        fill(bucket, tmp_path / "scratch")
    assert not list(bucket.rglob("refs"))
    (cut,) = bucket.rglob("config.json")
    cut.write_bytes(b"{")
    hub.fails_at, hub.fetched = "", []
    snapshot = fill(bucket, tmp_path / "scratch")
    assert hub.fetched == ["config.json", "model-00002-of-00002.safetensors", "original/params.json", "empty.txt"]
    assert content(snapshot) == FILES


def test_it_runs_from_a_command_line_alone() -> None:
    """As in the Job: `python3 -c SCRIPT MODEL HUB SCRATCH`, with nothing of ours to import."""
    imported = [node for node in ast.walk(ast.parse(STORE_MODEL)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imported if isinstance(node, ast.ImportFrom)}
    assert names - sys.stdlib_module_names == {"huggingface_hub"}
