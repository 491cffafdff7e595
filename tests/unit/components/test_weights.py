"""The claim that holds weights, the Job that fills it, and the engines that mount it.

Does not prove that a cloud's storage class binds the claim, nor the order of Job and engines: the mocks see neither.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pulumi_kubernetes import Provider

from components.cluster import NodeSelection, WeightsVolume
from components.labels import EnvironmentLabels
from components.serving.base import CustomEngineArgs, ModelDeploymentArgs, SecretKey, ServingContext
from components.serving.engines import program_of
from components.serving.lora import LoraAdapter, LoraArgs
from components.serving.manifests import ModelDeployment
from components.serving.production_stack.stack import ProductionStackModel
from components.serving.weights import WeightsClaim
from components.serving.weights_download import STORE_MODEL, download_job_name
from tests.unit.components.samples import CHAT, cluster, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


def stored(*, preload: bool) -> ServingContext:
    return replace(context(), weights_claim="weights", preload=preload, offline=preload)


PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "*.py"]
LLAMA = {
    "id": "meta-llama/Llama-3.1-8B-Instruct",
    "revision": "main",
    "allow": PATTERNS,
    "ignore": ["original/*"],
}
COMMIT = "0e9e39f249a16976918f6564b8830bc894c89659"


def ordered(container: dict[str, Any], *models: dict[str, Any], scratch: str | None = None) -> None:
    """The container stores these models."""
    *words, order = container["command"]
    assert words == ["python3", "-c", STORE_MODEL]
    assert json.loads(order) == {"hub": "/weights/hub", "scratch": scratch, "models": list(models)}


def test_the_claim_is_what_the_cloud_says(engine: Engine) -> None:
    volume = WeightsVolume(storage_class="", volume_name="bucket", access_mode="ReadOnlyMany", capacity="1Ti")
    engine.run(lambda: WeightsClaim("weights", EnvironmentLabels("dev"), volume, cluster(Provider("p"))))
    claim = engine.one("PersistentVolumeClaim", "weights-claim")
    assert claim["metadata"]["name"] == "weights"
    assert claim["metadata"]["namespace"] == "inference-dev"
    assert claim["spec"] == {
        "accessModes": ["ReadOnlyMany"],
        "storageClassName": "",
        "volumeName": "bucket",
        "resources": {"requests": {"storage": "1Ti"}},
    }


def test_a_class_provisions_a_volume_without_a_name(engine: Engine) -> None:
    volume = WeightsVolume(storage_class="efs")
    engine.run(lambda: WeightsClaim("weights", EnvironmentLabels("dev"), volume, cluster(Provider("p"))))
    spec = engine.one("PersistentVolumeClaim", "weights-claim")["spec"]
    assert (spec["storageClassName"], "volumeName" in spec) == ("efs", False)


def test_engines_mount_the_claim_as_hugging_faces_home(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", stored(preload=False), CHAT))
    spec = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]
    assert spec["volumes"] == [{"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}]
    (container,) = spec["containers"]
    variables = {item["name"]: item.get("value") for item in container["env"]}
    assert container["volumeMounts"] == [{"name": "weights", "mountPath": variables["HF_HOME"]}]
    assert "HF_HUB_OFFLINE" not in variables
    assert not [item for item in engine.seen if item.type.endswith(":Job")]


def test_a_job_downloads_the_model_and_the_engines_stay_offline(engine: Engine) -> None:
    token = SecretKey("hugging-face", "token")
    args = deployment(engine=replace(CHAT.engine, hugging_face_token=token))
    engine.run(lambda: ModelDeployment("chat", stored(preload=True), args))
    job = engine.one("batch/v1:Job", "chat-weights")
    assert job["metadata"]["name"] == download_job_name(args)
    pod = job["spec"]["template"]["spec"]
    assert (pod["restartPolicy"], pod["nodeSelector"]) == ("Never", {"inference.platform/node-pool": "system"})
    (container,) = pod["containers"]
    ordered(container, LLAMA)
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert container["env"] == [
        {"name": "HF_HOME", "value": "/weights"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token"}}},
    ]
    assert container["volumeMounts"] == [{"name": "weights", "mountPath": "/weights"}]
    engines = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in engines
    assert {"name": "TRANSFORMERS_OFFLINE", "value": "1"} in engines


def test_engines_may_ask_the_hub_all_the_same(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", replace(stored(preload=True), offline=False), CHAT))
    engine.one("batch/v1:Job", "chat-weights")
    (container,) = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"]
    assert not [item for item in container["env"] if "OFFLINE" in item["name"]]


def test_a_store_that_somebody_else_fills_needs_no_job(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", replace(stored(preload=False), offline=True), CHAT))
    (container,) = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"]
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in container["env"]
    assert not [item for item in engine.seen if item.type.endswith(":Job")]


def pinned() -> ModelDeploymentArgs:
    engine = replace(CHAT.engine, revision=COMMIT, allow_patterns=("*.json", "*.gguf"), ignore_patterns=())
    return deployment(engine=engine)


def test_job_and_engine_are_told_the_same_revision(engine: Engine) -> None:
    engine.run(lambda: ModelDeployment("chat", stored(preload=True), pinned()))
    (container,) = engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]["containers"]
    ordered(container, {**LLAMA, "revision": COMMIT, "allow": ["*.json", "*.gguf"], "ignore": []})
    (container,) = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"]
    assert f"--revision={COMMIT}" in container["args"]


def test_so_are_those_of_the_production_stack(engine: Engine) -> None:
    engine.run(lambda: ProductionStackModel("chat", stored(preload=True), pinned()))
    (spec,) = engine.one("helm.sh/v3:Release", "chat-release")["values"]["servingEngineSpec"]["modelSpec"]
    assert spec["modelRevision"] == COMMIT


@pytest.mark.parametrize("kind", ["vllm", "sglang", "tgi"])
def test_every_engine_with_such_a_flag_gets_it(kind: str) -> None:
    flag = f"--revision={COMMIT}"
    plain, args = replace(CHAT.engine, kind=kind), replace(CHAT.engine, kind=kind, revision=COMMIT)
    assert flag in program_of(args).arguments("chat", "0.0.0.0", 8000, 60)  # noqa: S104 - an address as any
    assert flag not in program_of(plain).arguments("chat", "0.0.0.0", 8000, 60)  # noqa: S104


def test_a_custom_engine_says_where_it_wants_it() -> None:
    own = CustomEngineArgs(image="registry.example/engine:1", arguments=("--rev={revision}",))
    args = replace(CHAT.engine, kind="custom", custom=own)
    assert program_of(args).arguments("chat", "::1", 8000, 60) == ["--rev=main"]
    assert program_of(replace(args, revision="v2")).arguments("chat", "::1", 8000, 60) == ["--rev=v2"]


def test_adapters_are_fetched_with_the_model(engine: Engine) -> None:
    lora = LoraArgs(adapters=(LoraAdapter(name="sql", source="acme/sql-lora"),), slots=1, rank=16)
    args = deployment(engine=replace(CHAT.engine, revision=COMMIT, lora=lora))
    engine.run(lambda: ModelDeployment("chat", stored(preload=True), args))
    (container,) = engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]["containers"]
    adapter = {**LLAMA, "id": "acme/sql-lora", "allow": [*PATTERNS, "adapter_model.bin", "adapter_model.pt"]}
    ordered(container, {**LLAMA, "revision": COMMIT}, adapter)


def test_the_job_goes_where_the_clusters_owner_keeps_such_pods(engine: Engine) -> None:
    """`existing.node_pools` may say that the CPU nodes carry another label than ours."""

    def program() -> None:
        owned = replace(stored(preload=True).cluster, selections={"system": NodeSelection(labels={"role": "apps"})})
        ModelDeployment("chat", replace(stored(preload=True), cluster=owned), CHAT)

    engine.run(program)
    assert engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]["nodeSelector"] == {"role": "apps"}


def test_a_store_of_whole_files_is_filled_by_way_of_a_disk(engine: Engine) -> None:
    """Nothing of the client's own is kept in the store: no cache, no locks, no file that is to be renamed."""
    token = SecretKey("hugging-face", "token")
    args = deployment(engine=replace(CHAT.engine, hugging_face_token=token))
    engine.run(lambda: ModelDeployment("chat", replace(stored(preload=True), weights_whole_files=True), args))
    pod = engine.one("batch/v1:Job", "chat-weights")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ordered(container, LLAMA, scratch="/scratch/files")
    assert container["env"] == [
        {"name": "HF_HOME", "value": "/scratch/home"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token"}}},
    ]
    assert container["volumeMounts"] == [
        {"name": "weights", "mountPath": "/weights"},
        {"name": "scratch", "mountPath": "/scratch"},
    ]
    assert pod["volumes"] == [
        {"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    # The engines read as from any other store.
    variables = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "HF_HOME", "value": "/weights"} in variables


def test_the_production_stack_does_the_same(engine: Engine) -> None:
    engine.run(lambda: ProductionStackModel("chat", stored(preload=True), CHAT))
    (spec,) = engine.one("helm.sh/v3:Release", "chat-release")["values"]["servingEngineSpec"]["modelSpec"]
    assert spec["extraVolumes"] == [{"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}}]
    assert spec["extraVolumeMounts"] == [{"name": "weights", "mountPath": "/tmp/hub", "subPath": "hub"}]  # noqa: S108
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in spec["env"]
    engine.one("batch/v1:Job", "chat-weights")


@pytest.mark.parametrize(
    "change", [{"model": "Qwen/Qwen2.5-7B-Instruct"}, {"revision": COMMIT}, {"allow_patterns": ("*.gguf",)}]
)
def test_other_weights_get_another_job(change: dict[str, Any]) -> None:
    other = deployment(engine=replace(CHAT.engine, **change))
    assert download_job_name(other) != download_job_name(CHAT)
    assert download_job_name(deployment(rollout="surge")) == download_job_name(CHAT)
