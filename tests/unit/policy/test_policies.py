"""Every policy fires on what breaks it and is silent on what does not; unknown values are doubts, not silence.

Judges plain inputs. What the engine hands to a policy, and that the pack runs in its own environment, is proven by the
engine tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from policy.rule import Finding, Rule, SettingsError, read_settings, schema
from policy.rules import RULES
from policy.unknown import Unknown, UnknownValueError
from policy.view import Resource
from tests.unit.policy.cases import CASES, Case
from tests.unit.policy.resources import (
    aks_pool,
    changed,
    deployment,
    eks_pool,
    gke_pool,
    namespace,
    network_policy,
    release,
    scaled,
    service,
)

pytestmark = pytest.mark.unit

BY_NAME = {rule.name: rule for rule in RULES}


def judge(rule: Rule[Any], resources: Sequence[Resource], settings: dict[str, Any] | None = None) -> list[Finding]:
    read = read_settings(rule, settings or {})
    if rule.stack is not None:
        return list(rule.stack(resources, read))
    assert rule.resource is not None
    return [finding for resource in resources for finding in rule.resource(resource, read)]


def said(rule: str, *resources: Resource, **settings: Any) -> list[str]:
    return [finding.message for finding in judge(BY_NAME[rule], resources, settings)]


def test_every_policy_has_a_case_and_judges_either_a_resource_or_the_stack() -> None:
    assert [case.rule for case in CASES] == [rule.name for rule in RULES]
    assert all((rule.resource is None) != (rule.stack is None) for rule in RULES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_it_fires_once_and_says_what_to_do(case: Case) -> None:
    rule = BY_NAME[case.rule]
    findings = [found for found in judge(rule, case.bad, dict(case.settings)) if case.says in found.message]
    assert len(findings) == 1
    assert rule.message(findings[0]).endswith(f". Fix: {rule.fix}")
    if rule.stack is not None and rule.name not in {"cost-within-budget"}:
        assert findings[0].urn == case.bad[-1].urn


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_it_is_silent_on_what_keeps_to_it(case: Case) -> None:
    assert judge(BY_NAME[case.rule], case.good, dict(case.settings)) == []


@pytest.mark.parametrize(
    "rule", [rule.name for rule in RULES if rule.name not in {"gpu-pool-taints", "network-policy-present"}]
)
def test_no_policy_objects_to_what_it_does_not_know(rule: str) -> None:
    strange = Resource(type="random:index/randomId:RandomId", name="x", inputs={"byteLength": 8, "keepers": None})
    assert judge(BY_NAME[rule], [strange]) == []


# What is not known


UNKNOWNS = [
    ("scale-to-zero", scaled("x", "minReplicaCount", Unknown("spec.minReplicaCount")), {"production": True}),
    ("cooldown-covers-startup", scaled("x", "cooldownPeriod", Unknown("p")), {}),
    ("image-pinned", deployment("x", "containers/0/image", Unknown("image")), {}),
    ("engine-probes", deployment("x", "containers/0/startupProbe", Unknown("probe")), {}),
    ("gpu-pool-taints", eks_pool("x", taints=Unknown("taints")), {}),
    ("max-nodes", eks_pool("x", scalingConfig=Unknown("scalingConfig")), {}),
    ("cost-within-budget", eks_pool("x", instanceTypes=["p9.unheard"]), {}),
    ("public-endpoint-protected", service("x", Unknown("annotations")), {}),  # type: ignore[arg-type]
    ("allowed-models", deployment("x", "containers/0/args/0", Unknown("args")), {}),
    ("required-tags", eks_pool("x", tags=Unknown("tags")), {}),
]


@pytest.mark.parametrize(("rule", "resource", "settings"), UNKNOWNS, ids=[row[0] for row in UNKNOWNS])
def test_an_unknown_value_is_a_doubt(rule: str, resource: Resource, settings: dict[str, Any]) -> None:
    if rule == "cooldown-covers-startup":
        resource = scaled("x", spec=changed(resource.inputs["spec"], "minReplicaCount", 0))
    with pytest.raises(UnknownValueError):
        judge(BY_NAME[rule], [resource], settings)


def test_a_doubt_about_one_resource_does_not_hide_a_violation_of_the_next() -> None:
    rule = BY_NAME["max-nodes"]
    assert rule.stack is not None
    pools = [
        eks_pool("doubtful", scalingConfig=Unknown("scalingConfig")),
        eks_pool("many", scalingConfig={"maxSize": 400}),
    ]
    findings = rule.stack(pools, read_settings(rule, {}))
    assert "pool many: may grow to 400" in next(findings).message
    with pytest.raises(UnknownValueError, match="scalingConfig"):
        list(findings)


# What the table of cases does not reach


def test_values_of_the_production_stack_are_judged_like_its_pods() -> None:
    engine = {
        "name": "chat",
        "repository": "vllm/vllm-openai",
        "tag": "latest",
        "modelURL": "acme/unheard-of",
        "requestCPU": 4,
        "requestMemory": "16Gi",
        "requestGPU": 1,
        "env": [{"name": "HF_TOKEN", "value": "in-plain-text"}],
        "keda": {"enabled": True, "minReplicaCount": 0, "triggers": [{"type": "cpu", "metadata": {}}]},
    }
    bad = release("vllm", "vllm-stack", "0.1.12", {"servingEngineSpec": {"modelSpec": [engine], "startupProbe": {}}})
    where = "values.servingEngineSpec.modelSpec[0]"
    assert said("scale-to-zero", bad, production=True) == [f"{where}.keda.minReplicaCount: model chat may go to zero"]
    assert said("image-pinned", bad) == [f"{where}: 'vllm/vllm-openai:latest' moves: its tag is latest"]
    assert said("engine-resources", bad) == [f"{where}: without limitMemory"]
    assert said("engine-disruption-budget", bad) == [f"{where}.pdb: missing"]
    drain = "values: the chart's engines get no preStop hook and 30 s, and nothing patches them"
    assert said("engine-drain", bad) == [drain]
    assert said("engine-probes", bad) == ["values.servingEngineSpec: takes away startupProbe"]
    assert said("secrets-by-reference", bad) == [f"{where}.env[0].value: HF_TOKEN is given in plain text"]
    assert said("allowed-licences", bad) == [f"{where}.modelURL: the licence of 'acme/unheard-of' is not known"]
    assert len(said("explicit-hpa-behavior", bad)) == len(said("wakes-from-zero", bad)) == 1


def test_a_model_that_is_switched_off_in_the_values_is_not_judged() -> None:
    values = {"servingEngineSpec": {"modelSpec": [{"name": "off", "enabled": False}]}}
    assert said("engine-resources", release("vllm", "vllm-stack", "0.1.12", values)) == []


def test_a_message_never_repeats_the_secret() -> None:
    planted = deployment("x", "containers/0/args/1", "--api-key=hf_abcdefghijklmnopqrstuvwx")
    (message,) = said("secrets-by-reference", planted)
    assert "hf_" not in message


@pytest.mark.parametrize(
    ("words", "places"),
    [
        (["--api-key", "in-plain-text"], ["argument 1 (--api-key)"]),
        (["--api-key", "$(API_KEY)"], []),
        (["--api-key", "--port=8000"], []),
        (["serve", "hf_abcdefghijklmnopqrstuvwx"], ["argument 1"]),
        (["sk-abcdefghijklmnopqrstuvwx=="], ["argument 0"]),
        (["--max-num-batched-tokens", "4096"], []),
    ],
)
def test_a_secret_in_an_argument_of_its_own_is_found(words: list[str], places: list[str]) -> None:
    planted = deployment("x", "containers/0/args", words)
    expected = [f"{place} holds a secret in plain text" for place in places]
    messages = said("secrets-by-reference", planted)
    assert [message.partition(": ")[2] for message in messages] == expected
    values = {"servingEngineSpec": {"modelSpec": [{"name": "chat", "vllmConfig": {"extraArgs": words}}]}}
    messages = said("secrets-by-reference", release("vllm", "vllm-stack", "0.1.12", values))
    assert [message.partition(": ")[2] for message in messages] == expected


def test_a_network_policy_that_lets_everybody_in_closes_nothing() -> None:
    open_to_all = changed(network_policy({}).inputs, "spec/ingress", [{}])
    named = changed(network_policy({}).inputs, "spec/ingress", [{"from": [{"podSelector": {}}]}])
    for inputs, found in ((open_to_all, 1), (named, 0)):
        policy = replace(network_policy({}), inputs=inputs)
        assert len(said("network-policy-present", deployment("x"), policy, namespace("planted"))) == found


@pytest.mark.parametrize(
    ("digests", "image", "fires"),
    [
        ("off", "acme/engine:1.2", False),
        ("outside-the-lock", "acme/engine:1.2", True),
        ("outside-the-lock", "vllm/vllm-openai:v0.32.0", False),
        ("outside-the-lock", f"acme/engine@sha256:{'0' * 64}", False),
        ("all", "vllm/vllm-openai:v0.32.0", True),
    ],
)
def test_digests_are_asked_for_as_set(digests: str, image: str, *, fires: bool) -> None:
    assert bool(said("image-pinned", deployment("x", "containers/0/image", image), digests=digests)) == fires


def test_an_on_demand_pool_of_the_same_name_is_the_fallback() -> None:
    spot, fallback = eks_pool("a", capacityType="SPOT"), eks_pool("a", capacityType="ON_DEMAND")
    assert said("spot-with-fallback", spot, fallback) == []
    assert len(said("spot-with-fallback", spot)) == 1
    assert said("spot-with-fallback", spot, tolerated=["a*"]) == []


def test_the_cost_is_the_plans_where_the_stack_exports_one() -> None:
    stack = Resource(type="pulumi:pulumi:Stack", name="s", inputs={"plan": {"hourly_max": 400.0}})
    assert said("cost-within-budget", stack) == [
        "the environment may cost $400.00 per hour by the plan, $250.00 are allowed"
    ]


def test_a_plan_with_pools_without_a_price_is_a_doubt_about_the_cost() -> None:
    plan = {"hourly_max": 4.0, "unpriced_pools": ["odd"]}
    with pytest.raises(UnknownValueError, match="the price of node pool odd"):
        said("cost-within-budget", Resource(type="pulumi:pulumi:Stack", name="s", inputs={"plan": plan}))


def test_a_karpenter_pool_is_limited_by_its_gpus_and_its_capacity_types_count() -> None:
    requirements = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6.12xlarge"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]},
    ]
    spec = {"template": {"spec": {"requirements": requirements}}, "limits": {"nvidia.com/gpu": 400}}
    pool = Resource(type="kubernetes:karpenter.sh/v1:NodePool", name="k", inputs={"spec": spec}, urn="urn:k")
    assert said("gpu-pool-taints", pool) == ["node pool k (g6.12xlarge): has GPUs and no taint"]
    assert len(said("spot-with-fallback", pool)) == 1
    assert said("max-nodes", pool)[0] == "node pool k: may grow to 100 nodes, 25 are allowed"


@pytest.mark.parametrize(
    ("pool", "says"),
    [
        (eks_pool("m", labels={"nvidia.com/mig.config": "all-1g.5gb"}), "NVIDIA L4 cannot be split by MIG"),
        (eks_pool("m", labels={"nvidia.com/mig.config": "all-disabled"}), ""),
        (eks_pool("m", instanceTypes=["p4d.24xlarge"], labels={"nvidia.com/mig.config": "all-1g.5gb"}), ""),
        (gke_pool("m", {"gpuPartitionSize": "1g.5gb"}), "NVIDIA L4 cannot be split by MIG"),
        (
            gke_pool("m", {"type": "nvidia-tesla-a100", "gpuPartitionSize": "9g.9gb"}, machineType="a2-highgpu-1g"),
            "is no",
        ),
        (gke_pool("m", {"type": "nvidia-tesla-a100", "gpuPartitionSize": "1g.5gb"}, machineType="a2-highgpu-1g"), ""),
        (aks_pool("m", gpuInstanceProfile="MIG1g", osSku="AzureLinux"), "AKS has no MIG on AzureLinux"),
        (aks_pool("m", gpuInstanceProfile="MIG1g", osSku="Ubuntu"), ""),
    ],
)
def test_mig_is_judged_by_each_clouds_rules(pool: Resource, says: str) -> None:
    messages = said("mig-supported", pool)
    assert len(messages) == bool(says)
    assert says in "".join(messages)


def compute_class(**sharing: Any) -> Resource:
    gpu = {"type": "nvidia-l4", "count": 1, **({"gpuSharing": sharing} if sharing else {})}
    spec = {"priorities": [{"machineType": "g2-standard-12", "gpu": gpu}]}
    return Resource(type="kubernetes:cloud.google.com/v1:ComputeClass", name="c", inputs={"spec": spec}, urn="urn:c")


@pytest.mark.parametrize(
    ("pool", "fires"),
    [
        (gke_pool("t", {"gpuSharingConfig": {"gpuSharingStrategy": "TIME_SHARING"}}), True),
        (gke_pool("t", {"gpuSharingConfig": {"gpuSharingStrategy": "MPS"}}), False),
        (compute_class(sharingStrategy="TIME_SHARING"), True),
        (compute_class(sharingStrategy="MPS"), False),
        (compute_class(), False),
    ],
)
def test_time_slicing_is_found_by_gkes_own_word_for_it(pool: Resource, *, fires: bool) -> None:
    assert bool(said("no-time-slicing", pool, production=True)) == fires


def test_mig_of_a_compute_class_is_judged() -> None:
    assert "NVIDIA L4 cannot be split by MIG" in said("mig-supported", compute_class(gpuPartitionSize="1g.5gb"))[0]


def test_a_type_with_its_api_version_is_the_same_type() -> None:
    pool = aks_pool("v", gpuInstanceProfile="MIG1g", osSku="AzureLinux")
    versioned = replace(pool, type="azure-native:containerservice/v20250901:AgentPool")
    assert said("mig-supported", versioned) == said("mig-supported", pool) != []
    assert said("required-tags", replace(versioned, inputs={})) == ["tags: without owner or team"]


# Settings


def test_settings_that_do_not_exist_or_have_the_wrong_type_are_named() -> None:
    rule = BY_NAME["max-nodes"]
    with pytest.raises(SettingsError, match=r"max-nodes: unknown setting 'nodes'; settings: max_nodes"):
        read_settings(rule, {"nodes": 1})
    with pytest.raises(SettingsError, match="setting max_nodes is 'many'; it must be a value of type integer"):
        read_settings(rule, {"max_nodes": "many"})
    assert read_settings(rule, {"max_nodes": 7.0}).max_nodes == 7


def test_a_setting_that_is_not_among_its_choices_does_not_pass_for_off() -> None:
    with pytest.raises(SettingsError, match="digests is 'every'; it must be one of off, outside-the-lock, all"):
        read_settings(BY_NAME["image-pinned"], {"digests": "every"})


def test_every_setting_has_a_type_a_default_and_a_description() -> None:
    for rule in RULES:
        for row in schema(rule.settings).values():
            assert row.keys() >= {"type", "default", "description"}
