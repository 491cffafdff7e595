"""Engines beside vLLM on the serving stack `manifests`: command lines, probes, files, fronts, what scales them.

Does not prove that an image accepts its arguments: SGLang's are held against its own flags, those of TGI and Triton
were read in their sources.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from components.serving.base import CustomEngineArgs, EngineArgs, TritonArgs
from components.serving.engines import ENGINES, health_front, program_of
from components.serving.manifests import ModelDeployment
from planner.flags.check import check_engine_arguments
from tests.unit.components.samples import context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
CUSTOM = CustomEngineArgs(
    image="registry.example/team/engine:1.2.3",
    command=("serve",),
    arguments=(
        "--model={model}",
        "--as={name}",
        "--at={address}:{port}",
        "--gpus={gpus}",
        "--drain={drain_seconds}",
    ),
    variables={"LEVEL": "info"},
    health_path="/ready",
    metrics_path="",
    waiting_metric='my_queue{namespace="{namespace}",pod=~"{pods}"}',
)
BUILT: dict[str, EngineArgs] = {
    "vllm": EngineArgs(model=LLAMA, max_model_len=8192, max_num_seqs=17),
    "sglang": EngineArgs(model=LLAMA, kind="sglang", max_model_len=8192, max_num_seqs=17, static_memory_share=0.79),
    "tgi": EngineArgs(model=LLAMA, kind="tgi", max_model_len=8192, max_num_seqs=17),
    "triton": EngineArgs(model=LLAMA, kind="triton", max_model_len=8192, extra_args={"enable-prefix-caching": True}),
    "custom": EngineArgs(model=LLAMA, kind="custom", custom=CUSTOM),
}


def made(engine: Engine, args: EngineArgs) -> dict[str, Any]:
    """The pod's template."""
    engine.run(lambda: ModelDeployment("chat", context(), deployment(engine=args)))
    template: dict[str, Any] = engine.one("apps/v1:Deployment", "chat-engine")["spec"]["template"]
    return template


def container(engine: Engine, args: EngineArgs) -> dict[str, Any]:
    (only,) = made(engine, args)["spec"]["containers"]
    return dict(only)


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item.get("value", "") for item in container["env"]}


def test_all_engines_are_here() -> None:
    assert set(BUILT) == set(ENGINES)
    with pytest.raises(ValueError, match="'ollama' is not built; built: custom, sglang, tgi, triton, vllm"):
        program_of(EngineArgs(model=LLAMA, kind="ollama"))


def test_sglang(engine: Engine) -> None:
    pod = container(engine, BUILT["sglang"])
    assert pod["image"] == "lmsysorg/sglang:v0.5.23"
    assert pod["command"] == ["python3", "-m", "sglang.launch_server"]
    assert pod["args"] == [
        f"--model-path={LLAMA}",
        "--served-model-name=chat",
        "--host=$(POD_IP)",
        "--port=8000",
        "--mem-fraction-static=0.79",
        "--tp-size=1",
        "--enable-metrics",
        "--context-length=8192",
        "--max-running-requests=17",
    ]
    assert "VLLM_NO_USAGE_STATS" not in variables(pod)
    assert pod["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8000}


def test_sglang_knows_its_arguments() -> None:
    args = EngineArgs(model=LLAMA, kind="sglang", max_model_len=8192, extra_args={"schedule-policy": "lpm"})
    words = program_of(args).arguments("chat", "10.0.0.1", 8000, 60)
    assert check_engine_arguments("sglang", "v0.5.23", words) == []
    assert "--schedule-policy=lpm" in words


def test_tgi(engine: Engine) -> None:
    pod = container(engine, BUILT["tgi"])
    assert pod["image"] == "ghcr.io/huggingface/text-generation-inference:3.3.6"
    assert "command" not in pod
    assert pod["args"] == [
        f"--model-id={LLAMA}",
        "--hostname=$(POD_IP)",
        "--port=8000",
        "--num-shard=1",
        "--cuda-memory-fraction=0.85",
        "--max-total-tokens=8192",
        "--max-input-tokens=8191",
        "--max-batch-size=17",
    ]
    # The image's own cache outranks HF_HOME.
    assert variables(pod)["HUGGINGFACE_HUB_CACHE"] == "/weights/hub"


def test_triton_gets_a_model_repository_and_a_front(engine: Engine) -> None:
    template = made(engine, BUILT["triton"])
    (pod,) = template["spec"]["containers"]
    assert pod["image"] == "nvcr.io/nvidia/tritonserver:25.12-vllm-python-py3"
    assert pod["args"] == [
        "--model-repository=/etc/engine/models",
        f"--tokenizer={LLAMA}",
        "--backend=vllm",
        "--host=$(POD_IP)",
        "--openai-port=8001",
    ]
    assert {"name": "engine-files", "mountPath": "/etc/engine", "readOnly": True} in pod["volumeMounts"]
    (volume,) = [item for item in template["spec"]["volumes"] if item["name"] == "engine-files"]
    assert [item["path"] for item in volume["configMap"]["items"]] == [
        "haproxy.cfg",
        "models/chat/1/model.json",
        "models/chat/config.pbtxt",
    ]
    data = engine.one("core/v1:ConfigMap", "chat-engine-files")["data"]
    assert json.loads(data["models__chat__1__model.json"]) == {
        "model": LLAMA,
        "gpu_memory_utilization": 0.85,
        "tensor_parallel_size": 1,
        "disable_log_stats": False,
        "max_model_len": 8192,
        "enable_prefix_caching": True,
    }
    assert 'backend: "vllm"' in data["models__chat__config.pbtxt"]
    (front,) = template["spec"]["initContainers"]
    assert (front["name"], front["restartPolicy"]) == ("front", "Always")
    assert "set-path /health/ready if { path /health }" in data["haproxy.cfg"]


def test_triton_with_engines_that_somebody_has_built(engine: Engine) -> None:
    own = TritonArgs(backend="tensorrt-llm", model_repository="/weights/repository")
    template = made(engine, EngineArgs(model=LLAMA, kind="triton", triton=own))
    (pod,) = template["spec"]["containers"]
    assert pod["image"] == "nvcr.io/nvidia/tritonserver:25.12-trtllm-python-py3"
    assert pod["args"][:3] == [
        "--model-repository=/weights/repository",
        f"--tokenizer={LLAMA}",
        "--backend=tensorrtllm",
    ]
    # The front's configuration is not the engine's.
    assert not [mount for mount in pod["volumeMounts"] if mount["name"] == "engine-files"]
    with pytest.raises(ValueError, match="needs a model_repository"):
        TritonArgs(backend="tensorrt-llm")
    with pytest.raises(ValueError, match="must be vllm or tensorrt-llm"):
        TritonArgs(backend="python")


def test_a_custom_image_is_taken_by_the_users_word(engine: Engine) -> None:
    template = made(engine, BUILT["custom"])
    (pod,) = template["spec"]["containers"]
    assert (pod["image"], pod["command"]) == ("registry.example/team/engine:1.2.3", ["serve"])
    assert pod["args"] == [f"--model={LLAMA}", "--as=chat", "--at=$(POD_IP):8001", "--gpus=1", "--drain=60"]
    assert variables(pod)["LEVEL"] == "info"
    # An image that may have no Python is asked by the kubelet.
    assert pod["startupProbe"] == {
        "httpGet": {"path": "/ready", "port": 8001},
        "periodSeconds": 1,
        "timeoutSeconds": 5,
        "failureThreshold": 600,
    }
    assert pod["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8000}
    assert "prometheus.io/scrape" not in template["metadata"]["annotations"]
    with pytest.raises(ValueError, match="needs its image"):
        program_of(EngineArgs(model=LLAMA, kind="custom"))


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("vllm", 'sum(vllm:num_requests_waiting{namespace="inference-dev",model_name="chat"}) or vector(0)'),
        ("sglang", 'sum(sglang:num_queue_reqs{namespace="inference-dev",model_name="chat"}) or vector(0)'),
        ("tgi", 'sum(tgi_queue_size{namespace="inference-dev",pod=~"chat-engine-.+"}) or vector(0)'),
        ("triton", 'sum(vllm:num_requests_waiting{namespace="inference-dev",pod=~"chat-engine-.+"}) or vector(0)'),
        ("custom", 'sum(my_queue{namespace="inference-dev",pod=~"chat-engine-.+"}) or vector(0)'),
    ],
)
def test_each_is_scaled_by_its_own_queue(engine: Engine, kind: str, query: str) -> None:
    made(engine, BUILT[kind])
    triggers = engine.one("keda.sh/v1alpha1:ScaledObject", "chat-scaling")["spec"]["triggers"]
    assert [trigger["metadata"]["query"] for trigger in triggers if trigger["type"] == "prometheus"] == [query]


def test_an_engine_without_a_queue_is_scaled_by_requests_in_flight_alone() -> None:
    args = EngineArgs(model=LLAMA, kind="custom", custom=CustomEngineArgs(image="a/b:1"))
    assert program_of(args).waiting_query("n", "chat", "chat-.+") == "vector(0)"


@pytest.mark.parametrize("kind", sorted(BUILT))
def test_rollout_drain_and_disruption_are_the_same_for_all(engine: Engine, kind: str) -> None:
    template = made(engine, BUILT[kind])
    (pod,) = template["spec"]["containers"]
    assert template["spec"]["terminationGracePeriodSeconds"] == 2 + 60 + 5
    assert pod["lifecycle"] == {"preStop": {"sleep": {"seconds": 2}}}
    assert engine.one("apps/v1:Deployment", "chat-engine")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
    assert engine.one("policy/v1:PodDisruptionBudget", "chat-engine")["spec"]["maxUnavailable"] == 1
    files = {("kubernetes:core/v1:ConfigMap", "chat-engine-files"): 1}
    expected = Counter(files if kind in {"triton", "custom"} else {})
    assert Counter({key: n for key, n in engine.children().items() if "ConfigMap" in key[0]}) == expected


def test_the_fronts_configuration() -> None:
    text = health_front.configuration("/health/ready", 8000, 8001)
    assert 'bind "${POD_IP}:8000"' in text
    assert 'server engine "${POD_IP}:8001"' in text
