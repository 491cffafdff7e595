"""Rules and alerts in Prometheus' own test tool: each alert is made to fire and to resolve, each cost reckoned anew.

Skipped where promtool is not built (`make tools`). Series are made up; recorded ones are in
test_recorded_series.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.labels import EnvironmentLabels
from components.observability.alerts.faults import (
    GPU_BROKEN_CONDITIONS,
    RECLAIM_CONDITIONS,
    RECLAIM_TAINTS,
    fault_alerts,
)
from components.observability.alerts.slo import burn_alerts, ratio_rules
from components.observability.objects import AlertRule, EnvironmentFacts, ModelFacts, PoolFacts, rule_file
from local.recording.series import labels_of
from stacks.config import load_environment
from stacks.monitoring import environment_facts
from stacks.plan import plan_config
from tests.unit.components.promtool import NOT_BUILT, PROMTOOL, expression, parts, promtool, run, series

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not PROMTOOL.exists(), reason=NOT_BUILT),
]

FACTS = EnvironmentFacts(
    namespace="inference-dev",
    models=[ModelFacts(name="chat", node_pool="l4", price_per_replica_hour=1.2, startup_budget_seconds=600)],
    pools=[PoolFacts(name="l4", price_per_node_hour=4.8)],
)
ENGINE = 'namespace="inference-dev",pod="chat-engine-0"'
OF_ENGINE = f'{ENGINE},inference_model="chat",inference_component="engine"'
POD_LABELS = (
    f'kube_pod_labels{{{ENGINE},label_inference_platform_component="engine",label_inference_platform_model="chat"}}'
)


@dataclass(frozen=True)
class Fault:
    """Series of a fault that comes and goes, one sample per minute, and when its alert fires and has resolved."""

    series: dict[str, str]
    fires: str
    resolved: str


def burning(slo: str, short: str, long: str, bad: float) -> dict[str, str]:
    """Half an hour in which this share of the requests is bad in both windows, then the short one is good again."""
    labels = f'{{namespace="inference-dev",inference_model="chat",slo="{slo}"}}'
    return {
        f"inference:bad_requests:ratio_rate{short}{labels}": f"0x5 {bad}x25 0x30",
        f"inference:bad_requests:ratio_rate{long}{labels}": f"{bad}x60",
    }


SPOT = 'kube_node_labels{node="l4-0",label_inference_platform_capacity_type="spot"}'

CONDITION = "kube_node_status_condition"

FAULTS = {
    # Budgets are 5, 5 and 0.1 %; a page at 14.4 of them in an hour, a ticket at 1 in three days.
    "ModelFirstTokenLateFast": Fault(burning("time-to-first-token", "5m", "1h", 0.73), "10m", "40m"),
    "ModelFirstTokenLate": Fault(burning("time-to-first-token", "6h", "3d", 0.051), "10m", "40m"),
    "ModelTokensSlowFast": Fault(burning("time-per-output-token", "30m", "6h", 0.31), "10m", "40m"),
    "ModelTokensSlow": Fault(burning("time-per-output-token", "2h", "1d", 0.16), "10m", "40m"),
    "ModelErrorsFast": Fault(burning("errors", "5m", "1h", 0.0145), "10m", "40m"),
    "ModelErrors": Fault(burning("errors", "6h", "3d", 0.0011), "10m", "40m"),
    "ModelQueueLong": Fault({f"vllm:num_requests_waiting{{{OF_ENGINE}}}": "20x30 0x30"}, "10m", "40m"),
    "ModelKvCacheFull": Fault({f"vllm:kv_cache_usage_perc{{{OF_ENGINE}}}": "0.95x30 0.5x30"}, "10m", "40m"),
    "ModelGpuUnderused": Fault(
        {f"DCGM_FI_DEV_GPU_UTIL{{{ENGINE}}}": "20x90 70x30", POD_LABELS: "1x120"}, "70m", "100m"
    ),
    "ModelGpuSaturated": Fault(
        {f"DCGM_FI_DEV_GPU_UTIL{{{ENGINE}}}": "95x90 70x30", POD_LABELS: "1x120"}, "70m", "100m"
    ),
    "ModelWakesSlowly": Fault(
        {
            f'kube_pod_info{{{ENGINE},node="l4-0"}}': "1x60",
            f'kube_pod_status_ready{{{ENGINE},condition="true"}}': "0x30 1x30",
            POD_LABELS: "1x60",
        },
        "12m",
        "35m",
    ),
    "EngineCrashLoop": Fault(
        {f"kube_pod_container_status_restarts_total{{{ENGINE}}}": "0+1x10 10x50", POD_LABELS: "1x60"}, "10m", "40m"
    ),
    "GpuXidError": Fault({f'DCGM_FI_DEV_XID_ERRORS{{{ENGINE},gpu="0",node="l4-0"}}': "31x5 79x10 0x20"}, "10m", "20m"),
    "KedaErrors": Fault(
        {'keda_scaled_object_errors_total{namespace="inference-dev",scaledObject="chat"}': "0+1x20 20x30"}, "10m", "40m"
    ),
    "SpotNodeReclaimed": Fault(
        {SPOT: "1x30", 'kube_node_spec_taint{node="l4-0",key="karpenter.sh/disrupted"}': "_x5 1x10 stale"}, "10m", "20m"
    ),
    "GpuNodeBroken": Fault(
        {
            f'{CONDITION}{{node="l4-0",condition="AcceleratedHardwareReady",status="false"}}': "0x5 1x10 0x20",
            f'{CONDITION}{{node="l4-0",condition="AcceleratedHardwareReady",status="true"}}': "1x5 0x10 1x20",
        },
        "10m",
        "20m",
    ),
    "ModelCannotBePlaced": Fault(
        {f'kube_pod_status_scheduled{{{ENGINE},condition="false"}}': "1x20 0x20", POD_LABELS: "1x40"}, "18m", "25m"
    ),
}


def test_every_alert_has_a_fault() -> None:
    names = {
        rule.alert for rule in (*burn_alerts(FACTS).rules, *fault_alerts(FACTS).rules) if isinstance(rule, AlertRule)
    }
    assert names == set(FAULTS)


@pytest.mark.parametrize("models", [(), ("chat",), ("chat", "code")])
def test_promtool_finds_nothing_wrong(tmp_path: Path, models: tuple[str, ...]) -> None:
    """Syntax, and no two rules that would record or alert under the same name and labels."""
    facts = replace(FACTS, models=[replace(FACTS.models[0], name=name) for name in models])
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump(rule_file(parts(facts), facts.runbooks)))
    run("check", "rules", "--lint=all", "--lint-fatal", str(rules))


@pytest.mark.parametrize("name", FAULTS)
def test_an_alert_fires_and_resolves(tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}})'
    expectations = [
        expression(f"{firing} or vector(0)", "0m", **{"{}": 0}),
        expression(firing, fault.fires, **{"{}": 1}),
        expression(f"{firing} or vector(0)", fault.resolved, **{"{}": 0}),
    ]
    slo = any("bad_requests" in series for series in fault.series)
    groups = [burn_alerts(FACTS)] if slo else parts(FACTS, "serving", "gpu", "faults")
    test = {"interval": "1m", "input_series": series(**fault.series), "promql_expr_test": expectations}
    promtool(tmp_path, groups, test)


@pytest.mark.parametrize("share", [0.71, 0.049])
def test_below_the_rate_nobody_is_woken(tmp_path: Path, share: float) -> None:
    """Just below 14.4 budgets in an hour, or below one in three days."""
    short, long = ("5m", "1h") if share > 0.1 else ("6h", "3d")
    quiet = [expression("count(ALERTS) or vector(0)", "20m", **{"{}": 0})]
    given = series(**burning("time-to-first-token", short, long, share))
    promtool(tmp_path, [burn_alerts(FACTS)], {"interval": "1m", "input_series": given, "promql_expr_test": quiet})


def test_which_requests_are_bad(tmp_path: Path) -> None:
    """One first token of four is late, half of the answers are slow, and one request of a hundred fails."""
    front = 'interceptor_request_count_total{route_namespace="inference-dev",route_name="chat"'
    given = {
        f'vllm:time_to_first_token_seconds_bucket{{{OF_ENGINE},le="0.5"}}': "0+45x20",
        f"vllm:time_to_first_token_seconds_count{{{OF_ENGINE}}}": "0+60x20",
        f'vllm:request_time_per_output_token_seconds_bucket{{{OF_ENGINE},le="0.05"}}': "0+30x20",
        f"vllm:request_time_per_output_token_seconds_count{{{OF_ENGINE}}}": "0+60x20",
        f'{front},code="200"}}': "0+99x20",
        f'{front},code="503"}}': "0+1x20",
        # Another model's are not counted.
        'interceptor_request_count_total{route_namespace="inference-dev",route_name="code",code="500"}': "0+9x20",
    }
    labels = 'namespace="inference-dev",inference_model="chat"'
    expectations = [
        expression(
            f'round(inference:bad_requests:ratio_rate5m{{slo="{slo}"}}, 1e-6)',
            "15m",
            **{f'{{{labels},slo="{slo}"}}': value},
        )
        for slo, value in (("time-to-first-token", 0.25), ("time-per-output-token", 0.5), ("errors", 0.01))
    ]
    test = {"interval": "1m", "input_series": series(**given), "promql_expr_test": expectations}
    promtool(tmp_path, [ratio_rules(FACTS)], test)


def test_faults_of_programs_are_no_faults_of_gpus(tmp_path: Path) -> None:
    quiet = [expression('count(ALERTS{alertname="GpuXidError"}) or vector(0)', "10m", **{"{}": 0})]
    given = series(**{f'DCGM_FI_DEV_XID_ERRORS{{{ENGINE},gpu="0",node="l4-0"}}': "31x20"})
    promtool(tmp_path, parts(FACTS, "faults"), {"interval": "1m", "input_series": given, "promql_expr_test": quiet})


def environment(sharing: dict[str, Any], instance: str, *models: str) -> EnvironmentFacts:
    raw = {
        "cloud": "local",
        "node_pools": [{"name": "gpu", "instance_type": instance, "max_nodes": 2, "sharing": sharing}],
        "model_deployments": [
            {
                "name": name,
                "source": {"hugging_face": "Qwen/Qwen3-0.6B"},
                "engine": {"gpu_memory_utilization": 0.2 if sharing["mode"] == "time-slicing" else 0.85},
                "node_pool": "gpu",
            }
            for name in models
        ],
    }
    config = load_environment(raw, "dev")
    return environment_facts(config, plan_config(config, "dev"), EnvironmentLabels("dev"))


# Price of a node per hour and pods that share it: g6.12xlarge has 4 L4, p4de.24xlarge 8 A100 of 7 slices each.
SHARED: dict[str, tuple[dict[str, Any], str, int]] = {
    "whole": ({"mode": "none"}, "g6.12xlarge", 4),
    "time-slicing": ({"mode": "time-slicing", "replicas": 4}, "g6.12xlarge", 16),
    "mig": ({"mode": "mig", "profile": "1g.10gb"}, "p4de.24xlarge", 56),
}


@pytest.mark.parametrize("sharing", SHARED)
def test_cost_by_hand_with_shared_gpus_and_two_models(tmp_path: Path, sharing: str) -> None:
    """Two models on one node, three engines and one: each pays for its share of the GPUs, and the rest is idle."""
    mode, instance, shares = SHARED[sharing]
    facts = environment(mode, instance, "chat", "code")
    (pool,) = facts.pools
    assert pool.price_per_node_hour is not None
    share = round(pool.price_per_node_hour / shares, 4)  # the plan rounds to a hundredth of a cent
    given: dict[str, str] = {'kube_node_labels{node="gpu-0",label_inference_platform_node_pool="gpu"}': "1x60"}
    for model, pods in (("chat", 3), ("code", 1)):
        for index in range(pods):
            pod = f'namespace="inference-dev",pod="{model}-{index}"'
            given[f'kube_pod_info{{{pod},node="gpu-0"}}'] = "1x60"
            component, name = "label_inference_platform_component", "label_inference_platform_model"
            given[f'kube_pod_labels{{{pod},{component}="engine",{name}="{model}"}}'] = "1x60"
            of_pod = f'{pod},inference_model="{model}",inference_component="engine"'
            # One sample per 15 s: 150 output and 600 input tokens are 10 and 40 per second.
            given[f"vllm:generation_tokens_total{{{of_pod}}}"] = "0+150x240"
            given[f"vllm:prompt_tokens_total{{{of_pod}}}"] = "0+600x240"
    for name in given:
        if not name.startswith("vllm:"):
            given[name] = "1x240"
    at = "30m"

    def cost(model: str, value: float) -> dict[str, Any]:
        labels = f'{{namespace="inference-dev",inference_model="{model}"}}'
        return expression(
            f"round(sum by (namespace,inference_model) (inference:model_cost_dollars_per_hour{labels}), 1e-4)",
            at,
            **{labels: round(value, 4)},
        )

    def per_million(model: str, tokens: str, value: float) -> dict[str, Any]:
        labels = f'namespace="inference-dev",inference_model="{model}",tokens="{tokens}"'
        query = f"inference:cost_dollars_per_million_tokens:5m{{{labels}}}"
        # Within a tenth of a percent of the figure by hand.
        close = f"abs({query} / {value!r} - 1) < bool 0.001"
        return expression(close, at, **{f"{{{labels}}}": 1})

    # Cost and tokens both grow with the engines, so the price of a token is the same for both models.
    dollars_per_second = share / 3600
    idle = pool.price_per_node_hour - 4 * share
    expectations = [
        cost("chat", 3 * share),
        cost("code", share),
        expression("round(sum(inference:idle_cost_dollars_per_hour), 1e-4)", at, **{"{}": round(idle, 4)}),
        expression("sum(inference:scale_to_zero_savings_dollars_per_hour)", at, **{"{}": 0}),
        *(
            per_million(model, tokens, dollars_per_second / billed * 1e6 * weight)
            for model in ("chat", "code")
            for tokens, billed, weight in (("all", 50, 1), ("output", 10 + 0.25 * 40, 1), ("input", 20, 0.25))
        ),
    ]
    test = {"interval": "15s", "input_series": series(**given), "promql_expr_test": expectations}
    promtool(tmp_path, parts(facts, "serving", "cost"), test)


def test_each_clouds_way_to_say_that_a_node_goes_or_is_broken(tmp_path: Path) -> None:
    """A node for each taint and condition, told between minutes 5 and 15."""
    given: dict[str, str] = {}
    for index, taint in enumerate(RECLAIM_TAINTS):
        given[f'kube_node_spec_taint{{node="taint-{index}",key="{taint}"}}'] = "_x5 1x10 stale"
    for index, condition in enumerate(RECLAIM_CONDITIONS):
        given[f'{CONDITION}{{node="going-{index}",condition="{condition}",status="true"}}'] = "0x5 1x10 0x20"
    nodes = [labels_of(name)["node"] for name in given]
    given |= {SPOT.replace("l4-0", node): "1x30" for node in nodes}
    # The same on a node that is not spot is somebody's own doing.
    given['kube_node_labels{node="own-0",label_inference_platform_capacity_type="on-demand"}'] = "1x30"
    given['kube_node_spec_taint{node="own-0",key="node.kubernetes.io/unschedulable"}'] = "1x30"
    for index, condition in enumerate(GPU_BROKEN_CONDITIONS):
        given[f'{CONDITION}{{node="gpu-{index}",condition="{condition}",status="true"}}'] = "0x5 1x10 0x10"
    expectations = [
        expression(
            f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
            at,
            **{"{}": count if at == "10m" else 0},
        )
        for at in ("3m", "10m", "25m")
        for alert, count in (("SpotNodeReclaimed", len(nodes)), ("GpuNodeBroken", len(GPU_BROKEN_CONDITIONS)))
    ]
    test = {"interval": "1m", "input_series": series(**given), "promql_expr_test": expectations}
    promtool(tmp_path, parts(FACTS, "faults"), test)


ROUTER = 'up{namespace="inference-dev",inference_component="router",pod="router-0"}'


@pytest.mark.parametrize(
    ("tokens", "router", "billed"),
    [
        # A series begins at its first sample: to `rate` what came before was never there.
        ("_x40 6000x10 9000x60", "1x120", 9000),
        # Not scraped for ten minutes, or known for no longer than Prometheus itself: none of it is new.
        ("6000x20 stale _x40 6000x60", "1x120", 0),
        ("_x40 6000x80", "_x40 1x80", 0),
    ],
)
def test_tokens_before_the_first_scrape_are_billed(tmp_path: Path, tokens: str, router: str, billed: float) -> None:
    """Over half an hour of one sample every 15 s."""
    given = series(**{f"vllm:prompt_tokens_total{{{OF_ENGINE}}}": tokens, ROUTER: router})
    whole = "round(sum(sum_over_time(inference:billed_prompt_tokens:rate1m[20m])) * 15)"
    test = {
        "interval": "15s",
        "input_series": given,
        "promql_expr_test": [expression(whole, "25m", **{"{}": billed})],
    }
    promtool(tmp_path, parts(FACTS, "serving", "cost"), test)


def test_an_environment_at_zero_costs_its_nodes_and_saves_its_engines(tmp_path: Path) -> None:
    node = {'kube_node_labels{node="l4-0",label_inference_platform_node_pool="l4"}': "1x30"}
    expectations = [
        expression("sum(inference:model_cost_dollars_per_hour)", "20m", **{"{}": 0}),
        expression("sum(inference:idle_cost_dollars_per_hour)", "20m", **{"{}": 4.8}),
        expression("sum(inference:scale_to_zero_savings_dollars_per_hour)", "20m", **{"{}": 1.2}),
    ]
    groups = parts(FACTS, "serving", "cost")
    test = {"interval": "1m", "input_series": series(**node), "promql_expr_test": expectations}
    promtool(tmp_path, groups, test)
    none = [expression("sum(inference:pool_cost_dollars_per_hour)", "20m", **{"{}": 0})]
    promtool(tmp_path, groups, {"interval": "1m", "input_series": series(up="1x30"), "promql_expr_test": none})
