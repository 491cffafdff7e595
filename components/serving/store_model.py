"""Puts models into a store of weights, each file checked against the hub's own checksum.

A store is the cache of Hugging Face's client, `HF_HUB_CACHE` of those who read it. Two kinds:

- A file system: the client fills the cache itself. File by file, and not by `snapshot_download`: that leaves a list of
  the whole repository in the cache, by which later clients call a snapshot incomplete that was meant to have some of
  its files only (huggingface_hub 2.4, `_raise_if_incomplete_snapshot`).
- A bucket that is mounted as a folder: it takes a new file from its first byte to its last, and has no rename and no
  links (awslabs/mountpoint-s3 doc/SEMANTICS.md), both of which the client uses. So each file is fetched to a folder on
  a disk and written from there, to the place where the client looks for it.

A file counts when what is in the store has the size and the checksum that the hub gives: sha256 of files in LFS, git's
own of others. What is there and counts is left: another attempt goes on. What does not is removed and named, and the
attempt fails. A manifest with the sha256 of each file comes next, and the reference, by which a model is found, last.

It runs inside the engine's container, from its command line: huggingface_hub and the standard library, no imports of
ours. Its argument is JSON: {"hub": FOLDER, "scratch": FOLDER or null, "models": [{"id", "revision", "allow",
"ignore"}]}; with `scratch` the store is a bucket.
"""

import hashlib
import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHUNK = 2**24
WORKERS = 8
"""Files at a time, into a file system: as many as the client itself fetches."""

WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
COMMIT = re.compile(r"[0-9a-f]{40}")


class StoreError(Exception):
    """A model cannot be stored; one line that names the model, and the file if it is about one."""


def store(model: dict, hub: Path, scratch: Path | None) -> Path:  # type: ignore[type-arg]
    """Put a model there.

    Args:
        model: its id, revision and patterns.
        hub: root of the cache in the store.
        scratch: folder on a disk with room for the largest file, for a bucket; None for a file system.

    Returns:
        The folder with the model's files.

    Raises:
        StoreError: no file fits the patterns, there is no room, or a file is not what the hub says.
    """
    from huggingface_hub import HfApi

    name = model["id"]
    info = HfApi().model_info(name, revision=model["revision"], files_metadata=True)
    files = chosen(name, info.siblings, model["allow"], model["ignore"])
    place = hub / f"models--{name.replace('/', '--')}"
    snapshot: Path = place / "snapshots" / info.sha
    sums: dict[str, str] = {}
    missing = [item for item in files if not _counts(snapshot, item, sums)]
    _check_room(name, files, missing, hub if scratch is None else scratch, whole_files=scratch is not None)
    _fetch(name, missing, snapshot, hub, scratch)
    broken = [fault for item in missing if (fault := _fault(snapshot, item, sums))]
    if broken:
        raise StoreError(f"{name}: {'; '.join(broken)}; removed, another attempt fetches it again")
    manifest = {"model": name, "commit": info.sha, "sha256": dict(sorted(sums.items()))}
    _write_text(json.dumps(manifest, indent=1), place / "manifests" / f"{info.sha}.json", scratch)
    if not COMMIT.fullmatch(model["revision"]):
        _write_text(info.sha, place / "refs" / model["revision"], scratch)
    return snapshot


def chosen(name: str, files: list, allow: list[str], ignore: list[str]) -> list:  # type: ignore[type-arg]
    """The files that the patterns want, as the client understands patterns."""
    from huggingface_hub.utils import filter_repo_objects

    found = list(
        filter_repo_objects(files, allow_patterns=allow, ignore_patterns=ignore, key=lambda item: item.rfilename)
    )
    wants_weights = any(pattern.endswith(WEIGHTS) for pattern in allow)
    if not found or (wants_weights and not any(item.rfilename.endswith(WEIGHTS) for item in found)):
        there = sorted({f"*{Path(item.rfilename).suffix}" for item in files if item.rfilename.endswith(WEIGHTS)})
        message = f"no weights fit allow_patterns {allow}; the repository has {', '.join(there) or 'none'}"
        raise StoreError(f"{name}: {message}: set source.allow_patterns")
    return found


def _check_room(name: str, files: list, missing: list, folder: Path, *, whole_files: bool) -> None:  # type: ignore[type-arg]
    """A file system holds all that is missing; before a bucket the disk holds one file at a time."""
    sizes = [item.size for item in missing]
    needed = max(sizes, default=0) if whole_files else sum(sizes)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    total = _gib(sum(item.size for item in files))
    print(f"{name}: {len(files)} files, {total}; to fetch {_gib(sum(sizes))}; {_gib(free)} free", flush=True)
    if needed > free:
        raise StoreError(f"{name}: needs {_gib(needed)} in {folder}, which has {_gib(free)} free")


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _fetch(name: str, missing: list, snapshot: Path, hub: Path, scratch: Path | None) -> None:  # type: ignore[type-arg]
    """Into a file system several files at a time; before a bucket the disk holds one."""
    from huggingface_hub import hf_hub_download

    commit = snapshot.name
    if scratch is None:
        with ThreadPoolExecutor(WORKERS) as workers:
            list(
                workers.map(lambda item: hf_hub_download(name, item.rfilename, revision=commit, cache_dir=hub), missing)
            )
        return
    for item in missing:
        fetched = Path(hf_hub_download(name, item.rfilename, revision=commit, local_dir=scratch))
        write(fetched, snapshot / item.rfilename)
        fetched.unlink()


def _counts(snapshot: Path, item, sums: dict[str, str]) -> bool:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Whether a file of an earlier attempt is there and whole."""
    return (snapshot / item.rfilename).is_file() and not _fault(snapshot, item, sums)


def _fault(snapshot: Path, item, sums: dict[str, str]) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """What is wrong with a file, which is then removed; "" if it is what the hub says."""
    file = snapshot / item.rfilename
    size = file.stat().st_size
    # Git's checksum is of this header and the content.
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with file.open("rb") as reading:
        while chunk := reading.read(CHUNK):
            sha256.update(chunk)
            if not item.lfs:
                git.update(chunk)
    wanted, found = (item.lfs.sha256, sha256.hexdigest()) if item.lfs else (item.blob_id, git.hexdigest())
    if size == item.size and found == wanted:
        sums[item.rfilename] = sha256.hexdigest()
        return ""
    # The content lies beside the snapshot, which links to it.
    file.resolve().unlink()
    file.unlink(missing_ok=True)
    return f"{item.rfilename} has {size} bytes, checksum {found}; the hub says {item.size} and {wanted}"


def _write_text(text: str, target: Path, scratch: Path | None) -> None:
    """A small file; beside its place first, so that nobody reads half of it, unless the store has no rename."""
    beside = (scratch or target.parent) / f"{target.name}.new"
    beside.parent.mkdir(parents=True, exist_ok=True)
    beside.write_text(text, encoding="utf-8")
    if scratch is None:
        beside.replace(target)
    else:
        write(beside, target)
        beside.unlink()


def write(source: Path, target: Path) -> None:
    """Copy a file from its first byte to its last."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # copyfileobj: copyfile would ask the kernel to copy, and a mounted bucket cannot.
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, CHUNK)


def main(order: str) -> None:
    """Store all models of an order; what goes wrong is one line and status 1."""
    wanted = json.loads(order)
    scratch = Path(wanted["scratch"]) if wanted["scratch"] else None
    for model in wanted["models"]:
        try:
            print(store(model, Path(wanted["hub"]), scratch), flush=True)
        except Exception as error:
            # Errors of a model that is gated or a revision that is not there are OSErrors; those of a hub that cannot
            # be reached are of the HTTP library that the client has (httpx2.ConnectError), of no common kind.
            text = str(error) if isinstance(error, StoreError) else f"{model['id']}: {type(error).__name__}: {error}"
            sys.exit(" ".join(text.split()))


if __name__ == "__main__":
    main(sys.argv[1])
