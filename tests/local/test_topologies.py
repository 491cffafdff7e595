"""Topologies on an embedded cluster, in one environment and one update of it: each comes up and serves.

Two models on one GPU, LoRA adapters, prefill and decode apart, and one router for several models. The engines are
simulated, their transfers of keys and values too; gateway, interceptor, autoscaler and the routers are the real
programs. Does not prove that a GPU's memory suffices, nor how fast a network moves blocks.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import PatchType

from components.autoscaling.model_scaling import PAUSED
from local import cluster
from local.layout import ClusterFiles
from tests.local.client import ask_many
from tests.local.conftest import Environment, deploy, engine_labels, until, write_config
from tests.local.test_observability import Prometheus

pytestmark = pytest.mark.local

NAME = "topology"
CHART = os.environ.get("VLLM_STACK_CHART", "")
SCALING = {
    "max_replicas": 1,
    "polling_interval_seconds": 1,
    "startup_budget_seconds": 20,
    "cooldown_seconds": 60,
    "drain_seconds": 5,
}
SIMULATION = {"startup_seconds": 1.0, "speedup": 20.0}
READY_SECONDS = 60
SCRAPED_SECONDS = 30
TOKENS = "vllm:generation_tokens_total"
SCALED_OBJECT = create_namespaced_resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")


def model(name: str, source: str, pool: str, scaling: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "source": {"hugging_face": source},
        "node_pool": pool,
        "scaling": {**SCALING, **(scaling or {})},
        "simulation": SIMULATION,
        **more,
        "engine": {"max_model_len": 2048, **more.get("engine", {})},
    }


ON_ONE_GPU = [("tiny", "Qwen/Qwen3-0.6B"), ("small", "meta-llama/Llama-3.2-1B-Instruct")]

CONFIG: dict[str, Any] = {
    "cloud": "local",
    "node_pools": [
        {
            "name": "shared",
            "instance_type": "g6.2xlarge",  # one L4
            "sharing": {"mode": "time-slicing", "replicas": 2},
            "min_nodes": 1,
            "max_nodes": 1,
        },
        {
            "name": "sliced",
            "instance_type": "p4d.24xlarge",
            "sharing": {"mode": "mig", "profile": "1g.5gb"},
            "min_nodes": 1,
            "max_nodes": 1,
        },
        {"name": "l4", "instance_type": "g6.12xlarge", "min_nodes": 1, "max_nodes": 1},
    ],
    "model_deployments": [
        *(model(name, source, "shared") for name, source in ON_ONE_GPU),
        model("slice", "Qwen/Qwen3-0.6B", "sliced"),
        model(
            "chat",
            "meta-llama/Llama-3.1-8B-Instruct",
            "l4",
            engine={
                "lora_adapters": [
                    {"name": "sql", "source": {"hugging_face": "somebody/llama-3.1-8b-sql"}},
                    {"name": "legal", "source": {"hugging_face": "somebody/llama-3.1-8b-legal"}, "rank": 8},
                ]
            },
        ),
        {
            **model(
                "split",
                "Qwen/Qwen2.5-Coder-7B-Instruct",
                "l4",
                topology={
                    "kind": "disaggregated",
                    "prefill": {"min_replicas": 1, "max_replicas": 1},
                    "decode": {"min_replicas": 2, "max_replicas": 2},
                },
            ),
            "scaling": {key: value for key, value in SCALING.items() if key != "max_replicas"},
        },
    ],
    "gateway": {"host_port": 18098},
}

SHARED_ROUTER: dict[str, Any] = {
    **CONFIG,
    "router": "shared",
    "model_deployments": [
        model(name, source, "shared", {"min_replicas": 1}, rollout="surge") for name, source in ON_ONE_GPU
    ],
}


@pytest.fixture(scope="module", params=["manifests", *(["production-stack"] if CHART else [])])
def serving_stack(request: pytest.FixtureRequest) -> str:
    """The chart's only where its folder is given (VLLM_STACK_CHART)."""
    return str(request.param)


@pytest.fixture(scope="module")
def topologies(serving_stack: str) -> Iterator[Environment]:
    """A cluster for this file alone: another environment's nodes would have the same names."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    made = ClusterFiles(root / NAME)
    try:
        cluster.up(made, gateway_port=0)
        yield deploy(made, {**CONFIG, "serving_stack": serving_stack})
    finally:
        cluster.down(made)
        shutil.rmtree(root)


def pods_of(environment: Environment, name: str, role: str = "") -> list[Pod]:
    labels = {**engine_labels(name), **({"inference.platform/role": role} if role else {})}
    return list(environment.client.list(Pod, namespace=environment.namespace, labels=labels))


def told(pod: Pod, flag: str) -> str:
    """The last value of an engine's flag, written as one word or as two; "" for a flag alone."""
    assert pod.spec is not None
    container = pod.spec.containers[0]
    words = [*(container.command or []), *(container.args or [])]
    found = [at for at, word in enumerate(words) if word.partition("=")[0].replace("_", "-") == flag]
    assert found, f"no {flag} among {words}"
    _, equals, value = words[found[-1]].partition("=")
    following = words[found[-1] + 1 : found[-1] + 2]
    return value if equals else "".join(word for word in following if not word.startswith("--"))


def is_ready(pod: Pod) -> bool:
    conditions = (pod.status.conditions if pod.status else None) or []
    return any(item.type == "Ready" and item.status == "True" for item in conditions)


def node_of(pod: Pod) -> str:
    assert pod.spec is not None
    return str(pod.spec.nodeName)


def await_count(environment: Environment, metric: str, pods: list[Pod], expected: float) -> None:
    """Wait until a counter, summed over engines, is scraped with this value."""
    names = "|".join(str(pod.metadata.name) for pod in pods if pod.metadata)
    prometheus = Prometheus(cluster.ports(environment.files).prometheus)
    expr = f'sum({metric}{{pod=~"{names}"}}) or vector(-1)'
    until(lambda: prometheus.value(expr) == expected, SCRAPED_SECONDS, f"{expr} is {expected:g}")


def listed(environment: Environment) -> dict[str, Any]:
    with urllib.request.urlopen(f"{environment.url}/v1/models", timeout=5) as page:
        return {item["id"]: item.get("parent") for item in json.load(page)["data"]}


def assert_served(environment: Environment, name: str, count: int = 6, tokens: int = 8) -> None:
    answers = ask_many(environment.url, name, count, stream=True, tokens=tokens)
    assert [answer for answer in answers if not answer.complete] == []
    assert {answer.tokens for answer in answers} == {tokens}


def test_two_models_on_one_gpu_wake_and_serve_at_the_same_time(topologies: Environment) -> None:
    for name, _ in ON_ONE_GPU:
        assert_served(topologies, name)
    pods = [pod for name, _ in ON_ONE_GPU for pod in pods_of(topologies, name)]
    (node,) = {node_of(pod) for pod in pods}
    found = topologies.client.get(Node, node)
    assert found.status is not None
    assert found.status.allocatable is not None
    assert found.status.allocatable["nvidia.com/gpu.shared"] == "2"
    assert [told(pod, "--gpu-memory-utilization") for pod in pods] == ["0.42", "0.42"]


def test_a_model_on_a_slice_of_a_gpu_has_the_memory_of_the_slice(topologies: Environment) -> None:
    assert_served(topologies, "slice")
    (pod,) = pods_of(topologies, "slice")
    assert pod.metadata is not None
    annotations = pod.metadata.annotations or {}
    assert float(annotations["simulation.inference.platform/gpu-memory-gib"]) < 5
    await_count(topologies, TOKENS, [pod], 6 * 8)


def test_an_adapters_name_wakes_its_base_model_and_is_answered(topologies: Environment) -> None:
    assert listed(topologies) == {
        **dict.fromkeys(("tiny", "small", "slice", "chat", "split")),
        "sql": "chat",
        "legal": "chat",
    }
    topologies.await_zero("chat")
    assert_served(topologies, "sql")
    assert_served(topologies, "legal")
    (pod,) = pods_of(topologies, "chat")
    await_count(topologies, TOKENS, [pod], 2 * 6 * 8)
    assert [told(pod, f"--{name}") for name in ("enable-lora", "max-loras", "max-lora-rank")] == ["", "2", "16"]


def test_prefill_and_decode_share_the_work(topologies: Environment) -> None:
    """One token of each request comes from a prefill worker, all of the answer from a decode worker."""

    def ready(role: str) -> int:
        return sum(is_ready(pod) for pod in pods_of(topologies, "split", role))

    until(lambda: (ready("prefill"), ready("decode")) == (1, 2), READY_SECONDS, "one prefill and two decode workers")
    assert_served(topologies, "split", count=10, tokens=8)
    prefill, decode = pods_of(topologies, "split", "prefill"), pods_of(topologies, "split", "decode")
    await_count(topologies, TOKENS, prefill, 10)
    await_count(topologies, TOKENS, decode, 10 * 8)
    # What a decode worker computes of a prompt is its last token.
    await_count(topologies, "vllm:request_prefill_kv_computed_tokens_sum", decode, 10)


def paused(environment: Environment, name: str, replicas: str | None) -> None:
    """Hold a ScaledObject at so many replicas; None lets it go."""
    patch = {"metadata": {"annotations": {PAUSED: replicas}}}
    environment.client.patch(SCALED_OBJECT, name, patch, namespace=environment.namespace, patch_type=PatchType.MERGE)


def test_requests_wait_while_a_kind_of_worker_is_missing(topologies: Environment) -> None:
    """The router would answer 503: it is not ready, so the interceptor holds what comes."""

    def router_ready() -> int:
        found = topologies.client.get(Deployment, "split-router", namespace=topologies.namespace)
        return (found.status.readyReplicas if found.status else 0) or 0

    paused(topologies, "split-decode", "0")
    until(lambda: not pods_of(topologies, "split", "decode") and not router_ready(), READY_SECONDS, "no decode worker")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(ask_many, topologies.url, "split", 4, stream=True, tokens=8)
        paused(topologies, "split-decode", None)
        assert [answer for answer in asked.result() if not answer.complete] == []


def test_one_router_for_several_models(topologies: Environment, serving_stack: str) -> None:
    """Last in the file: an update that takes the other models away and puts one router before the two that stay."""
    write_config(topologies.files, {**SHARED_ROUTER, "serving_stack": serving_stack})
    topologies.pulumi.run("up", "--yes", "--skip-preview", "--stack", NAME)
    routers = topologies.client.list(
        Deployment, namespace=topologies.namespace, labels={"inference.platform/component": "router"}
    )
    assert [item.metadata.name for item in routers if item.metadata] == ["router"]
    for name, _ in ON_ONE_GPU:
        until(lambda name=name: topologies.replicas(name)[1] == 1, READY_SECONDS, f"{name} is ready")  # type: ignore[misc]
    for name, _ in ON_ONE_GPU:
        # A pod is ready a moment before the router knows it; until then its requests are answered 404.
        until(lambda name=name: ask_many(topologies.url, name, 1)[0].complete, READY_SECONDS, f"{name} is known")  # type: ignore[misc]
        assert_served(topologies, name, count=20)
    assert set(listed(topologies)) == {"tiny", "small"}
