"""KV offload: what engines are told on both serving stacks, and the chart's cache server.

Does not prove that vLLM or LMCache do with it what they say: the simulated engine has neither.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.scheduling import GpuPool
from components.serving.base import EngineArgs, ModelDeploymentArgs
from components.serving.engine import engine_deployment
from components.serving.kv_offload import KvCacheServerArgs, KvOffloadArgs
from components.serving.production_stack.render import chart_values
from components.serving.topologies import Disaggregated
from planner.flags.check import check_engine_arguments
from tests.unit.components.samples import CHAT, SCALING, context, deployment
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

MEMORY = KvOffloadArgs(backend="native", cpu_gib=30)
DISK = KvOffloadArgs(backend="lmcache", cpu_gib=30, disk_gib=95)
REMOTE = KvOffloadArgs(backend="lmcache", cpu_gib=8, remote_url="redis://cache.shared:6379")
SERVER = KvOffloadArgs(
    backend="lmcache", cpu_gib=8, server=KvCacheServerArgs(image="lmcache/vllm-openai:v0.5.6", memory_gib=64)
)
TRANSFER = '--kv-transfer-config={"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}'


def offloading(offload: KvOffloadArgs, gpus: int = 1) -> ModelDeploymentArgs:
    pool = GpuPool(name="l4", product="NVIDIA-L4", gpus_per_node=4, vcpu=48, memory_gib=192)
    engine = EngineArgs(model="a/b", tensor_parallel=gpus, kv_offload=offload)
    return deployment(engine=engine, placement=pool.place(gpus))


def manifests(engine: Engine, args: ModelDeploymentArgs) -> tuple[list[str], dict[str, str], Any]:
    """Command line, variables and pod on the serving stack `manifests`."""
    (workers,) = args.workers
    spec: Any = engine.run(lambda: engine_deployment(context(), args, workers))
    pod = spec.template.spec
    (container,) = pod.containers
    variables = {item.name: item.value for item in container.env if isinstance(item.value, str)}
    return list(container.args), variables, pod


def chart(engine: Engine, args: ModelDeploymentArgs) -> dict[str, Any]:
    return engine.run(lambda: chart_values(context(), args, runtime_class="", extra={}).render())


def on_chart(engine: Engine, args: ModelDeploymentArgs) -> tuple[list[str], dict[str, str], dict[str, Any]]:
    (spec,) = chart(engine, args)["servingEngineSpec"]["modelSpec"]
    assert "lmcacheConfig" not in spec
    return spec["vllmConfig"]["extraArgs"], {item["name"]: item["value"] for item in spec["env"]}, spec


@pytest.mark.parametrize("stack", [manifests, on_chart])
def test_the_pods_memory_by_vllms_own(engine: Engine, stack: Any) -> None:
    """The size is that of all GPUs together: vLLM divides it."""
    words, variables, _ = stack(engine, offloading(MEMORY, gpus=2))
    assert [word for word in words if "kv-" in word] == ["--kv-offloading-backend=native", "--kv-offloading-size=30"]
    assert not [name for name in variables if name.startswith("LMCACHE")]


@pytest.mark.parametrize("stack", [manifests, on_chart])
def test_memory_and_disk_by_lmcache_which_counts_per_gpu(engine: Engine, stack: Any) -> None:
    words, variables, _ = stack(engine, offloading(DISK, gpus=4))
    assert [word for word in words if "kv-" in word] == [TRANSFER]
    assert {name: value for name, value in variables.items() if name.startswith(("LMCACHE", "PYTHON"))} == {
        "PYTHONHASHSEED": "123",
        "LMCACHE_LOCAL_CPU": "True",
        "LMCACHE_MAX_LOCAL_CPU_SIZE": "7.5",
        "LMCACHE_LOCAL_DISK": "file:///kv-cache/",
        "LMCACHE_MAX_LOCAL_DISK_SIZE": "23.75",
    }


def test_the_disk_is_a_volume_with_a_limit(engine: Engine) -> None:
    _, _, pod = manifests(engine, offloading(DISK))
    (volume,) = [item for item in pod.volumes if item.name == "kv-cache"]
    assert volume.empty_dir.size_limit == "105Gi"
    assert ("kv-cache", "/kv-cache") in [(item.name, item.mount_path) for item in pod.containers[0].volume_mounts]
    _, _, spec = on_chart(engine, offloading(DISK))
    assert spec["extraVolumes"][1] == {"name": "kv-cache", "emptyDir": {"sizeLimit": "105Gi"}}
    assert spec["extraVolumeMounts"][1] == {"name": "kv-cache", "mountPath": "/kv-cache"}


@pytest.mark.parametrize("stack", [manifests, on_chart])
def test_a_remote_cache(engine: Engine, stack: Any) -> None:
    _, variables, _ = stack(engine, offloading(REMOTE))
    assert variables["LMCACHE_REMOTE_URL"] == "redis://cache.shared:6379"
    assert "LMCACHE_LOCAL_DISK" not in variables


def test_a_cache_server_of_the_charts(engine: Engine) -> None:
    args = offloading(SERVER)
    _, variables, _ = on_chart(engine, args)
    assert variables["LMCACHE_REMOTE_URL"] == "lm://chat-cache-server-service:80"
    spec = chart(engine, args)["cacheserverSpec"]
    assert spec == {
        "enabled": True,
        "image": {"repository": "lmcache/vllm-openai", "tag": "v0.5.6"},
        "imagePullPolicy": "IfNotPresent",
        "replicaCount": 1,
        "containerPort": 8000,
        "servicePort": 80,
        "resources": {"requests": {"cpu": "500m", "memory": "64Gi"}, "limits": {"memory": "64Gi"}},
        "nodeSelector": {"inference.platform/node-pool": "system"},
        "strategy": {"type": "Recreate"},
        "containerSecurityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def test_without_it_nothing_changes(engine: Engine) -> None:
    assert "cacheserverSpec" not in chart(engine, CHAT)
    words, variables, pod = manifests(engine, CHAT)
    assert not [word for word in words if "kv-" in word]
    assert not [name for name in variables if name.startswith(("LMCACHE", "PYTHON"))]
    assert [item.name for item in pod.volumes] == ["weights"]


@pytest.mark.parametrize("offload", [MEMORY, DISK, REMOTE])
def test_the_engine_knows_the_flags(engine: Engine, offload: KvOffloadArgs) -> None:
    words, _, _ = manifests(engine, offloading(offload))
    assert check_engine_arguments("vllm", "v0.32.0", words) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"backend": "disk", "cpu_gib": 1},
        {"backend": "lmcache", "cpu_gib": 0},
        {"backend": "native", "cpu_gib": 1, "disk_gib": 1},
        {"backend": "native", "cpu_gib": 1, "remote_url": "lm://a:1"},
        {"backend": "lmcache", "cpu_gib": 1, "remote_url": "lm://a:1", "server": SERVER.server},
    ],
)
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"backend|cpu_gib|remote"):
        KvOffloadArgs(**wrong)


def test_workers_that_hand_blocks_over_keep_none() -> None:
    both = replace(SCALING, min_replicas=1)
    with pytest.raises(ValueError, match="another connector"):
        replace(offloading(MEMORY), topology=Disaggregated(prefill=both, decode=both))
