"""The claim that holds weights, the Job that fills it, and the engines that mount it.

Does not prove that a cloud's storage class binds the claim, nor the order of Job and engines: the mocks see neither.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from pulumi_kubernetes import Provider

from components.cluster import NodeSelection, WeightsVolume
from components.labels import EnvironmentLabels
from components.serving.base import SecretKey, ServingContext
from components.serving.manifests import ModelDeployment
from components.serving.production_stack.stack import ProductionStackModel
from components.serving.weights import WeightsClaim
from components.serving.weights_download import STORE_MODEL, download_job_name
from tests.unit.components.samples import CHAT, cluster, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit


def stored(*, preload: bool) -> ServingContext:
    return replace(context(), weights_claim="weights", preload=preload)


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
    assert container["command"][-1] == "meta-llama/Llama-3.1-8B-Instruct"
    assert container["env"] == [
        {"name": "HF_HOME", "value": "/weights"},
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token"}}},
    ]
    assert container["volumeMounts"] == [{"name": "weights", "mountPath": "/weights"}]
    engines = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in engines


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
    assert container["command"] == [
        "python3",
        "-c",
        STORE_MODEL,
        "/weights/hub",
        "/scratch/files",
        "meta-llama/Llama-3.1-8B-Instruct",
    ]
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


def test_another_model_gets_another_job() -> None:
    other = deployment(engine=replace(CHAT.engine, model="Qwen/Qwen2.5-7B-Instruct"))
    assert download_job_name(other) != download_job_name(CHAT)
