"""The traps of the chart vllm-stack, in its own templates: values as a newcomer writes them show each, ours do not.

Runs where VLLM_STACK_CHART names the chart's folder; needs no cluster. What only a cluster shows is in
test_production_stack.py. Does not prove what the chart's images do with what they are given: traps inside the chart's
router (it never holds a request, its memory grows) were read in its sources, and are avoided by not running it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.autoscaling.model_scaling import waiting_requests_query
from components.labels import EnvironmentLabels
from components.serving.kv_offload import KvCacheServerArgs, KvOffloadArgs
from components.serving.lora import LoraAdapter, LoraArgs
from components.serving.production_stack.chart import installable
from components.serving.production_stack.values.check import OWNED, check_values
from components.serving.topologies import Disaggregated
from tests.local.chart_releases import (
    DEPLOYMENT,
    MODEL,
    OURS,
    container,
    kinds,
    naive,
    one,
    ours,
    platform,
    pod,
    variables,
)
from tests.local.chart_template import HelmTemplate, TemplateError, helm_template
from tests.unit.components.promtool import expression, run, series
from tests.unit.components.samples import CHAT, SCALING

CHART = os.environ.get("VLLM_STACK_CHART", "")
pytestmark = [
    pytest.mark.local,
    pytest.mark.skipif(not CHART, reason="VLLM_STACK_CHART does not name the folder of the chart vllm-stack"),
]

LONGEST_HOST_NAME = 63


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HelmTemplate]:
    with helm_template(installable(Path(CHART)), tmp_path_factory.mktemp("home")) as made:
        yield made


def refused(values: dict[str, Any], says: str) -> None:
    """A user who writes it into `chart_values` is told."""
    problems = [f"{problem.message} {problem.fix}" for problem in check_values(values)]
    assert any(says in text for text in problems), problems


def model_values(**keys: Any) -> dict[str, Any]:
    return {"servingEngineSpec": {"modelSpec": keys}}


# --- scaling


def test_the_default_query_filters_by_a_label_that_no_metric_has_and_is_not_summed(template: HelmTemplate) -> None:
    (trigger,) = kinds(naive(template, keda={"enabled": True}), "ScaledObject")[0]["spec"]["triggers"]
    assert trigger["metadata"]["query"] == 'vllm:num_requests_waiting{model="one"}'
    assert kinds(ours(template), "ScaledObject") == []
    assert waiting_requests_query("ns", "chat") == (
        'sum(vllm:num_requests_waiting{namespace="ns",model_name="chat"}) or vector(0)'
    )


def test_queries_as_written_and_as_read_by_prometheus(tmp_path: Path) -> None:
    """What the tutorials' queries answer, and ours. 30 s between two scrapes; requests come at 60 s and later.

    Queries: the default one, the one that is not summed, and the wake query over the counter of the chart's router,
    which is born at 1, is not told apart by model, and loses a request to one missed scrape.
    """
    asked, other = "vllm:num_requests_waiting", 'vllm:num_incoming_requests_total{model="other"}'
    wake = "sum(rate(vllm:num_incoming_requests_total[1m]) > bool 0)"
    labels = 'model_name="chat",namespace="ns"'
    first = {"interval": "30s", "input_series": series(**{'vllm:num_incoming_requests_total{model="chat"}': "_ _ 1 1"})}
    missed = {
        "interval": "30s",
        "input_series": series(**{'vllm:num_incoming_requests_total{model="chat"}': "0 0 1 _ 2 2"}),
    }
    several = {
        "interval": "30s",
        "input_series": series(
            **{
                f'{asked}{{{labels},pod="a"}}': "3 3 3",
                f'{asked}{{{labels},pod="b"}}': "4 4 4",
                f'{asked}{{model_name="other",namespace="ns",pod="c"}}': "50 50 50",
                other: "0 5 9",
            }
        ),
    }
    own = waiting_requests_query("ns", "chat")
    first["promql_expr_test"] = [
        # One sample: no rate at all. Two: none has been added since the first.
        expression(wake, "60s"),
        expression(wake, "90s", **{"{}": 0}),
        expression(own, "60s", **{"{}": 0}),
    ]
    missed["promql_expr_test"] = [expression(wake, "91s"), expression(own, "91s", **{"{}": 0})]
    several["promql_expr_test"] = [
        expression(f'{asked}{{model="chat"}}', "60s"),
        # Two series: KEDA takes one, and gives up.
        expression(
            f'{asked}{{model_name="chat"}}',
            "60s",
            **{f'{asked}{{{labels},pod="a"}}': 3, f'{asked}{{{labels},pod="b"}}': 4},
        ),
        # Only the other model is asked anything, and the query wakes this one.
        expression(wake, "60s", **{"{}": 1}),
        expression(own, "60s", **{"{}": 7}),
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "30s", "tests": [first, missed, several]}))
    run("test", "rules", str(file))


def test_triggers_are_a_list_in_the_template_and_a_map_in_the_schema(template: HelmTemplate) -> None:
    """So that Helm, which checks values against the schema at install, takes neither."""
    schema = json.loads((Path(CHART) / "values.schema.json").read_text(encoding="utf-8"))
    spec = schema["properties"]["servingEngineSpec"]["properties"]["modelSpec"]["items"]
    assert spec["properties"]["keda"]["properties"]["triggers"]["type"] == "object"
    trigger = {"type": "prometheus", "metadata": {"serverAddress": "http://p:9090", "query": "up", "threshold": "1"}}
    (scaled,) = kinds(naive(template, keda={"enabled": True, "triggers": trigger}), "ScaledObject")
    assert not isinstance(scaled["spec"]["triggers"], list)
    refused(model_values(keda={"enabled": True, "triggers": [trigger]}), "set scaling")


def test_the_default_cooldown_is_shorter_than_the_time_to_start(template: HelmTemplate) -> None:
    made = naive(template, keda={"enabled": True, "minReplicaCount": 0})
    probe = container(made, DEPLOYMENT)["startupProbe"]
    start = probe["initialDelaySeconds"] + probe["periodSeconds"] * probe["failureThreshold"]
    assert "cooldownPeriod" not in kinds(made, "ScaledObject")[0]["spec"]
    keda_default = 300
    assert start > keda_default
    with pytest.raises(ValueError, match="would be taken away"):
        replace(SCALING, cooldown_seconds=SCALING.startup_budget_seconds - 1)


def test_ray_even_disabled_keeps_the_chart_from_scaling(template: HelmTemplate) -> None:
    """Which is why ours has it: the ScaledObject is our own."""
    assert kinds(naive(template, keda={"enabled": True}), "ScaledObject")
    assert kinds(naive(template, keda={"enabled": True}, raySpec={"enabled": False}), "ScaledObject") == []


def test_only_with_keda_the_number_of_replicas_is_left_out(template: HelmTemplate) -> None:
    assert one(naive(template), "Deployment", DEPLOYMENT)["spec"]["replicas"] == 2
    assert "replicas" not in one(ours(template), "Deployment", OURS)["spec"]


def test_a_disabled_model_leaves_a_service_a_claim_and_a_scaled_object_without_a_target(template: HelmTemplate) -> None:
    made = naive(template, enabled=False, pvcStorage="1Gi", keda={"enabled": True})
    assert [item for item in kinds(made, "Deployment") if item["metadata"]["name"] == DEPLOYMENT] == []
    one(made, "Service", "naive-one-engine-service")
    one(made, "PersistentVolumeClaim", "naive-one-storage-claim")
    (scaled,) = kinds(made, "ScaledObject")
    assert scaled["spec"]["scaleTargetRef"]["name"] == DEPLOYMENT
    refused(model_values(enabled=False), "Remove the model")


# --- what the templates cannot render


def test_a_shared_claim_alone_is_invalid_yaml(template: HelmTemplate) -> None:
    shared = {"sharedPvcStorage": {"enabled": True, "size": "1Gi"}}
    with pytest.raises(TemplateError, match="YAML"):
        naive(template, shared)
    refused(shared, "invalid YAML")
    assert ours(template, extra=shared)


def test_lmcache_without_vllm_config_stops_the_template(template: HelmTemplate) -> None:
    with pytest.raises(TemplateError, match="vllmConfig"):
        naive(template, vllmConfig=None, lmcacheConfig={"enabled": True})
    refused(model_values(vllmConfig=None, lmcacheConfig={"enabled": True}), "needs vllmConfig")
    assert ours(template, extra=model_values(lmcacheConfig={"enabled": True}))


def test_a_model_without_a_name_for_yaml_becomes_a_truth_value(template: HelmTemplate) -> None:
    labels = one(naive(template, name="on"), "Deployment", "naive-on-deployment-vllm")["metadata"]["labels"]
    assert labels["model"] is True
    assert one(ours(template), "Deployment", OURS)["metadata"]["labels"]["model"] == "engine"


# --- what the chart does in silence


def test_unknown_keys_do_nothing(template: HelmTemplate) -> None:
    made = naive(
        template,
        {
            "servingEngineSpec": {"nodeSelector": {"gpu": "l4"}},
            "routerSpec": {"tolerations": [{"operator": "Exists"}], "nodeSelector": {"gpu": "l4"}},
        },
        terminationGracePeriodSeconds=300,
        lifecycle={"preStop": {"sleep": {"seconds": 5}}},
        replicaCout=3,
    )
    text = json.dumps([item for item in made if item["kind"] != "CustomResourceDefinition"])
    for word in ('"l4"', "terminationGracePeriodSeconds", "preStop", "tolerations", "replicaCout"):
        assert word not in text
    refused({"servingEngineSpec": {"nodeSelector": {"gpu": "l4"}}}, "in silence")
    refused(model_values(terminationGracePeriodSeconds=300), "in silence")
    refused(model_values(replicaCout=3), "in silence")
    affinity = pod(ours(template))["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert affinity["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == ["l4"]


def test_discovery_selects_the_same_in_every_release(template: HelmTemplate) -> None:
    arguments = container(naive(template), "naive-deployment-router")["args"]
    assert arguments[arguments.index("--k8s-label-selector") + 1] == "environment=test,release=test"
    selectors = [
        one(ours(template, context=platform(labels=EnvironmentLabels(name))), "Deployment", OURS)["spec"]["selector"]
        for name in ("blue", "green")
    ]
    assert selectors[0] != selectors[1]


def test_nothing_drains_and_nothing_spreads(template: HelmTemplate) -> None:
    """No value of the chart's sets them: ours come by a patch of the Deployment (unit tests of the stack)."""
    made = pod(naive(template), DEPLOYMENT)
    assert {"terminationGracePeriodSeconds", "topologySpreadConstraints"} & set(made) == set()
    assert "lifecycle" not in made["containers"][0]


def test_a_rollout_waits_for_as_many_spare_gpus_as_there_are(template: HelmTemplate) -> None:
    rolling = one(naive(template), "Deployment", DEPLOYMENT)["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": "100%", "maxUnavailable": 0}
    rolling = one(ours(template), "Deployment", OURS)["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxSurge": 0, "maxUnavailable": 1}


def test_replicas_share_one_claim_that_one_node_may_mount(template: HelmTemplate) -> None:
    made = naive(template, pvcStorage="1Gi")
    claim = one(made, "PersistentVolumeClaim", "naive-one-storage-claim")
    assert (claim["spec"]["accessModes"], MODEL["replicaCount"]) == (["ReadWriteOnce"], 2)
    assert kinds(ours(template), "PersistentVolumeClaim") == []
    shared = ours(template, context=platform(weights_claim="weights"))
    assert {"name": "weights", "persistentVolumeClaim": {"claimName": "weights"}} in pod(shared)["volumes"]


def test_the_charts_disaggregation_opens_the_node(template: HelmTemplate) -> None:
    made = pod(naive(template, lmcacheConfig={"enabled": True, "enablePD": True, "nixlRole": "sender"}), DEPLOYMENT)
    assert (made["hostIPC"], made["hostPID"]) == (True, True)
    topology = Disaggregated(prefill=replace(SCALING, min_replicas=1), decode=replace(SCALING, min_replicas=1))
    workers = ours(template, replace(CHAT, topology=topology))
    assert [item["metadata"]["name"] for item in kinds(workers, "Deployment")] == [
        "chat-prefill-deployment-vllm",
        "chat-decode-deployment-vllm",
    ]
    for item in kinds(workers, "Deployment"):
        assert {"hostIPC", "hostPID", "hostNetwork"} & set(item["spec"]["template"]["spec"]) == set()
        assert item["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    refused(model_values(lmcacheConfig={"enabled": True, "enablePD": True}), "topology")


def test_the_charts_router_is_there_unless_refused(template: HelmTemplate) -> None:
    """Its image floats, its memory ends at 1000 MiB (and grows), and it answers 503 at zero: ours is another."""
    router = container(naive(template), "naive-deployment-router")
    assert router["image"].endswith(":latest")
    assert router["resources"]["limits"] == {"memory": "1000Mi"}
    assert [item["metadata"]["name"] for item in kinds(ours(template), "Deployment")] == [OURS]
    refused({"routerSpec": {"enableRouter": True}}, "lmcache/lmstack-router:latest")


def test_images_are_pulled_always_and_need_a_runtime_class_that_few_have(template: HelmTemplate) -> None:
    made = pod(naive(template), DEPLOYMENT)
    assert (made["containers"][0]["imagePullPolicy"], made["runtimeClassName"]) == ("Always", "nvidia")
    made = pod(ours(template))
    assert made["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert "runtimeClassName" not in made
    assert ":latest" not in json.dumps(kinds(ours(template), "Deployment"))


def test_a_probe_delay_of_zero_becomes_fifteen_seconds(template: HelmTemplate) -> None:
    probe = {"initialDelaySeconds": 0, "periodSeconds": 1, "failureThreshold": 600}
    made = container(naive(template, {"servingEngineSpec": {"startupProbe": probe}}), DEPLOYMENT)
    assert made["startupProbe"]["initialDelaySeconds"] == 15
    assert container(ours(template))["startupProbe"]["initialDelaySeconds"] == 1
    refused({"servingEngineSpec": {"startupProbe": probe}}, "greater than or equal to 1")


def test_engines_listen_on_every_address_unless_told_again(template: HelmTemplate) -> None:
    command = container(naive(template), DEPLOYMENT)["command"]
    assert command[command.index("--host") + 1] == "0.0.0.0"  # noqa: S104
    command = container(ours(template))["command"]
    assert command.index("--host=$(POD_IP)") > command.index("--host")


def test_a_long_name_makes_a_host_name_that_is_too_long(template: HelmTemplate) -> None:
    name = "m" * 40
    long = template(name, {"servingEngineSpec": {"modelSpec": [{**MODEL, "name": name}]}})
    assert len(pod(long, f"{name}-{name}-deployment-vllm")["hostname"]) > LONGEST_HOST_NAME
    made = pod(ours(template, replace(CHAT, name=name)), f"{name}-engine-deployment-vllm")
    assert len(made["hostname"]) <= LONGEST_HOST_NAME


def test_secrets_in_plain_text_go_into_the_release(template: HelmTemplate) -> None:
    made = naive(template, {"servingEngineSpec": {"vllmApiKey": "sk-plain"}})
    assert "sk-plain" in json.dumps(kinds(made, "Secret")) or "c2stcGxhaW4=" in json.dumps(kinds(made, "Secret"))
    refused({"servingEngineSpec": {"vllmApiKey": "sk-plain"}}, "must name a Secret")


def test_adapters_get_a_floating_sidecar_with_a_claim_only(template: HelmTemplate) -> None:
    made = pod(naive(template, enableLoRA=True, pvcStorage="1Gi"), DEPLOYMENT)
    assert made["containers"][1]["image"].endswith(":latest")
    lora = LoraArgs(adapters=(LoraAdapter(name="sql", source="a/sql"),), slots=1, rank=16)
    made = pod(ours(template, replace(CHAT, engine=replace(CHAT.engine, lora=lora))))
    assert len(made["containers"]) == 1


def test_a_disk_for_keys_and_values_has_no_place(template: HelmTemplate) -> None:
    """LMCache writes to a disk if it is told where; the chart tells it how much alone."""
    naive_variables = variables(
        naive(template, lmcacheConfig={"enabled": True, "diskOffloadingBufferSize": "20"}), DEPLOYMENT
    )
    assert naive_variables["LMCACHE_MAX_LOCAL_DISK_SIZE"] == "20"
    assert "LMCACHE_LOCAL_DISK" not in naive_variables
    refused(model_values(lmcacheConfig={"enabled": True, "diskOffloadingBufferSize": "20"}), "and not where")
    offload = KvOffloadArgs(backend="lmcache", cpu_gib=8, disk_gib=20)
    made = ours(template, replace(CHAT, engine=replace(CHAT.engine, kv_offload=offload)))
    assert variables(made)["LMCACHE_LOCAL_DISK"] == "file:///kv-cache/"
    assert variables(made)["LMCACHE_MAX_LOCAL_DISK_SIZE"] == "20"
    assert {"name": "kv-cache", "mountPath": "/kv-cache"} in container(made)["volumeMounts"]
    assert {"name": "kv-cache", "emptyDir": {"sizeLimit": "22Gi"}} in pod(made)["volumes"]


def test_less_than_one_gib_of_memory_for_keys_and_values_is_none(template: HelmTemplate) -> None:
    made = variables(naive(template, lmcacheConfig={"enabled": True, "cpuOffloadingBufferSize": "0.5"}), DEPLOYMENT)
    assert "LMCACHE_LOCAL_CPU" not in made
    refused(model_values(lmcacheConfig={"enabled": True, "cpuOffloadingBufferSize": "0.5"}), "whole GiB")


def test_sharing_between_engines_gets_addresses_and_stays_off(template: HelmTemplate) -> None:
    """LMCache 0.5.6 v1/config.py: p2p_host counts with enable_p2p, which also wants p2p_lookup_ports."""
    controller = {
        "enableController": True,
        "controllerPort": "9000",
        "controllerReplyPort": "9001",
        "workerPorts": "8001",
    }
    given = {"enabled": True, **controller, "p2pHost": "localhost", "p2pInitPorts": "8200"}
    made = variables(naive(template, lmcacheConfig=given), DEPLOYMENT)
    assert made["LMCACHE_P2P_HOST"] == "localhost"
    assert {"LMCACHE_ENABLE_P2P", "LMCACHE_P2P_LOOKUP_PORTS"} & set(made) == set()
    refused(model_values(lmcacheConfig=given), "does not switch it on")
    # Its controller is in a router that is there by default in the chart's own values, and off in ours.
    refused(model_values(lmcacheConfig={"enabled": True, **controller}), "part of the chart's router")


def test_a_cache_server_takes_all_memory_and_replicas_of_it_share_nothing(template: HelmTemplate) -> None:
    """LMCache 0.5.6 has no eviction there: v1/server/storage_backend/local_backend.py."""
    server = {"enabled": True, "replicaCount": 3, "image": {"repository": "lmcache/vllm-openai", "tag": "v0.5.6"}}
    made = naive(template, {"cacheserverSpec": server}, lmcacheConfig={"enabled": True})
    assert variables(made, DEPLOYMENT)["LMCACHE_REMOTE_URL"] == "lm://naive-cache-server-service:80"
    assert one(made, "Deployment", "naive-deployment-cache-server")["spec"]["replicas"] == 3
    assert "volumes" not in pod(made, "naive-deployment-cache-server")
    assert "resources" not in container(made, "naive-deployment-cache-server")
    refused({"cacheserverSpec": server}, "would not be found again")
    refused({"cacheserverSpec": {**server, "replicaCount": 1}}, "limits.memory")
    offload = KvOffloadArgs(
        backend="lmcache", cpu_gib=8, server=KvCacheServerArgs(image="lmcache/vllm-openai:v0.5.6", memory_gib=64)
    )
    made = ours(template, replace(CHAT, engine=replace(CHAT.engine, kv_offload=offload)))
    service = one(made, "Service", "chat-cache-server-service")
    assert (
        variables(made)["LMCACHE_REMOTE_URL"] == f"lm://chat-cache-server-service:{service['spec']['ports'][0]['port']}"
    )
    assert one(made, "Deployment", "chat-deployment-cache-server")["spec"]["replicas"] == 1
    assert container(made, "chat-deployment-cache-server")["resources"]["limits"] == {"memory": "64Gi"}


def test_ray_takes_the_deployment_away(template: HelmTemplate) -> None:
    made = naive(
        template,
        raySpec={"enabled": True, "headNode": {"requestCPU": 1, "requestMemory": "1Gi"}},
        keda={"enabled": True},
    )
    assert [item for item in kinds(made, "Deployment") if item["metadata"]["name"] == DEPLOYMENT] == []
    assert kinds(made, "RayCluster")
    assert kinds(made, "ScaledObject") == []
    refused(model_values(raySpec={"enabled": True}), "RayCluster")


def test_every_value_that_is_ours_says_why() -> None:
    assert all(reason for reason in OWNED.values())
