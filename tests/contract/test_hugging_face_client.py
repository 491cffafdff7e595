"""The download Job's command and the engines' variables, with Hugging Face's own client.

The Job's container runs as a process with the command and the variables that the component gives it, against a double
of the hub; then the client, with the variables of each kind of engine pod, is asked for the model and must not ask the
hub. `/weights`, `/scratch` and `/tmp` are folders of the test. Does not prove that the hub answers as its double does,
nor how a mounted bucket behaves (tests/unit/components/test_store_model.py plays one).

`HUB_PYTHON` names the interpreter of an environment with huggingface_hub; without it that of `make vllm` is used, whose
version is the pinned engine's.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.manifests import ModelDeployment
from components.serving.production_stack.stack import ProductionStackModel
from tests.contract.conftest import ENVIRONMENT
from tests.contract.hub_double import COMMIT, HubDouble, serving
from tests.unit.components.samples import CHAT, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.contract

MODEL = "acme/tiny"
WEIGHTS = "model-00002-of-00002.safetensors"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "nested/chat_template.jinja": b"{{ messages }}",
    "model-00001-of-00002.safetensors": bytes(range(256)) * 4000,
    WEIGHTS: b"w" * 50_000,
}
OTHERS = {"pytorch_model.bin": b"b" * 5000, "original/consolidated.safetensors": b"o" * 5000, "README.md": b"# tiny"}

FIND = """
import hashlib, json, pathlib, sys
from huggingface_hub import hf_hub_download, snapshot_download
model, revision = sys.argv[1], sys.argv[2] or None
folder = pathlib.Path(snapshot_download(model, revision=revision))
assert pathlib.Path(snapshot_download(model, revision=revision, allow_patterns=["*.safetensors", "*.bin"])) == folder
assert pathlib.Path(hf_hub_download(model, "config.json", revision=revision)) == folder / "config.json"
files = [file for file in folder.rglob("*") if file.is_file()]
print(json.dumps({str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}))
"""


@pytest.fixture(scope="session")
def python() -> str:
    """An interpreter with huggingface_hub."""
    named = os.environ.get("HUB_PYTHON") or os.environ.get("VLLM_PYTHON") or str(ENVIRONMENT / "bin" / "python")
    words = [named, "-c", "import huggingface_hub"]
    if not Path(named).exists() or subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip(
            f"huggingface_hub is not installed ({named}): run `make vllm`, or name its interpreter in HUB_PYTHON"
        )
    return named


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    with serving(HubDouble(MODEL, {**FILES, **OTHERS})) as made:
        yield made


@dataclass
class Pods:
    """Containers as processes, their folders below one of the test."""

    python: str
    root: Path
    hub: HubDouble

    def run(self, command: Sequence[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        words = [self.python, *(self._here(word) for word in command[1:])]
        # Only what the pod has, and where the hub is: nothing of this machine's.
        env = {name: self._here(value) for name, value in variables.items()}
        env |= {"HF_ENDPOINT": self.hub.url, "HOME": str(self.root / "home"), "PATH": os.environ["PATH"]}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=120)

    def _here(self, word: str) -> str:
        for folder in ("/weights", "/scratch"):
            if word.startswith(folder) or f'"{folder}/' in word:
                word = word.replace(folder, f"{self.root}{folder}")
        return word

    def find(self, variables: dict[str, str], revision: str = "") -> dict[str, str]:
        """Checksums of the model's files, as the client of an engine's pod finds them."""
        done = self.run(["python3", "-c", FIND, MODEL, revision], variables)
        assert done.returncode == 0, done.stderr[-2000:]
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return found


@pytest.fixture
def pods(python: str, tmp_path: Path, hub: HubDouble) -> Pods:
    return Pods(python, tmp_path, hub)


@dataclass
class Made:
    """What the component made of a model deployment: the Job's command and variables, the engine's variables."""

    command: list[str]
    job: dict[str, str]
    engine: dict[str, str]


def made(engine: Engine, *, whole_files: bool = False, kind: str = "vllm", revision: str = "") -> Made:
    args = deployment(engine=replace(CHAT.engine, model=MODEL, kind=kind, revision=revision))
    engine.run(lambda: ModelDeployment("chat", stored(whole_files=whole_files), args))
    (job,) = engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]["containers"]
    containers = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"]
    return Made(job["command"], variables(job["env"]), variables(containers[0]["env"]))


def stored(*, whole_files: bool) -> ServingContext:
    return replace(context(), weights_claim="weights", preload=True, offline=True, weights_whole_files=whole_files)


def variables(items: list[dict[str, Any]]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in items if "value" in item}


def sums(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


@pytest.mark.parametrize("whole_files", [False, True], ids=["file system", "bucket"])
@pytest.mark.parametrize("revision", ["", "v1", COMMIT])
def test_what_the_job_stores_the_engines_client_finds_offline(
    engine: Engine, pods: Pods, whole_files: bool, revision: str
) -> None:
    wanted = made(engine, whole_files=whole_files, revision=revision)
    done = pods.run(wanted.command, wanted.job)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[0].startswith(f"{MODEL}: {len(FILES)} files, ")
    assert pods.hub.fetched() == sorted(FILES)
    pods.hub.asked.clear()
    assert pods.find(wanted.engine, revision) == sums(FILES)
    assert pods.hub.asked == []


@pytest.mark.parametrize("kind", ["sglang", "tgi"])
def test_so_does_that_of_other_engines(engine: Engine, pods: Pods, kind: str) -> None:
    wanted = made(engine, kind=kind)
    assert pods.run(wanted.command, wanted.job).returncode == 0
    pods.hub.asked.clear()
    assert pods.find(wanted.engine) == sums(FILES)
    assert pods.hub.asked == []


def test_so_does_that_of_the_production_stack(engine: Engine, pods: Pods) -> None:
    """Its chart sets HF_HOME to /tmp, and the claim's folder `hub` is mounted below."""
    args: ModelDeploymentArgs = deployment(engine=replace(CHAT.engine, model=MODEL))
    engine.run(lambda: ProductionStackModel("chat", stored(whole_files=False), args))
    (job,) = engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]["containers"]
    assert pods.run(job["command"], variables(job["env"])).returncode == 0
    (spec,) = engine.one("helm.sh/v3:Release", "chat-release")["values"]["servingEngineSpec"]["modelSpec"]
    (mount,) = spec["extraVolumeMounts"]
    home = pods.root / "tmp"
    home.mkdir()
    (home / Path(mount["mountPath"]).name).symlink_to(pods.root / "weights" / mount["subPath"])
    pods.hub.asked.clear()
    assert pods.find({**variables(spec["env"]), "HF_HOME": str(home)}) == sums(FILES)
    assert pods.hub.asked == []


@pytest.mark.parametrize("whole_files", [False, True], ids=["file system", "bucket"])
@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_file_that_arrives_broken_is_named_and_the_model_is_not_found(
    engine: Engine, pods: Pods, whole_files: bool, name: str
) -> None:
    wanted = made(engine, whole_files=whole_files)
    # As long as it should be: the client itself is content with it.
    pods.hub.sent = {name: b"x" * len(FILES[name])}
    done = pods.run(wanted.command, wanted.job)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{MODEL}: {name} has {len(FILES[name])} bytes, checksum ")
    lost = pods.run(["python3", "-c", FIND, MODEL, ""], wanted.engine)
    assert (lost.returncode, "LocalEntryNotFoundError" in lost.stderr) == (1, True)
    pods.hub.sent = {}
    pods.hub.asked.clear()
    assert pods.run(wanted.command, wanted.job).returncode == 0
    assert pods.hub.fetched() == [name]
    assert pods.find(wanted.engine) == sums(FILES)


def test_a_revision_that_is_not_there_is_one_line(engine: Engine, pods: Pods) -> None:
    wanted = made(engine, revision="v9")
    done = pods.run(wanted.command, wanted.job)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{MODEL}: RevisionNotFoundError: ")


def test_why_files_are_fetched_one_by_one(engine: Engine, pods: Pods) -> None:
    """The client's own download of chosen files leaves a list by which it then calls the model incomplete."""
    wanted = made(engine)
    script = (
        "import sys; from huggingface_hub import snapshot_download as get; get(sys.argv[1], allow_patterns=['*.json'])"
    )
    assert pods.run(["python3", "-c", script, MODEL], wanted.job).returncode == 0
    lost = pods.run(["python3", "-c", FIND, MODEL, ""], wanted.engine)
    assert (lost.returncode, "IncompleteSnapshotError" in lost.stderr) == (1, True)
