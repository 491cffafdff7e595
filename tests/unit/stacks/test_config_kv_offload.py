"""KV offload in the configuration: what is refused and why, what components get, which ways are opened.

Does not prove that a cache server holds what it is given, nor that a hit is quicker than computing anew.
"""

from __future__ import annotations

from typing import Any

import pytest

from stacks.config.pod_security import brings_pods, needs_baseline
from stacks.config.warnings import warnings
from stacks.engines import further_engine_args
from stacks.isolation import kv_cache_ports
from tests.unit.stacks.config_samples import errors, loaded, sample

pytestmark = pytest.mark.unit

MODEL = "model_deployments__0__"
OFFLOAD = MODEL + "engine__kv_offload"
PATH = "model_deployments[0]"
WHERE = f"{PATH}.engine.kv_offload"
CLOUD = {"cloud": "aws", "region": "us-east-1", "serving_stack": "production-stack"}
IMAGE = "lmcache/vllm-openai:v0.5.6"
SERVER = {"image": IMAGE, "memory_gib": 64}


def lmcache(**more: Any) -> dict[str, Any]:
    return {"backend": "lmcache", "cpu_gib": 8, **more}


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({OFFLOAD: {}}, [f"{WHERE}.cpu_gib: required, but not given"]),
    ({OFFLOAD: {"backend": "lmcash", "cpu_gib": 1}}, [f"{WHERE}.backend: not one of the words"]),
    ({OFFLOAD: {"cpu_gib": 8, "disk_gib": 20}}, [f"{WHERE}.disk_gib: vLLM's own offload knows the pod's memory alone"]),
    ({OFFLOAD: {"cpu_gib": 8, "remote_url": "lm://a:1"}}, [f"{WHERE}.remote_url: vLLM's own offload knows"]),
    ({OFFLOAD: lmcache(remote_url="redis://:pw@a:6379")}, [f"{WHERE}.remote_url: "]),
    ({OFFLOAD: lmcache(remote_url="lm://a:70000")}, [f"{WHERE}.remote_url: 70000 is no port"]),
    ({OFFLOAD: lmcache(disk_gib=200)}, [f"{WHERE}.disk_gib: is the whole disk of a node of the pool l4, 200 GiB"]),
    (
        {OFFLOAD: lmcache(server=SERVER)},
        [
            f"{WHERE}.server: the chart makes it, and serving_stack is manifests. Set remote_url to a cache that is "
            "there, or serving_stack: production-stack.",
            f"{WHERE}.server: nothing stands in for LMCache's server on the local cloud",
        ],
    ),
    (
        {**CLOUD, OFFLOAD: lmcache(server=SERVER, remote_url="lm://a:1")},
        [f"{WHERE}.server: an engine has one remote cache, and remote_url names one"],
    ),
    (
        {**CLOUD, OFFLOAD: lmcache(server={**SERVER, "image": "lmcache/vllm-openai:latest"})},
        [f"{WHERE}.server.image: floats"],
    ),
    (
        {OFFLOAD: {"cpu_gib": 35}},
        [
            f"{WHERE}.cpu_gib: a pod with 1 of the 4 GPUs or slices of a g6.12xlarge has 38.4 GiB of memory, of which "
            "the engine takes 4 (got 35). Set it to 34 or less, or choose an instance type with more memory."
        ],
    ),
    (
        {
            OFFLOAD: {"cpu_gib": 30},
            MODEL + "scaling": {"min_replicas": 1, "idle": {"kind": "sleep", "level": 1}},
        },
        [f"{WHERE}.cpu_gib: a pod with 1 of the 4 GPUs or slices of a g6.12xlarge has 38.4 GiB of memory, of which the "
         "engine takes 4 and 15.0 GiB of weights while it sleeps (got 30). Set it to 19 or less"],
    ),
    (
        {OFFLOAD: {"cpu_gib": 8}, MODEL + "topology": {"kind": "disaggregated"}},
        [f"{WHERE}: puts another connector in the place of NIXL's"],
    ),
    (
        {OFFLOAD: {"cpu_gib": 8}, MODEL + "engine__name": "sglang"},
        [f"{WHERE}: is written in vLLM's flags, and the engine is sglang"],
    ),
    (
        {OFFLOAD: {"cpu_gib": 8}, MODEL + "engine__extra_args": {"kv_offloading_size": 4}},
        [f"{PATH}.engine.extra_args.kv_offloading_size: kv_offload writes --kv-offloading-size itself. Remove one"],
    ),
    (
        {
            **CLOUD,
            OFFLOAD: lmcache(),
            MODEL + "chart_values": {"servingEngineSpec": {"modelSpec": {"lmcacheConfig": {"enabled": True}}}},
        },
        [f"{PATH}.chart_values.servingEngineSpec.modelSpec.lmcacheConfig: engine.kv_offload says the same in other"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "starts"), WRONG, ids=lambda item: item[0][:80] if isinstance(item, list) else "")
def test_what_is_refused(changes: dict[str, Any], starts: list[str]) -> None:
    found = errors(sample(**changes))
    assert len(found) == len(starts), found
    assert [line for line, start in zip(found, starts, strict=True) if not line.startswith(start)] == []


def test_the_password_of_a_cache_is_not_repeated() -> None:
    assert not any(":pw@" in line for line in errors(sample(**{OFFLOAD: lmcache(remote_url="redis://:pw@a:6379")})))


def test_all_of_it_on_a_cloud() -> None:
    config = loaded(**CLOUD, **{OFFLOAD: lmcache(disk_gib=40, server=SERVER)})
    (deployment,) = config.model_deployments
    offload = further_engine_args(deployment.engine)["kv_offload"]
    assert (offload.backend, offload.cpu_gib, offload.disk_gib, offload.remote_url) == ("lmcache", 8, 40, "")
    assert (offload.server.image, offload.server.memory_gib) == (IMAGE, 64)
    # The chart's server is a pod that the platform did not make, from an image that runs as root.
    assert brings_pods(deployment)
    assert needs_baseline(deployment)
    assert kv_cache_ports(config.model_deployments) == ()


def test_engines_get_a_way_to_a_cache_that_is_there() -> None:
    config = loaded(**{OFFLOAD: lmcache(remote_url="redis://cache.shared:6379")})
    assert kv_cache_ports(config.model_deployments) == (6379,)
    assert not brings_pods(config.model_deployments[0])


def test_on_the_local_cloud_it_is_said_that_nothing_is_faster() -> None:
    found = [warn.line() for warn in warnings(loaded(**{OFFLOAD: {"cpu_gib": 8}}))]
    assert [line for line in found if line.startswith(f"{WHERE}: the simulated engine has no KV offload")]
