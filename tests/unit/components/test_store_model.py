"""How a model gets into a bucket: the script of the download Job, with a hub and a folder that plays the bucket.

The folder refuses what a mounted bucket refuses (rename, links, writing anywhere but at the end). Does not prove that
Mountpoint, Cloud Storage FUSE or BlobFuse behave so, nor what Hugging Face's client does; that the client finds the
model afterwards is in tests/contract.
"""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from components.serving.store_model import StoreError, main, store
from components.serving.weights_download import STORE_MODEL
from components.weights_files import MODEL_FILES, OTHER_FORMATS, Download

pytestmark = pytest.mark.unit

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
FILES = {
    "config.json": b"{}",
    FIRST: bytes(range(256)) * 4096,
    SECOND: b"w" * 100_000,
    "tokenizer/vocab.txt": b"p",
    "empty.txt": b"",
}
OTHERS = {"pytorch_model.bin": b"w" * 10, "original/model.safetensors": b"w" * 10, "README.md": b"# Llama"}


class ConnectError(Exception):
    """As the client's HTTP library has it: no OSError."""


@dataclass
class Hub:
    """What of Hugging Face's client the script uses."""

    files: dict[str, bytes] = field(default_factory=lambda: {**FILES, **OTHERS})
    fetched: list[str] = field(default_factory=list)
    fails_at: str = ""
    unreachable: bool = False
    garbled: dict[str, bytes] = field(default_factory=dict)

    def model_info(self, model: str, *, revision: str, files_metadata: bool) -> SimpleNamespace:
        assert (model, files_metadata) == (MODEL, True)
        if self.unreachable:
            raise ConnectError("[Errno 111] Connection refused")
        if revision not in {"main", "v1", COMMIT}:
            raise OSError(f"404: no revision\n  {revision}")
        return SimpleNamespace(sha=COMMIT, siblings=[self.sibling(name) for name in self.files])

    def sibling(self, name: str) -> SimpleNamespace:
        content = self.files[name]
        lfs = SimpleNamespace(sha256=hashlib.sha256(content).hexdigest()) if name.endswith(".safetensors") else None
        # Of a file in LFS git knows the pointer only.
        header = b"blob %d\0" % len(content)
        blob = "0" * 40 if lfs else hashlib.sha1(header + content, usedforsecurity=False).hexdigest()
        return SimpleNamespace(rfilename=name, size=len(content), lfs=lfs, blob_id=blob)

    def hf_hub_download(
        self, model: str, name: str, *, revision: str, local_dir: Path | None = None, cache_dir: Path | None = None
    ) -> str:
        assert (model, revision) == (MODEL, COMMIT)
        if name == self.fails_at:
            raise ConnectionError("the hub went away")
        self.fetched.append(name)
        content = self.garbled.get(name, self.files[name])
        place = Path(local_dir, name) if local_dir else Path(cache_dir or "", f"models--{MODEL.replace('/', '--')}")
        if local_dir is None:
            blob = place / "blobs" / hashlib.sha256(name.encode()).hexdigest()
            place = place / "snapshots" / COMMIT / name
            blob.parent.mkdir(parents=True, exist_ok=True)
            place.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(content)
            place.symlink_to(blob)
            return str(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return str(place)


def filter_repo_objects(
    items: Iterable[Any], *, allow_patterns: list[str], ignore_patterns: list[str], key: Callable[[Any], str]
) -> Iterable[Any]:
    """As the client's."""

    def fits(item: Any, patterns: list[str]) -> bool:
        return any(fnmatch.fnmatch(key(item), pattern) for pattern in patterns)

    return (item for item in items if fits(item, allow_patterns) and not fits(item, ignore_patterns))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    made = Hub()
    module, utils = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.utils")
    module.HfApi = lambda: made  # type: ignore[attr-defined]
    module.hf_hub_download = made.hf_hub_download  # type: ignore[attr-defined]
    utils.filter_repo_objects = filter_repo_objects  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", utils)
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


def order(revision: str = "", allow: tuple[str, ...] = MODEL_FILES) -> dict[str, Any]:
    wanted = Download(id=MODEL, revision=revision, allow_patterns=allow, ignore_patterns=OTHER_FORMATS)
    return dict(wanted.order())


def fill(store_root: Path, scratch: Path | None) -> Path:
    return store(order(), store_root / "hub", scratch)


def place(store_root: Path) -> Path:
    return store_root / "hub" / "models--meta-llama--Llama-3.1-8B-Instruct"


def sha256(name: str) -> str:
    return hashlib.sha256(FILES[name]).hexdigest()


def test_the_model_is_there_as_the_client_looks_for_it(hub: Hub, bucket: Path, tmp_path: Path) -> None:
    snapshot = fill(bucket, tmp_path / "scratch")
    assert snapshot == place(bucket) / "snapshots" / COMMIT
    assert content(snapshot) == FILES
    assert content(place(bucket) / "refs") == {"main": COMMIT.encode()}
    assert hub.fetched == list(FILES)


def test_a_file_system_is_filled_by_the_client_itself(hub: Hub, tmp_path: Path) -> None:
    snapshot = fill(tmp_path, None)
    assert content(snapshot) == FILES
    assert sorted(hub.fetched) == sorted(FILES)
    assert content(place(tmp_path) / "refs") == {"main": COMMIT.encode()}


@pytest.mark.usefixtures("hub")
def test_the_sha256_of_every_file_is_written_beside_them(tmp_path: Path) -> None:
    fill(tmp_path, None)
    manifest = json.loads((place(tmp_path) / "manifests" / f"{COMMIT}.json").read_text())
    assert manifest == {"model": MODEL, "commit": COMMIT, "sha256": {name: sha256(name) for name in sorted(FILES)}}


def test_other_formats_of_the_same_weights_stay_where_they_are(hub: Hub, tmp_path: Path) -> None:
    fill(tmp_path, None)
    assert not set(hub.fetched) & set(OTHERS)
    hub.fetched.clear()
    snapshot = store(order(allow=("*.bin", "config.json")), tmp_path / "hub", None)
    assert hub.fetched == ["pytorch_model.bin"]
    assert content(snapshot)["pytorch_model.bin"] == OTHERS["pytorch_model.bin"]


def test_weights_in_another_format_only_are_an_error_that_names_it(hub: Hub, tmp_path: Path) -> None:
    hub.files = {name: hub.files[name] for name in ("config.json", "pytorch_model.bin")}
    with pytest.raises(StoreError) as caught:
        fill(tmp_path, None)
    assert str(caught.value) == (
        f"{MODEL}: no weights fit allow_patterns {list(MODEL_FILES)}; the repository has *.bin: "
        "set source.allow_patterns"
    )
    assert not hub.fetched


@pytest.mark.parametrize("by_disk", [True, False])
@pytest.mark.parametrize(
    ("name", "garbled"),
    [(SECOND, b"w" * 99_999 + b"x"), (SECOND, b"w" * 99_999), ("config.json", b"[]")],
    ids=["weights, same size", "weights, cut off", "not in LFS"],
)
def test_a_broken_file_is_named_removed_and_never_found(
    hub: Hub, request: pytest.FixtureRequest, by_disk: bool, name: str, garbled: bytes
) -> None:
    tmp_path: Path = request.getfixturevalue("tmp_path")
    bucket: Path = request.getfixturevalue("bucket")
    root, scratch = (bucket, tmp_path / "scratch") if by_disk else (tmp_path / "files", None)
    hub.garbled = {name: garbled}
    with pytest.raises(StoreError) as caught:
        fill(root, scratch)
    wanted = hub.sibling(name)
    assert str(caught.value).startswith(f"{MODEL}: {name} has {len(garbled)} bytes, checksum ")
    assert f"the hub says {wanted.size} and {wanted.lfs.sha256 if wanted.lfs else wanted.blob_id}" in str(caught.value)
    assert not list(root.rglob("refs"))
    assert not list(root.rglob("manifests"))
    assert garbled not in content(root).values()
    hub.garbled, hub.fetched = {}, []
    assert content(fill(root, scratch)) == FILES
    assert hub.fetched == [name]


def test_what_went_bad_in_the_store_is_fetched_again(hub: Hub, tmp_path: Path) -> None:
    snapshot = fill(tmp_path, None)
    spoilt = (snapshot / SECOND).resolve()
    spoilt.write_bytes(b"W" + spoilt.read_bytes()[1:])
    hub.fetched = []
    assert content(fill(tmp_path, None)) == FILES
    assert hub.fetched == [SECOND]


@pytest.mark.usefixtures("hub")
def test_a_tag_gets_a_reference_and_a_commit_needs_none(tmp_path: Path) -> None:
    store(order("v1"), tmp_path / "hub", None)
    assert content(place(tmp_path) / "refs") == {"v1": COMMIT.encode()}
    store(order(COMMIT), tmp_path / "other", None)
    assert not list((tmp_path / "other").rglob("refs"))


@pytest.mark.parametrize(
    ("by_disk", "needed"), [(False, sum(map(len, FILES.values()))), (True, max(map(len, FILES.values())))]
)
def test_too_little_room_is_said_before_anything_is_fetched(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_disk: bool, needed: int
) -> None:
    """A file system needs room for all, the disk before a bucket for the largest file."""
    scratch = tmp_path / "scratch" if by_disk else None
    free = needed - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(StoreError, match=r"needs 0\.00 GiB in .*, which has 0\.00 GiB free"):
        fill(tmp_path, scratch)
    assert not hub.fetched
    free = needed
    assert content(fill(tmp_path, scratch)) == FILES


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
    hub.fails_at = SECOND
    with pytest.raises(ConnectionError):
        fill(bucket, tmp_path / "scratch")
    assert not list(bucket.rglob("refs"))
    (cut,) = bucket.rglob("config.json")
    cut.write_bytes(b"{")
    hub.fails_at, hub.fetched = "", []
    snapshot = fill(bucket, tmp_path / "scratch")
    assert hub.fetched == ["config.json", SECOND, "tokenizer/vocab.txt", "empty.txt"]
    assert content(snapshot) == FILES


@pytest.mark.usefixtures("hub")
def test_whoever_reads_the_pods_log_sees_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others write to this disk meanwhile.
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * 2**30))
    wanted = {"hub": str(tmp_path / "hub"), "scratch": None}
    main(json.dumps({**wanted, "models": [order()]}))
    assert capsys.readouterr().out.splitlines() == [
        f"{MODEL}: 5 files, 0.00 GiB; to fetch 0.00 GiB; 3.00 GiB free",
        str(place(tmp_path) / "snapshots" / COMMIT),
    ]
    with pytest.raises(SystemExit) as ended:
        main(json.dumps({**wanted, "models": [order("v9")]}))
    assert ended.value.code == f"{MODEL}: OSError: 404: no revision v9"


def test_a_hub_that_cannot_be_reached_is_one_line_too(hub: Hub, tmp_path: Path) -> None:
    hub.unreachable = True
    with pytest.raises(SystemExit) as ended:
        main(json.dumps({"hub": str(tmp_path / "hub"), "scratch": None, "models": [order()]}))
    assert ended.value.code == f"{MODEL}: ConnectError: [Errno 111] Connection refused"


def test_it_runs_from_a_command_line_alone() -> None:
    """As in the Job: `python3 -c SCRIPT ORDER`, with nothing of ours to import."""
    imported = [node for node in ast.walk(ast.parse(STORE_MODEL)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imported if isinstance(node, ast.ImportFrom)}
    assert names - sys.stdlib_module_names == {"huggingface_hub", "huggingface_hub.utils", "concurrent.futures"}
