"""Every field of an environment that has them all, broken one at a time: named, in our words, never a traceback.

Does not prove that each message is the best one: test_config_fields has the words of the usual mistakes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from stacks.config.translate import NOT_A_WORD
from tests.unit.stacks.config_samples import Raw, errors

pytestmark = pytest.mark.unit

Path = tuple[str | int, ...]

POOL: Raw = {
    "name": "l4",
    "accelerator": "l4",
    "gpus_per_node": 4,
    "instance_type": "g6.12xlarge",
    "capacity_type": "reserved",
    "sharing": {"mode": "time-slicing", "replicas": 2},
    "min_nodes": 0,
    "max_nodes": 3,
    "reservation": {"kind": "reservation", "id": "cr-0123456789abcdef0"},
    "provisioner": "node-group",
    "zones": ["us-east-1a"],
    "disk_gib": 200,
    "local_nvme": False,
    "image_streaming": False,
    "image_prepull": True,
}
ENGINE: Raw = {
    "name": "vllm",
    "max_model_len": 2048,
    "max_num_seqs": 4,
    "gpu_memory_utilization": 0.4,
    "tensor_parallel": 1,
    "lora_adapters": [
        {"name": "legal", "source": {"hugging_face": "acme/legal"}, "rank": 8, "base_model": "acme/base"},
    ],
    "max_loras": 1,
    "kv_offload": {
        "backend": "lmcache",
        "cpu_gib": 3,
        "disk_gib": 4,
        "remote_url": "lm://cache:80",
        "server": {"image": "cache:1", "memory_gib": 3},
    },
    "traces": {"endpoint": "http://collector:4317", "protocol": "grpc", "sample_ratio": 0.5},
    "extra_args": {"seed": 1},
    "triton": {"backend": "vllm", "model_repository": "/weights/models"},
    "custom": {
        "image": "engine:1",
        "command": ["serve"],
        "args": ["--port={port}"],
        "env": {"MODE": "fast"},
        "health_path": "/health",
        "metrics_path": "/metrics",
        "waiting_metric": "queue",
    },
}
MODEL: Raw = {
    "name": "chat",
    "source": {
        "hugging_face": "meta-llama/Llama-3.1-8B-Instruct",
        "token": {"secret": "tls", "key": "tls.key"},
        "revision": "main",
        "allow_patterns": ["*.json"],
        "ignore_patterns": ["original/*"],
    },
    "engine": ENGINE,
    "topology": {"kind": "disaggregated", "prefill": {"min_replicas": 1, "queue_depth": 3}, "decode": {}},
    "node_pool": "l4",
    "router_policy": "random",
    "scaling": {
        "min_replicas": 1,
        "max_replicas": 3,
        "queue_depth": 3,
        "concurrency": 4,
        "polling_interval_seconds": 5,
        "startup_budget_seconds": 600,
        "cooldown_seconds": 700,
        "scale_down_stabilization_seconds": 3,
        "drain_seconds": 4,
        "idle": {"kind": "sleep", "level": 1, "after_seconds": 3},
    },
    "priority_class": "high",
    "rollout": "surge",
    "slo": {
        "preset": "rag",
        "ttft_p95_seconds": 5.0,
        "tpot_p95_seconds": 0.05,
        "error_ratio": 0.1,
        "queue_per_engine": 2,
        "kv_cache_usage": 0.5,
        "gpu_low": 0.1,
        "gpu_high": 0.2,
    },
    "chart_values": {"servingEngineSpec": {"modelSpec": {}}},
    "simulation": {"startup_seconds": 1, "speedup": 2},
}
EXISTING: Raw = {
    "context": "lab",
    "provides": ["keda"],
    "node_pools": [
        {
            "name": "l4",
            "node_selector": {"example.com/pool": "l4"},
            "taints": [{"key": "gpu", "value": "present", "effect": "NoSchedule"}],
            "gpu_resource": "nvidia.com/gpu",
        }
    ],
    "weights_volume": "models",
    "storage_class": "nfs",
    "gateway_service_type": "ClusterIP",
}
ALL: Raw = {
    "cloud": "existing",
    "serving_stack": "production-stack",
    "region": "us-east-1",
    "cluster": {
        "kubernetes_version": "1.34",
        "private_endpoint": False,
        "authorized_networks": ["203.0.113.0/24"],
        "audit_logs": True,
        "deletion_protection": False,
    },
    "node_pools": [POOL],
    "model_deployments": [MODEL],
    "gateway": {
        "host_port": 8080,
        "replicas": 2,
        "host": "models.example.com",
        "tls": {"secret": "tls", "issuer": "acme", "issuer_kind": "Issuer", "gateway_class": "nginx"},
        "limits": {"requests_per_minute": 3, "concurrent_requests": 3, "tokens_per_minute": 4},
    },
    "weights": {"store": "shared-files", "preload": True, "offline": True},
    "production_stack": {
        "repository": "https://charts.example.com",
        "oci": "oci://charts.example.com/stack",
        "folder": "chart",
        "version": "1.2.3",
        "digest": f"sha256:{'a' * 64}",
    },
    "router": "shared",
    "tags": {"team": "ml"},
    "paused": False,
    "tenancy": {
        "quota": {"gpus": 3, "cpu": 4, "memory_gib": 5, "pods": 6},
        "pod_security": "baseline",
        "image_pull_secrets": ["registry"],
        "api_key_hashes": ["a" * 64],
    },
    "secrets": [
        {
            "name": "tls",
            "keys": ["tls.crt", "tls.key"],
            "external": {"store": "vault", "store_kind": "SecretStore", "entry": "team/tls"},
        },
    ],
    "image_digests": {"engine:1": f"sha256:{'a' * 64}"},
    "observability": {"prometheus": "in-cluster", "grafana_admin_secret": "tls"},
    "existing": EXISTING,
    "budget_per_hour": 100.0,
}
FREE = {"chart_values", "extra_args", "gateway_annotations"}
"""Mappings whose values are anything that the chart, the engine or the cloud takes."""

PYDANTIC = ("Input should", "String should", "Value error", "Field required", "List should", "Dictionary should")


def fields(value: Any, path: Path = ()) -> Iterator[Path]:
    """All paths below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*path, key)
        if key not in FREE:
            yield from fields(child, (*path, key))


PATHS = list(fields(ALL))


def show(path: Path) -> str:
    """As messages have it."""
    text = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" if part.replace("_", "a").isalnum() else f"[{part!r}]"
        for part in path
    )
    return text.removeprefix(".")


def broken(path: Path, value: object) -> Raw:
    """The environment with this value there."""
    raw = copy.deepcopy(ALL)
    at: Any = raw
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return raw


@cache
def usual() -> frozenset[str]:
    """What is wrong with it as it is: it has fields that no environment has together."""
    return frozenset(errors(ALL))


def new_errors(path: Path, value: object) -> list[str]:
    """Errors that come with this value there."""
    return [line for line in errors(broken(path, value)) if line not in usual()]


def test_what_no_field_takes_is_named() -> None:
    for path in PATHS:
        if path[-1] not in FREE:
            lines = new_errors(path, [["no field takes this"]])
            assert any(line.startswith(show(path)) for line in lines), (path, lines)


@pytest.mark.parametrize("value", ["", "NO such Word %", -1])
def test_whatever_stands_there_messages_are_ours_and_words_come_with_the_choices(value: object) -> None:
    words = 0
    for path in PATHS:
        for line in new_errors(path, value):
            assert not any(text in line for text in PYDANTIC), line
            assert "; choose from " in line or NOT_A_WORD not in line, line
            words += NOT_A_WORD in line
    assert words > 20
