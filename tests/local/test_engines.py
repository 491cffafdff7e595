"""Engines beside vLLM on the embedded cluster, each from zero: SGLang, and an image of the user's own behind a front.

SGLang is the simulator with SGLang's arguments, routes and metrics; the custom image is vLLM's, taken as if nobody knew
it, its health at /ping and a real HAProxy in front. Of TGI and Triton there are the objects only, accepted by the API
server. Does not prove what the real images do with their arguments.
"""

from __future__ import annotations

import concurrent.futures
import copy
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap

from components.versions import VLLM_ENGINE
from local import cluster
from local.layout import ClusterFiles
from tests.local.client import Answer, ask_many
from tests.local.conftest import CONFIG, Environment, deploy, engine_labels, until, write_config
from tests.local.test_sleep_mode import value

pytestmark = pytest.mark.local

NAME = "engines"
SOURCE = "meta-llama/Llama-3.1-8B-Instruct"
CUSTOM = {
    "image": VLLM_ENGINE,
    "args": ["{model}", "--served-model-name={name}", "--host={address}", "--port={port}", "--max-model-len=8192"],
    "env": {"VLLM_NO_USAGE_STATS": "1"},
    "health_path": "/ping",
    "waiting_metric": 'vllm:num_requests_waiting{namespace="{namespace}",pod=~"{pods}"}',
}
ENGINES: dict[str, dict[str, Any]] = {
    "chat": {"name": "sglang", "max_model_len": 8192, "max_num_seqs": 6},
    "own": {"name": "custom", "custom": CUSTOM},
    "tgi": {"name": "tgi", "max_model_len": 8192},
    "triton": {"name": "triton", "max_model_len": 8192},
    "built": {"name": "triton", "triton": {"backend": "tensorrt-llm", "model_repository": "/weights/repository"}},
}


def config() -> dict[str, Any]:
    """A model deployment of each engine, all at zero."""
    made = copy.deepcopy(CONFIG)
    sample = made["model_deployments"][0]
    made["model_deployments"] = [
        {**copy.deepcopy(sample), "name": name, "engine": engine, "source": {"hugging_face": SOURCE}}
        for name, engine in ENGINES.items()
    ]
    return made


@pytest.fixture(scope="module")
def engines() -> Iterator[Environment]:
    """An environment on a cluster of its own."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / NAME)
    try:
        cluster.up(files, gateway_port=0)
        made = deploy(files, config())
        yield made
        made.pulumi.run("destroy", "--yes", "--skip-preview", "--stack", NAME)
    finally:
        cluster.down(files)
        shutil.rmtree(root)


@pytest.mark.parametrize("model", ["chat", "own"])
def test_the_first_request_wakes_it_and_a_burst_loses_nothing(engines: Environment, model: str) -> None:
    assert engines.replicas(model) == (0, 0)
    (answer,) = ask_many(engines.url, model, 1, tokens=8)
    assert (answer.complete, answer.tokens) == (True, 8), answer
    answers = ask_many(engines.url, model, 40, stream=True, tokens=20)
    assert [item for item in answers if not item.complete] == []
    assert {item.tokens for item in answers} == {20}


def test_sglang_scales_by_its_own_queue_and_back_to_zero(engines: Environment) -> None:
    """More at once than one replica runs: its own series shows the queue, and there are several replicas."""
    queue = f'sum(sglang:num_queue_reqs{{namespace="{engines.namespace}",model_name="chat"}})'
    peak, queued = 0, 0.0

    def scaled() -> bool:
        nonlocal peak, queued
        peak, queued = max(peak, engines.replicas("chat")[0]), max(queued, value(engines, queue) or 0)
        return peak >= 2 and queued > 0

    with concurrent.futures.ThreadPoolExecutor() as pool:
        client = pool.submit(ask_many, engines.url, "chat", 300, stream=True, tokens=200)
        until(scaled, 60, "two replicas of chat and a queue in SGLang's own series")
        answers = client.result()
    print(f"SGLang: {len(answers)} requests, {peak} replicas, {queued:.0f} waiting at most")
    assert [item for item in answers if not item.complete] == []
    engines.await_zero("chat", "own")


def test_a_new_version_of_sglang_under_load_fails_no_request(engines: Environment) -> None:
    """It takes no deadline for its drain: the pod's grace period is enough."""
    changed = config()
    changed["model_deployments"][0]["engine"]["max_num_seqs"] = 7
    answers: list[Answer] = ask_many(engines.url, "chat", 4, tokens=8)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        write_config(engines.files, changed)
        update = pool.submit(engines.pulumi.run, "up", "--yes", "--skip-preview", "--stack", NAME)
        while not (update.done() and renewed(engines)):
            answers += ask_many(engines.url, "chat", 12, stream=True, tokens=40)
        update.result()
    failed = [item for item in answers if not item.complete]
    print(f"SGLang, a new version: {len(answers)} requests, {len(failed)} failed")
    assert failed == []


def renewed(engines: Environment) -> bool:
    """Whether every pod of chat has the new argument."""
    pods = [
        pod for pod in engines.engine_pods("chat") if pod.spec and pod.metadata and not pod.metadata.deletionTimestamp
    ]
    return all("--max-running-requests=7" in (pod.spec.containers[0].args or []) for pod in pods if pod.spec)


@pytest.mark.parametrize("model", ["tgi", "triton", "built"])
def test_what_is_not_simulated_has_objects_that_the_api_server_takes(engines: Environment, model: str) -> None:
    (engine,) = engines.client.list(Deployment, namespace=engines.namespace, labels=engine_labels(model))
    assert engine.spec is not None
    assert engine.spec.template.spec is not None
    assert engine.spec.replicas == 0
    names = [
        item.metadata.name for item in engines.client.list(ConfigMap, namespace=engines.namespace) if item.metadata
    ]
    assert (f"{model}-engine-files" in names) is (model != "tgi")


def test_a_second_preview_proposes_nothing(engines: Environment) -> None:
    engines.pulumi.run("preview", "--expect-no-changes", "--stack", NAME)
