"""Puts a model into a store that takes whole files only: MODEL into the Hugging Face cache HUB, by way of a disk.

A bucket that is mounted as a folder takes a new file from its first byte to its last; it has no rename and no links
(awslabs/mountpoint-s3 doc/SEMANTICS.md), both of which Hugging Face's client uses to fill its cache. So each file is
fetched to the folder SCRATCH and written from there, to the place where the client looks for it; the reference, by
which it is found at all, comes last. What is there already at its full size is left: another attempt goes on.

It runs inside the engine's container, from its command line: huggingface_hub and the standard library, no imports of
ours.
"""

import shutil
import sys
from pathlib import Path

CHUNK = 2**24


def store(model: str, hub: Path, scratch: Path) -> Path:
    """Put a model there.

    Args:
        model: name on the hub.
        hub: root of the cache in the store, which is `HF_HUB_CACHE` of those who read it.
        scratch: folder on a disk with room for the largest file.

    Returns:
        The folder with the model's files.
    """
    from huggingface_hub import HfApi, hf_hub_download

    info = HfApi().model_info(model, files_metadata=True)
    place = hub / f"models--{model.replace('/', '--')}"
    snapshot: Path = place / "snapshots" / info.sha
    for item in info.siblings:
        target = snapshot / item.rfilename
        if target.is_file() and target.stat().st_size == item.size:
            continue
        fetched = Path(hf_hub_download(model, item.rfilename, revision=info.sha, local_dir=scratch))
        write(fetched, target)
        fetched.unlink()
    reference = scratch / "main"
    reference.write_text(info.sha)
    write(reference, place / "refs" / "main")
    return snapshot


def write(source: Path, target: Path) -> None:
    """Copy a file from its first byte to its last."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # copyfileobj: copyfile would ask the kernel to copy, and a mounted bucket cannot.
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, CHUNK)


if __name__ == "__main__":
    hub, scratch, *repositories = sys.argv[1:]
    for repository in repositories:
        print(store(repository, Path(hub), Path(scratch)))
