"""One violation and one counterpart per policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from policy.view import Resource
from tests.unit.policy.resources import (
    AWS_INTERNAL,
    SLICED,
    aks_pool,
    budget,
    config_map,
    deployment,
    eks_pool,
    gke_pool,
    namespace,
    network_policy,
    scaled,
    service,
)

FIRST = "containers/0"


@dataclass(frozen=True)
class Case:
    """What breaks a policy, and what keeps to it.

    Attributes:
        rule: name of the policy.
        bad: resources of which the last is at fault.
        good: the same, mended.
        says: part of the message.
        settings: of the policy, for both.
    """

    rule: str
    bad: Sequence[Resource]
    good: Sequence[Resource]
    says: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def one(rule: str, bad: Resource, good: Resource, says: str, **settings: Any) -> Case:
    """A case of one resource."""
    return Case(rule, [bad], [good], says, settings)


def zero(name: str, cooldown: int) -> Resource:
    """A ScaledObject of the engine of its name that goes to zero."""
    whole = scaled(name, "minReplicaCount", 0, target=name)
    spec = {**whole.inputs["spec"], "cooldownPeriod": cooldown}
    return scaled(name, "", None, target=name, spec=spec)


SCALING = (
    one(
        "scale-to-zero",
        scaled("s-zero", "minReplicaCount", 0),
        scaled("s-zero"),
        "model chat may go to zero",
        production=True,
    ),
    Case(
        "cooldown-covers-startup",
        [deployment("s-cooldown"), budget("s-cooldown"), zero("s-cooldown", 100)],
        [deployment("s-cooldown"), budget("s-cooldown"), zero("s-cooldown", 600)],
        "100 s is shorter than the 600 s",
    ),
    one(
        "explicit-hpa-behavior",
        scaled("s-behavior", "advanced", {}),
        scaled("s-behavior"),
        "says nothing about scaleUp and scaleDown",
    ),
    one(
        "summed-queries",
        scaled("s-query", "triggers/1/metadata/query", "vllm:num_requests_waiting"),
        scaled("s-query"),
        "can give several series",
    ),
    one(
        "wakes-from-zero",
        scaled(
            "s-wake",
            "",
            None,
            spec={
                **zero("x", 900).inputs["spec"],
                "triggers": [
                    {"type": "prometheus", "metadata": {"query": 'sum(vllm:num_requests_waiting{model_name="chat"})'}}
                ],
            },
        ),
        zero("s-wake", 900),
        "no request would wake it",
    ),
)

IMAGES = (
    one(
        "image-pinned",
        deployment("i-latest", f"{FIRST}/image", "vllm/vllm-openai:latest"),
        deployment("i-latest"),
        "its tag is latest",
    ),
    one(
        "tested-versions",
        deployment("i-version", f"{FIRST}/image", "vllm/vllm-openai:v0.9.0"),
        deployment("i-version"),
        "v0.9.0 is not the tested v0.32.0",
    ),
)

ENGINES = (
    one(
        "engine-probes",
        deployment("e-probes", f"{FIRST}/startupProbe"),
        deployment("e-probes"),
        "has no startupProbe",
    ),
    one(
        "engine-drain",
        deployment("e-drain", f"{FIRST}/lifecycle"),
        deployment("e-drain"),
        "requests still arrive",
    ),
    one(
        "engine-resources",
        deployment("e-resources", f"{FIRST}/resources/limits", {"nvidia.com/gpu": "1"}),
        deployment("e-resources"),
        "without limits.memory",
    ),
    Case(
        "engine-disruption-budget",
        [deployment("e-budget")],
        [budget("e-budget"), deployment("e-budget")],
        "no PodDisruptionBudget covers it",
    ),
    one("engine-placement", deployment("e-place", "nodeSelector"), deployment("e-place"), "a GPU of any pool"),
)

NODES = (
    one("gpu-pool-taints", eks_pool("n-taints", taints=[]), eks_pool("n-taints"), "has GPUs and no taint"),
    one(
        "no-time-slicing",
        config_map("n-slices", {"config.yaml": SLICED}),
        config_map("n-slices", {"config.yaml": "version: v1"}),
        "told to time-slice",
        production=True,
    ),
    one(
        "mig-supported",
        aks_pool("nmig", gpuInstanceProfile="MIG1g", enableAutoScaling=True, minCount=0, maxCount=2),
        aks_pool("nmig", gpuInstanceProfile="MIG1g"),
        "cannot size a pool with MIG",
    ),
    one(
        "spot-with-fallback",
        gke_pool("n-spot", {}, spot=True),
        gke_pool("n-spot", {}),
        "all of its nodes are spot",
    ),
    one(
        "max-nodes",
        eks_pool("n-many", scalingConfig={"minSize": 0, "maxSize": 400, "desiredSize": 0}),
        eks_pool("n-many"),
        "node pool n-many: may grow to 400 nodes",
    ),
    one(
        "cost-within-budget",
        eks_pool("n-cost", scalingConfig={"minSize": 0, "maxSize": 100, "desiredSize": 0}),
        eks_pool("n-cost"),
        "may cost $80.48 per hour",
        dollars_per_hour=20,
    ),
)

ACCESS = (
    one(
        "public-endpoint-protected",
        service("a-open", {}),
        service("a-open", AWS_INTERNAL),
        "has no TLS",
    ),
    Case(
        "network-policy-present",
        [deployment("a-net"), namespace("planted")],
        [deployment("a-net"), network_policy({}), namespace("planted")],
        "namespace planted: no NetworkPolicy",
    ),
    one(
        "secrets-by-reference",
        deployment("a-secret", f"{FIRST}/env/0", {"name": "HF_TOKEN", "value": "in-plain-text"}),
        deployment("a-secret"),
        "HF_TOKEN is given in plain text",
    ),
)

ALLOWED = (
    one(
        "allowed-regions",
        gke_pool("l-region", {}),
        gke_pool("l-region", {}, location="us-central1"),
        "region 'europe-west4' is not one of us-*",
        allowed=["us-*"],
    ),
    one("allowed-gpus", eks_pool("l-gpu"), aks_pool("lgpu"), "NVIDIA L4 (l4)", allowed=["h100*"]),
    one(
        "allowed-models",
        deployment("l-model"),
        deployment("l-model", f"{FIRST}/args/0", "Qwen/Qwen3-8B"),
        "model 'meta-llama/Llama-3.1-8B-Instruct'",
        allowed=["Qwen/*"],
    ),
    one(
        "allowed-licences",
        deployment("l-licence", f"{FIRST}/args/0", "acme/unheard-of"),
        deployment("l-licence"),
        "licence of 'acme/unheard-of' is not known",
    ),
    one("required-tags", eks_pool("l-tags", tags={}), eks_pool("l-tags"), "without owner or team"),
)

CASES: tuple[Case, ...] = (*SCALING, *IMAGES, *ENGINES, *NODES, *ACCESS, *ALLOWED)
