"""Mistakes in a user's chart values: each is found, with its key, and with what would do.

Says nothing of whether the chart's own templates accept what passes here.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.production_stack.values.check import ValueProblem, check_values

pytestmark = pytest.mark.unit


def engine(**keys: Any) -> dict[str, Any]:
    return {"servingEngineSpec": keys}


def model(**keys: Any) -> dict[str, Any]:
    return engine(modelSpec=keys)


def vllm(**keys: Any) -> dict[str, Any]:
    return model(vllmConfig=keys)


def router(**keys: Any) -> dict[str, Any]:
    return {"routerSpec": {"enableRouter": True, "repository": "lmcache/lmstack-router", "tag": "v1", **keys}}


CONTROLLER = {"enableController": True, "controllerPort": "9000", "controllerReplyPort": "9001", "workerPorts": "8001"}
P2P = {"p2pHost": "localhost", "p2pInitPorts": "8200"}
P2P_VARIABLES = [
    {"name": "LMCACHE_ENABLE_P2P", "value": "True"},
    {"name": "LMCACHE_P2P_LOOKUP_PORTS", "value": "8201"},
]
CACHE_SERVER = {"enabled": True, "image": {"repository": "lmcache/vllm-openai", "tag": "v1"}}

MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    # values, last key of the path, what the message or the fix says
    ({"servingEngineSpecs": {}}, "servingEngineSpecs", "Did you mean servingEngineSpec?"),
    (engine(nodeSelector={"gpu": "l4"}), "nodeSelector", "ignore it in silence"),
    (engine(modelSpecs=[]), "modelSpecs", "Did you mean modelSpec?"),
    (engine(runtimeClass="nvidia"), "runtimeClass", "Did you mean runtimeClassName?"),
    (engine(labels={"a": "b"}), "labels", "written by the platform"),
    (engine(containerPort=9000), "containerPort", "listens on 8000"),
    (engine(imagePullPolicy="IfNotPresnt"), "imagePullPolicy", "Did you mean IfNotPresent?"),
    (
        engine(startupProbe={"initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 1}),
        "initialDelaySeconds",
        "",
    ),
    (engine(modelSpec=[{"name": "a"}]), "modelSpec", "must be a map"),
    (engine(vllmApiKey="sk-very-secret"), "vllmApiKey", "must name a Secret"),
    (model(nodeSelector={"gpu": "l4"}), "nodeSelector", "ignore it in silence"),
    (model(terminationGracePeriodSeconds=60), "terminationGracePeriodSeconds", "ignore it in silence"),
    (model(lifecycle={}), "lifecycle", "ignore it in silence"),
    (model(replicaCount=3), "replicaCount", "scaling.min_replicas"),
    (model(keda={"enabled": True}), "keda", "never fires"),
    (model(name="chat"), "name", "others rely on"),
    (model(modelURL="a/b"), "modelURL", "source.hugging_face"),
    (model(tag="latest"), "tag", "pinned"),
    (model(tagg="v1"), "tagg", "Did you mean tag?"),
    (model(hf_token="hf_very_secret"), "hf_token", "must name a Secret"),
    (model(pvcStorage={"emptyDir": {}}), "pvcStorage", "valid string"),
    (model(pvcStorage="fifty"), "pvcStorage", "quantity such as 50Gi"),
    (model(pvcAccessMode=["ReadWriteMny"]), "pvcAccessMode", "ReadWriteMany"),
    (model(requestGPU=1, requestGpu=1), "requestGpu", "Did you mean requestGPU?"),
    (model(resources={}), "resources", "engine.tensor_parallel"),
    (model(nodeSelectorTerms=[]), "nodeSelectorTerms", "node_pool"),
    (model(affinity={}), "affinity", "node_pool"),
    (model(tolerationsPolicy="merge"), "tolerationsPolicy", "not one of the words"),
    (model(enabled=False), "modelSpec", "Remove the model"),
    (model(toolCallParser="hermes"), "modelSpec", "enableTool"),
    (model(chatTemplateConfigMap="x"), "modelSpec", "chatTemplate"),
    (model(pdb={"enabled": True}), "pdb", "one already"),
    (model(lmcacheConfig={"enabled": True}, vllmConfig=None), "modelSpec", "lmcacheConfig needs vllmConfig"),
    (model(lmcacheConfig={"enable": True}), "enable", "Did you mean enabled?"),
    (model(lmcacheConfig={"enabled": "yes"}), "enabled", "valid boolean"),
    (model(lmcacheConfig={"enabled": True, "kvRole": "both"}), "kvRole", "Did you mean kv_both?"),
    (model(lmcacheConfig={"enabled": True, "nixlRole": "prefill"}), "nixlRole", "not one of the words"),
    (model(lmcacheConfig={"enabled": True, "cpuOffloadingBufferSize": 20}), "cpuOffloadingBufferSize", "valid string"),
    (model(lmcacheConfig={"enabled": True, "cpuOffloadingBufferSize": "0.5"}), "lmcacheConfig", "whole number of GiB"),
    (model(lmcacheConfig={"enabled": True, "diskOffloadingBufferSize": "20"}), "modelSpec", "LMCACHE_LOCAL_DISK"),
    (model(lmcacheConfig={"enabled": True, "enablePD": True}), "enablePD", "kind: disaggregated"),
    (model(lmcacheConfig={"enabled": True, "enableController": True}), "lmcacheConfig", "Set all three"),
    (model(lmcacheConfig={"enabled": True, **CONTROLLER}), "", "part of the chart's router"),
    (model(lmcacheConfig={"enabled": True, "p2pHost": "localhost"}), "lmcacheConfig", "go together"),
    (model(lmcacheConfig={"enabled": True, **P2P}), "lmcacheConfig", "enableController: true"),
    (model(lmcacheConfig={"enabled": True, **CONTROLLER, **P2P}), "modelSpec", "LMCACHE_ENABLE_P2P"),
    (model(raySpec={"enabled": True}), "raySpec", "RayCluster"),
    (vllm(enablePrefixCachin=True), "enablePrefixCachin", "Did you mean enablePrefixCaching?"),
    (vllm(maxModelLen=8192), "maxModelLen", "engine.max_model_len"),
    (vllm(maxNumSeqs=8), "maxNumSeqs", "engine.max_num_seqs"),
    (vllm(gpuMemoryUtilization=0.9), "gpuMemoryUtilization", "engine.gpu_memory_utilization"),
    (vllm(tensorParallelSize=2), "tensorParallelSize", "engine.tensor_parallel"),
    (vllm(extraArgs=["--x"]), "extraArgs", "engine.extra_args"),
    (vllm(runner="pool"), "runner", "Did you mean pooling?"),
    (vllm(convert="classif"), "convert", "Did you mean classify?"),
    (vllm(maxLoras=0), "maxLoras", "greater than or equal to 1"),
    (router(tolerations=[]), "tolerations", "ignore it in silence"),
    (router(routingLogic="sesion"), "routingLogic", "Did you mean session?"),
    (router(routingLogic="session"), "routerSpec", "sessionKey"),
    (router(sessionKey="x-user"), "routerSpec", "routingLogic is session"),
    (router(tag="latest"), "tag", "pinned"),
    ({"routerSpec": {"enableRouter": True}}, "routerSpec", "lmcache/lmstack-router:latest"),
    (router(serviceDiscovery="static"), "routerSpec", "staticBackends"),
    (router(serviceType="Loadbalancer"), "serviceType", "Did you mean LoadBalancer?"),
    (router(hf_token="hf_very_secret"), "hf_token", "unknown key"),
    (router(k8sServiceDiscoveryType="pod"), "k8sServiceDiscoveryType", "Did you mean pod-ip?"),
    ({"cacheserverSpec": {"enabled": True}}, "cacheserverSpec", "Set image with a tag"),
    ({"cacheserverSpec": {"enabled": True, "image": {"repository": "a", "tag": "latest"}}}, "tag", "pinned"),
    ({"cacheserverSpec": CACHE_SERVER}, "cacheserverSpec", "Set resources.limits.memory"),
    ({"cacheserverSpec": {**CACHE_SERVER, "replicaCount": 2}}, "cacheserverSpec", "would not be found again"),
    ({"cacheServerSpec": {}}, "cacheServerSpec", "Did you mean cacheserverSpec?"),
    ({"sharedPvcStorage": {"enabled": True}}, "", "tensorParallelSize"),
    ({"sharedPvcStorage": {"enabled": False, "size": "100 GB"}}, "size", "quantity such as 50Gi"),
    ({"loraAdapters": [{"name": "a"}]}, "baseModel", "required"),
    (
        {"loraAdapters": [{"name": "a", "baseModel": "b", "adapterSource": {"type": "gcs", "adapterName": "x"}}]},
        "type",
        "not one of the words",
    ),
    ({"loraController": {"enable": True}}, "enable", "unknown key"),
    ({"kube-prometheus-stack": {"enabled": True}}, "kube-prometheus-stack", "own Prometheus"),
    ({"prometheus-adapter": {"enabled": True}}, "prometheus-adapter", "KEDA"),
]

SECRETS = ("sk-very-secret", "hf_very_secret")


@pytest.mark.parametrize(("values", "key", "says"), MISTAKES, ids=lambda item: item if isinstance(item, str) else "")
def test_every_mistake_is_found(values: dict[str, Any], key: str, says: str) -> None:
    problems = list(check_values(values))
    told = [
        problem
        for problem in problems
        if (str(problem.path[-1]) if problem.path else "") == key and says in f"{problem.message} {problem.fix}"
    ]
    assert told, problems


def test_all_at_once_and_at_once() -> None:
    begun = time.perf_counter()
    assert all(list(check_values(values)) for values, _, _ in MISTAKES)
    assert time.perf_counter() - begun < 1


def test_a_secret_is_not_repeated() -> None:
    for values, _, _ in MISTAKES:
        for problem in check_values(values):
            if problem.path[-1:] != ("hf_token",) or problem.path[0] != "routerSpec":
                assert not any(secret in repr(problem) for secret in SECRETS), problem


VALID: list[dict[str, Any]] = [
    {},
    model(priorityClassName="high", podAnnotations={"a": "b"}),
    vllm(dtype="bfloat16", enableChunkedPrefill=True),
    model(hf_token={"secretName": "hf", "secretKey": "token"}),
    model(lmcacheConfig={"enabled": True, "cpuOffloadingBufferSize": "20", "logLevel": "INFO"}),
    model(pvcStorage="100Gi", pvcAccessMode=["ReadWriteMany"], storageClass="efs"),
    model(enableTool=True, toolCallParser="hermes"),
    model(enableLoRA=True),
    router(routingLogic="session", sessionKey="x-user-id"),
    router(routingLogic="prefixaware", prefixMinMatchLength=16, otel={"endpoint": "otel:4317"}),
    router(route={"main": {"enabled": True, "parentRefs": [{"name": "gw"}], "hostnames": ["a.example"]}}),
    {"cacheserverSpec": {**CACHE_SERVER, "serde": "naive", "resources": {"limits": {"memory": "64Gi"}}}},
    {
        **model(lmcacheConfig={"enabled": True, **CONTROLLER, **P2P}, env=P2P_VARIABLES),
        **router(routingLogic="kvaware", lmcacheControllerPort=9000),
    },
    {"sharedPvcStorage": {"enabled": True, "size": "100Gi"}, **model(pvcStorage="1Gi")},
    {
        "loraAdapters": [
            {
                "name": "sql",
                "baseModel": "engine",
                "adapterSource": {"type": "huggingface", "adapterName": "sql", "repository": "a/b"},
            }
        ]
    },
]


@pytest.mark.parametrize("values", VALID, ids=range(len(VALID)))
def test_no_false_alarm(values: dict[str, Any]) -> None:
    assert list(check_values(values)) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70_000) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["servingEngineSpec", "modelSpec", "vllmConfig", "routerSpec", "loraAdapters", "tag", "x"])


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, JSON, max_size=3) | JSON, max_size=3))
def test_any_values_give_problems_and_no_traceback(values: dict[str, Any]) -> None:
    for problem in check_values(values):
        assert isinstance(problem, ValueProblem)
        assert problem.message
