"""Rules over series that were recorded from the embedded cluster under load and down to zero, held against Python.

Kubernetes, KEDA, the interceptor and Prometheus were real; GPUs and engines were simulated. What a query shows is
reckoned anew by `promql_by_hand`, and cost also from what the clients counted, whom nothing of the platform told
anything. Does not prove that the recording is of today's program: `python -m local.recording record` makes a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from components.observability.alerts.faults import fault_alerts
from components.observability.alerts.slo import burn_alerts
from components.observability.objects import AlertRule
from local.recording.__main__ import RECORDED, SERIES
from local.recording.environment import CONFIG, NAMESPACE, facts
from local.recording.queries import Choices, panel_queries, raw_series
from local.recording.series import Recording, labels_of, notation
from planner.cost import INPUT_WEIGHT
from tests.unit.components.promql_by_hand import Hand, total
from tests.unit.components.promtool import NOT_BUILT, PROMTOOL, expression, parts, promtool, series

pytestmark = [pytest.mark.unit, pytest.mark.skipif(not PROMTOOL.exists(), reason=NOT_BUILT)]

MODELS = tuple(model["name"] for model in CONFIG["model_deployments"])
QUANTILES = (0.5, 0.95, 0.99)
HISTOGRAMS = {
    "time_to_first_token_seconds": "vllm:time_to_first_token_seconds",
    "inter_token_latency_seconds": "vllm:inter_token_latency_seconds",
    "time_per_output_token_seconds": "vllm:request_time_per_output_token_seconds",
    "request_duration_seconds": "vllm:e2e_request_latency_seconds",
    "queue_time_seconds": "vllm:request_queue_time_seconds",
    "prompt_length_tokens": "vllm:request_prompt_tokens",
    "output_length_tokens": "vllm:request_generation_tokens",
}


@cache
def recording() -> Recording:
    return Recording.load(RECORDED / SERIES)


@cache
def hand() -> Hand:
    return Hand(recording(), MODELS)


def moment(seconds: float) -> int:
    """Index of the last sample at or before a time of the run."""
    return int(seconds // recording().step_seconds)


def moments() -> dict[str, int]:
    began, ended = (recording().about[f"load_{edge}_s"] for edge in ("began", "ended"))
    return {
        "busy": moment(began + 0.5 * (ended - began)),
        "late": moment(ended - 10),
        "draining": moment(ended + 50),
        "gone": recording().count - 1,
    }


@dataclass(frozen=True)
class Wanted:
    """What a recorded rule should say at a time: a value, or None for no answer."""

    record: str
    labels: dict[str, str]
    value: float | None

    def expectation(self, index: int, tolerance: float) -> dict[str, Any]:
        selected = {"namespace": NAMESPACE, **self.labels}
        selector = ",".join(f'{key}="{value}"' for key, value in selected.items())
        query = f"sum({self.record}{{{selector}}})"
        at = f"{index * recording().step_seconds}s"
        if self.value is None:
            return {"expr": query, "eval_time": at, "exp_samples": []}
        off = f"{query} / {self.value!r} - 1" if self.value else query
        return expression(f"abs({off}) <= bool {tolerance!r}", at, **{"{}": 1})


def by_model(model: str, index: int) -> Iterator[Wanted]:
    """Requests, tokens, latencies and queues of one model."""
    of = {"inference_model": model}
    yield Wanted("inference:requests:rate5m", of, hand().rates("vllm:request_success_total", index, 300, **of))
    for kind in ("prompt", "generation"):
        rate = hand().rates(f"vllm:{kind}_tokens_total", index, 300, **of)
        yield Wanted(f"inference:{kind}_tokens:rate5m", of, rate)
    for record, name in HISTOGRAMS.items():
        for quantile in QUANTILES:
            found = hand().quantile(quantile, name, index, 300, **of)
            if found is not None:
                yield Wanted(f"inference:{record}:quantile_rate5m", {**of, "quantile": str(quantile)}, found)
        sums, counts = (hand().rates(f"{name}_{part}", index, 300, **of) for part in ("sum", "count"))
        if sums is not None and counts:
            yield Wanted(f"inference:{record}:mean_rate5m", of, sums / counts)
    for state in ("running", "waiting"):
        yield Wanted(
            f"inference:requests_{state}:sum", of, total(hand().values(f"vllm:num_requests_{state}", index, **of))
        )
    cache_usage = hand().values("vllm:kv_cache_usage_perc", index, **of)
    yield Wanted("inference:kv_cache_usage:max", of, max(cache_usage, default=None))
    yield Wanted("inference:engines:count", of, hand().engines(model, index) or None)
    bad = hand().rates("vllm:time_to_first_token_seconds_bucket", index, 300, le="0.5", **of)
    every = hand().rates("vllm:time_to_first_token_seconds_count", index, 300, **of)
    if bad is not None and every:
        share = round(1 - bad / every, 12)
        yield Wanted("inference:bad_requests:ratio_rate5m", {**of, "slo": "time-to-first-token"}, share)


def of_fleet(index: int) -> Iterator[Wanted]:
    """All models together; the quantiles are those of all requests."""
    yield Wanted("inference:fleet_requests:rate5m", {}, hand().rates("vllm:request_success_total", index, 300))
    for record in ("time_to_first_token_seconds", "inter_token_latency_seconds", "request_duration_seconds"):
        for quantile in QUANTILES:
            found = hand().quantile(quantile, HISTOGRAMS[record], index, 300)
            if found is not None:
                yield Wanted(f"inference:fleet_{record}:quantile_rate5m", {"quantile": str(quantile)}, found)


def of_money(index: int) -> Iterator[Wanted]:
    """Dollars per hour: what engines hold, what nodes cost, what nobody uses, what is saved."""
    spent: dict[str, float] = {}
    for model in facts().models:
        assert model.price_per_replica_hour is not None
        engines = hand().engines(model.name, index)
        cost = engines * model.price_per_replica_hour
        spent[model.node_pool] = spent.get(model.node_pool, 0.0) + cost
        of = {"inference_model": model.name}
        yield Wanted("inference:model_cost_dollars_per_hour", of, cost)
        saved = 0.0 if engines else model.price_per_replica_hour
        yield Wanted("inference:scale_to_zero_savings_dollars_per_hour", of, saved)
    for pool in facts().pools:
        assert pool.price_per_node_hour is not None
        nodes = len(hand().values("kube_node_labels", index, label_inference_platform_node_pool=pool.name))
        cost = nodes * pool.price_per_node_hour
        idle = max(0.0, cost - spent.get(pool.name, 0.0))
        yield Wanted("inference:pool_cost_dollars_per_hour", {"node_pool": pool.name}, cost)
        yield Wanted("inference:idle_cost_dollars_per_hour", {"node_pool": pool.name}, round(idle, 12))


def test_the_recording_has_what_the_rules_read() -> None:
    """A rule that reads something new needs a new recording."""
    there = {name.partition("{")[0] for name in recording().series}
    assert set(raw_series(facts())) <= there


def figures() -> Iterator[dict[str, Any]]:
    """Every figure, busy and idle, by hand, to nine digits."""
    compared = 0
    for index in moments().values():
        wanted = [*of_fleet(index), *of_money(index)]
        wanted += [item for model in MODELS for item in by_model(model, index)]
        compared += sum(1 for item in wanted if item.value is not None)
        yield from (item.expectation(index, 1e-9) for item in wanted)
    assert compared > 300


def dollars(model: str) -> float:
    """By hand: samples in which each of its engines was on a node, times the plan's price of its share of the GPU."""
    (price,) = (item.price_per_replica_hour for item in facts().models if item.name == model)
    assert price is not None
    seconds = sum(hand().engines(model, index) for index in range(recording().count)) * recording().step_seconds
    return seconds * price / 3600


def prices_of_tokens() -> Iterator[dict[str, Any]]:
    """Dollars over the clients' tokens, within 1 %: whole GPUs, two models on one time-sliced GPU, a MIG slice."""
    last = recording().count - 1
    for model in MODELS:
        counted = recording().about["clients"][model]
        prompt, output = counted["prompt_tokens"], counted["output_tokens"]
        weighted = output + INPUT_WEIGHT * prompt
        for tokens, billed, weight in (
            ("all", prompt + output, 1.0),
            ("output", weighted, 1.0),
            ("input", weighted, INPUT_WEIGHT),
        ):
            want = dollars(model) * 1e6 * weight / billed
            of = {"inference_model": model, "tokens": tokens}
            wanted = Wanted("inference:cost_dollars_per_million_tokens:1h", of, want)
            yield wanted.expectation(last, 0.01)


def test_two_models_share_one_gpu() -> None:
    """Both engines of the sliced pool were on its one GPU at once, each at half its price."""
    pools = {pool.name: pool.price_per_node_hour for pool in facts().pools}
    shares = {"rewrite": ("sliced", 2), "classify": ("sliced", 2), "label": ("mig", 56), "chat": ("whole", 4)}
    for model in facts().models:
        if model.name in shares:
            pool, parts_of_node = shares[model.name]
            node = pools[pool]
            assert node is not None
            assert model.price_per_replica_hour == pytest.approx(node / parts_of_node, abs=5e-5)
    index = moments()["busy"]
    nodes = {
        labels["node"]
        for key, values in recording().of("kube_pod_info").items()
        if values[index] is not None
        for labels in [labels_of(key)]
        if labels["pod"].startswith(("rewrite-engine-", "classify-engine-"))
    }
    assert nodes == {"sliced-0"}
    assert hand().engines("rewrite", index) == hand().engines("classify", index) == 1


def something_to_look_at() -> Iterator[dict[str, Any]]:
    """Under load no panel is empty, and no alert's query looks at nothing."""
    index = moments()["late"]
    at = f"{index * recording().step_seconds}s"
    engines = recording().of("kube_pod_info")
    node = next(labels_of(key)["node"] for key in engines if labels_of(key)["pod"].startswith("chat-engine-"))
    choices = Choices(namespace=NAMESPACE, model="chat", node=node)
    queries = {choices.fill(query.expr) for _, _, query in panel_queries()}
    alerts = [*burn_alerts(facts()).rules, *fault_alerts(facts()).rules]
    queries |= {expr for rule in alerts if isinstance(rule, AlertRule) for expr in rule.watches}
    assert len(queries) > 100
    yield from (expression(f"count({query}) > bool 0", at, **{"{}": 1}) for query in sorted(queries))


def nothing_left() -> Iterator[dict[str, Any]]:
    """Five minutes after the last answer nothing runs, nothing costs but the nodes."""
    names = ("fleet_requests:rate5m", "fleet_generation_tokens:rate5m", "engines:count", "gpu_utilisation:avg")
    quiet = [f"sum(inference:{name}) or vector(0)" for name in (*names, "model_cost_dollars_per_hour")]
    at = f"{(recording().count - 1) * recording().step_seconds}s"
    yield from (expression(query, at, **{"{}": 0}) for query in quiet)


def test_rules_panels_and_alerts_over_recorded_series(tmp_path: Path) -> None:
    """One run of promtool, since evaluating all rules over all series takes seconds; it names what is not so."""
    test = {
        "interval": f"{recording().step_seconds}s",
        "input_series": series(**{name: notation(values) for name, values in recording().series.items()}),
        "promql_expr_test": [*figures(), *prices_of_tokens(), *something_to_look_at(), *nothing_left()],
    }
    promtool(tmp_path, parts(facts()), test)


def test_no_histogram_of_the_engines_runs_backwards() -> None:
    """Times are not negative: a sum that falls is a restart to Prometheus, and rates are then anything."""
    sums = [values for name, values in recording().series.items() if name.startswith("vllm:") and "_sum{" in name]
    assert len(sums) > 30
    for values in sums:
        there = [value for value in values if value is not None]
        assert min(there) >= 0
        assert there == sorted(there)
