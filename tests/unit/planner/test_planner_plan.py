"""The plan: money, cold start, ranking, differences, page; and properties of random questions.

Not proven here: that a list price or a cold start is right today.
"""

from __future__ import annotations

import dataclasses
import html.parser
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.alternatives import nearest_ways_on
from planner.catalog import Gpu, Model, gpus, models
from planner.cold_start import cold_start
from planner.cost import (
    always_on_break_even_hours,
    break_even,
    per_million,
    scale_to_zero_savings,
    split,
)
from planner.difference import differences
from planner.latency import predict
from planner.page import page
from planner.placement import Target, parallel_choices, rank
from planner.plan import EnvironmentRequest, ModelPlan, ModelRequest, PoolRequest, plan_environment
from planner.prices import OwnPrices
from planner.quotas import Quota
from planner.sizing import DoesNotFitError, SizingError, budget, derive_engine_limits, kv_cache_tokens
from planner.traffic import TrafficError

pytestmark = pytest.mark.unit

LLAMA = models()["meta-llama/Llama-3.1-8B-Instruct"]
CHEAP = OwnPrices(on_demand={"g6.12xlarge": 1.0})
SEVENTY = "meta-llama/Llama-3.3-70B-Instruct"


def request(**changes: object) -> EnvironmentRequest:
    asked = EnvironmentRequest(
        name="prod",
        cloud="aws",
        pools=(
            PoolRequest(name="l4", instance_type="g6.12xlarge", min_nodes=1, max_nodes=4),
            PoolRequest(name="big", instance_type="p5.48xlarge", max_nodes=2),
        ),
        models=(
            ModelRequest(name="chat", model=LLAMA.key, pool="l4", max_model_len=8192),
            ModelRequest(name="smart", model=SEVENTY, pool="big", tensor_parallel=4),
            ModelRequest(name="own", model="me/unknown", pool="l4"),
        ),
    )
    return dataclasses.replace(asked, **changes)  # type: ignore[arg-type]


def test_a_plan_adds_up_and_round_trips() -> None:
    plan = plan_environment(request())
    assert (plan.hourly_min, plan.hourly_max) == (4.6016, round(4 * 4.6016 + 2 * 55.04, 4))
    assert json.loads(json.dumps(plan.to_json())) == plan.to_json()
    chat, smart, own = plan.models
    assert (chat.estimate, smart.estimate, own.estimate) == (True, False, True)
    assert own.notes == ("the model is not in the catalogue",)
    assert own.weights_gib is None
    assert smart.price_per_replica_hour == 27.52
    assert smart.break_even_tokens_per_day is not None
    assert smart.cold_start is not None
    stages = sum(smart.cold_start[f"{stage}_s"] for stage in ("node", "driver", "image", "weights", "engine"))
    assert smart.cold_start_s == pytest.approx(stages, abs=0.1)
    # $/M output tokens at 100 %: hourly / 3600 / tokens per second * 10^6, shared between input and output.
    assert smart.tokens_per_s is not None
    cost_in, cost_out = split(per_million(27.52, smart.tokens_per_s), 1155, 211)
    assert smart.cost_per_million_output_tokens == pytest.approx(cost_out, rel=1e-3)
    assert (cost_in * 1155 + cost_out * 211) / 211 == pytest.approx(per_million(27.52, smart.tokens_per_s))


def test_own_prices_and_the_budget_gate() -> None:
    own = plan_environment(request(prices=OwnPrices(on_demand={"g6.12xlarge": 1.0}), budget_per_hour=100))
    assert (own.hourly_min, own.within_budget) == (1.0, False)
    assert "over the budget of $100.00 per hour" in own.lines()
    assert plan_environment(request(budget_per_hour=1000)).within_budget


def test_what_runs_now_is_priced_where_it_is_known() -> None:
    guessed, known = plan_environment(request()), plan_environment(request(nodes_now={"l4": 3, "big": 1}))
    assert (guessed.hourly_now, guessed.hourly_now_known) == (guessed.hourly_min, False)
    assert (known.hourly_now, known.hourly_now_known) == (round(3 * 4.6016 + 55.04, 4), True)
    assert [pool.nodes_now for pool in known.pools] == [3, 1]
    assert plan_environment(request(nodes_now={})).hourly_now == 0


def test_spot_says_what_it_saves_and_what_it_risks() -> None:
    l4, big = plan_environment(request()).pools
    assert big.spot_note == "not to be had as spot"
    assert (big.spot_saving_per_hour, big.spot_saving_expected, big.spot_interruptions_per_day) == (None, None, None)
    # 60 % of 4 nodes; 0.167 to 0.905 of the time; 188 and 687 transitions in 45 days, every second one a loss.
    assert l4.spot_saving_per_hour == pytest.approx(4 * 0.6 * 4.6016, rel=1e-3)
    assert l4.spot_saving_expected == pytest.approx((0.167 * 11.0438, 0.905 * 11.0438), rel=1e-3)
    assert l4.spot_interruptions_per_day == (2.1, 7.6)


def test_quotas_stop_a_pool_and_are_shared() -> None:
    def over(*quotas: Quota, **changes: object) -> tuple[str, ...]:
        return plan_environment(request(quotas=quotas, **changes)).over_quota

    def quota(limit: float, unit: str, used: float = 0, **names: str) -> Quota:
        return Quota(**{"instance_type": "", "gpu": "", **names}, limit=limit, used=used, unit=unit)

    assert over() == ()
    assert over(quota(4, "instances", instance_type="g6.12xlarge")) == ()
    assert over(quota(4, "instances", used=1, instance_type="g6.12xlarge")) == ("l4",)
    assert over(quota(4, "instances", used=1, instance_type="g6.12xlarge"), nodes_now={"l4": 1}) == ()
    assert over(quota(191, "vcpu", gpu="l4")) == ("l4",)
    assert over(quota(15, "gpus", gpu="h100")) == ("big",)
    pools = plan_environment(request(quotas=(quota(100, "vcpu", gpu="l4"),))).pools
    assert [pool.quota_nodes for pool in pools] == [2, None]


def test_the_cold_start_says_what_the_scaling_needs() -> None:
    def chat(**changes: object) -> ModelPlan:
        item = ModelRequest(name="chat", model=LLAMA.key, pool="l4", max_model_len=8192, **changes)  # type: ignore[arg-type]
        return plan_environment(request(models=(item,))).models[0]

    enough = chat(startup_budget_seconds=900)
    assert enough.cold_start is not None
    needed = enough.startup_budget_needed_s
    assert needed is not None
    assert needed - 60 < enough.cold_start["high_s"] <= needed
    assert (enough.cooldown_needed_s, enough.notes) == (
        needed,
        (
            "the cooldown of 300 s is shorter than the cold start "
            "(340 s): a replica that is still loading may be taken away",
        ),
    )
    short = chat(startup_budget_seconds=120, cooldown_seconds=900)
    assert short.notes == (
        f"the cold start on a new node (340 s) exceeds the start-up budget of 120 s; "
        f"set scaling.startup_budget_seconds to {needed}",
    )
    slow = chat(startup_budget_seconds=600, cooldown_seconds=900)
    assert slow.notes[0].startswith("a slow cold start (")
    assert chat(startup_budget_seconds=900, min_replicas=1).cooldown_needed_s == 0


def test_traffic_costs_what_its_hours_need() -> None:
    item = ModelRequest(name="chat", model=LLAMA.key, pool="l4", max_model_len=8192, max_replicas=16)
    pool = PoolRequest(name="l4", instance_type="g6.12xlarge", max_nodes=4)
    asked = request(models=(item,), pools=(pool,))
    each = plan_environment(asked).models[0].tokens_per_s
    assert each is not None
    per_replica = each / 211
    # An empty hour, one replica, five replicas (two nodes of four), and more than 16 replicas can serve.
    rates = (0.0, 0.9 * per_replica, 4.5 * per_replica, 20 * per_replica)
    found = plan_environment(dataclasses.replace(asked, traffic={"chat": rates})).traffic
    assert found is not None
    assert found.replicas_mean == {"chat": pytest.approx((0 + 1 + 5 + 16) / 4)}
    assert found.monthly == pytest.approx((0 + 1 + 2 + 4) / 4 * 4.6016 * 730, abs=0.01)
    assert found.monthly_always_on == pytest.approx(4 * 4.6016 * 730, abs=0.01)
    assert found.saved == pytest.approx(1 - 7 / 16, abs=1e-4)
    assert found.unserved_share == pytest.approx(4 / 25.4, rel=1e-3)
    assert found.requests_per_month == pytest.approx(sum(rates) / 4 * 3600 * 730, abs=1)
    with pytest.raises(TrafficError, match="traffic for 'chatt', which is no model deployment; choose from chat"):
        plan_environment(dataclasses.replace(asked, traffic={"chatt": (1.0,)}))
    own = (ModelRequest(name="own", model="me/unknown", pool="l4"),)
    assert plan_environment(request(models=own, pools=(pool,), traffic={"own": (1.0,)})).traffic is None


def test_money() -> None:
    assert per_million(6.88, 1098) == pytest.approx(1.74, abs=0.005)  # the 70B model on H100 of the facts
    assert per_million(6.88, 1098, 0.5) == pytest.approx(2 * per_million(6.88, 1098))
    even = break_even(7.04, 1000, 0.88, 0.88, 0)
    assert even.tokens_per_day == pytest.approx(7.04 * 24 / 0.88e-6)
    assert even.utilization == pytest.approx(even.tokens_per_day / 86.4e6)
    assert scale_to_zero_savings(1.0, 8, 1800, 4) == pytest.approx(14 / 24 * 730)
    assert scale_to_zero_savings(1.0, 24, 300, 4) == 0
    # Eight wakes of 300 s of cooldown and 150 s of loading are an hour.
    assert scale_to_zero_savings(1.0, 8, 300, 8, 150) == pytest.approx(15 / 24 * 730)
    assert always_on_break_even_hours(300, 8, 150) == pytest.approx(23)
    with pytest.raises(ValueError, match="above 0"):
        per_million(1, 0)


def test_cold_starts() -> None:
    assert cold_start("aws", 14, "object-store").weights_s == pytest.approx(14 / 3.51, abs=0.05)
    assert cold_start("azure", 14).total_s > cold_start("aws", 14).total_s > cold_start("local", 14).total_s
    found = cold_start("gcp", 130)
    assert found.low_s < found.total_s < found.high_s
    with pytest.raises(ValueError, match="unknown storage 'tape'; known: gp3"):
        cold_start("aws", 1, "tape")


def test_ranking() -> None:
    found = rank(models()[SEVENTY], Target(max_tpot_ms=50))
    costs = [item.cost_per_million_output_tokens for item in found]
    assert costs == sorted(costs)
    assert {item.cloud for item in found} == {"aws", "azure", "gcp"}
    quick = rank(models()[SEVENTY], Target(max_tpot_ms=50), by_cold_start=True)
    assert [item.cold_start_s for item in quick] == sorted(item.cold_start_s for item in found)
    assert quick[0].cost_per_million_output_tokens == costs[0]
    assert all(item.tpot_ms <= 50 for item in found)
    loaded = rank(models()[SEVENTY], Target(max_tpot_ms=50, requests_per_s=40, budget_per_hour=500))
    assert all(item.hourly <= 500 and item.replicas > 1 for item in loaded)
    none = [Quota(instance_type="", gpu=key, limit=0, used=0, unit="gpus") for key in gpus()]
    assert rank(models()[SEVENTY], Target(quotas=none)) == ()
    only = [quota for quota in none if quota.gpu != "h200"]
    assert {item.gpu for item in rank(models()[SEVENTY], Target(quotas=only))} == {"h200"}
    reserved = OwnPrices(reserved={"p5.48xlarge": 1.0})
    first = rank(models()[SEVENTY], Target(capacity_type="reserved"), reserved)[0]
    assert (first.instance_type, first.price_source) == ("p5.48xlarge", "own price file")
    other = rank(models()[SEVENTY], Target(engine="trtllm"))
    assert {item.latency_error for item in other} != {item.latency_error for item in found}


def test_a_pipeline_over_nodes_is_for_what_no_node_holds() -> None:
    assert list(parallel_choices(models()[SEVENTY], 8)) == [(1, 1), (2, 1), (4, 1), (8, 1), (8, 2), (8, 3), (8, 4)]
    found = {(item.instance_type, item.pipeline_parallel): item for item in rank(models()["deepseek-ai/DeepSeek-R1"])}
    p5 = found["p5.48xlarge", 2]
    assert ("p5.48xlarge", 1) not in found
    assert (p5.nodes, p5.hourly, p5.tensor_parallel, p5.estimate) == (2, 110.08, 8, True)
    assert found["p5en.48xlarge", 1].estimate is False
    assert not any(
        item.pipeline_parallel > 1 for item in rank(models()[SEVENTY]) if item.instance_type == "p5.48xlarge"
    )


def test_differences_are_by_name() -> None:
    old, new = plan_environment(request()).to_json(), plan_environment(request(prices=CHEAP)).to_json()
    changed = {path: (a, b) for path, a, b in differences(old, new)}
    assert changed["pools.l4.price_per_hour"] == (4.6016, 1.0)
    assert differences(old, old) == []


def test_the_page_is_whole_and_loads_nothing() -> None:
    quotas = (Quota(instance_type="", gpu="l4", limit=0, used=0, unit="gpus"),)
    asked = request(name="<prod>", budget_per_hour=1, quotas=quotas, nodes_now={"l4": 2}, traffic={"chat": (0.0, 1.0)})
    shown = page(plan_environment(dataclasses.replace(asked, models=asked.models[:2])).to_json())
    balanced(shown)
    assert "&lt;prod&gt;" in shown
    assert shown.count("<svg") == 5
    for words in ("is more than the budget of $1.00", "do not let l4 reach", "per hour, now", "the traffic given"):
        assert words in shown
    assert "<script" not in shown
    assert "src=" not in shown
    assert "href=" not in shown
    # A model whose architecture nobody gave, and no model at all.
    balanced(page(plan_environment(request()).to_json()))
    balanced(page(plan_environment(request(models=(), pools=())).to_json()))


def balanced(shown: str) -> None:
    """Every element is closed where it should be."""
    alone = {"meta", "rect", "path"}

    class Tags(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            # Shapes close themselves unless they hold a tooltip: handle_startendtag has the others.
            assert all(value is not None for _, value in attrs), tag
            if tag != "meta":
                opened.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag in alone, (tag, attrs)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    opened: list[str] = []
    Tags().feed(shown)
    assert opened == []


def test_a_pool_without_a_price_is_named_where_its_sums_are_read() -> None:
    asked = request(budget_per_hour=1000.0)
    assert plan_environment(asked).notes == ()
    pools = (*asked.pools, PoolRequest(name="dear", instance_type="p5e.48xlarge", max_nodes=2))
    plan = plan_environment(dataclasses.replace(asked, pools=pools))
    assert plan.unpriced_pools == ("dear",)
    (note,) = plan.notes
    assert note == "no source has a price for dear: no sum and no budget counts it; give your own (--prices)"
    assert note in page(plan.to_json())
    priced = OwnPrices(on_demand={"p5e.48xlarge": 40.0})
    assert plan_environment(dataclasses.replace(asked, pools=pools, prices=priced)).notes == ()


def random_model(spread: random.Random) -> Model:
    heads = 2 ** spread.randint(0, 7)
    experts = spread.choice([0, 0, 8, 256])
    return dataclasses.replace(
        LLAMA,
        parameters=spread.randint(10**6, 10**12),
        active_parameters=spread.choice([None, 10**6]),
        layers=spread.randint(1, 200),
        heads=heads,
        kv_heads=spread.choice([1, heads, max(1, heads // 8)]),
        head_dim=spread.choice([32, 64, 128, 256]),
        hidden=spread.randint(64, 20_000),
        intermediate=spread.randint(64, 60_000),
        vocab=spread.randint(1000, 300_000),
        experts=experts,
        active_experts=min(experts, 4),
        kv_lora_rank=spread.choice([0, 0, 512]),
        qk_rope_head_dim=64,
        sliding_window=spread.choice([None, None, 128]),
        sliding_layers=spread.choice([None, 0, 1]),
        cache_layers=spread.choice([None, None, 1]),
        state_bytes=spread.choice([0, 0, 10**8]),
        sparse_tokens=spread.choice([0, 0, 2048]),
        quantized_experts_only=spread.choice([False, True]),
        dense_layers=0,
        quantization=spread.choice([None, "fp8", "int4", "mxfp4"]),
        dtype=spread.choice(["bfloat16", "float16", "float32"]),
    )


def random_gpu(spread: random.Random) -> Gpu:
    row = spread.choice(list(gpus().values()))
    return dataclasses.replace(row, memory_gib=spread.uniform(1, 300), bandwidth_gb_s=spread.uniform(100, 10_000))


def test_ten_thousand_random_questions_have_an_answer() -> None:
    spread = random.Random(7)
    fitting = 0
    for _ in range(10_000):
        model, gpu, size = random_model(spread), random_gpu(spread), 2 ** spread.randint(0, 4)
        stages, engine = spread.choice([1, 1, 2, 4]), spread.choice(["vllm", "sglang", "trtllm", "tgi"])
        try:
            limits = derive_engine_limits(model, gpu, size, spread.uniform(0.1, 1), pipeline_parallel=stages)
        except (DoesNotFitError, SizingError):
            assert len(nearest_ways_on(model, gpu, tensor_parallel=size)) <= 3
            continue
        fitting += 1
        result = predict(
            model,
            gpu,
            engine=engine,
            tensor_parallel=size,
            pipeline_parallel=stages,
            data_parallel=spread.choice([1, 1, 8]),
            kv_cache_tokens=limits.kv_cache_tokens,
        )
        assert 0 < result.tpot_ms < float("inf")
        assert 0 < result.ttft_ms < float("inf")
        assert result.tokens_per_s > 0
        assert limits.kv_cache_tokens > 0
    assert fitting > 2000


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(1, 200), st.floats(0, 50))
def test_more_memory_never_fits_less_and_more_gpus_never_weigh_more(seed: int, memory: float, more: float) -> None:
    model = random_model(random.Random(seed))
    assert kv_cache_tokens(model, memory + more) >= kv_cache_tokens(model, memory)
    weights = [budget(model, memory, size).weights_gib for size in (1, 2, 4, 8)]
    assert weights == sorted(weights, reverse=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20), st.floats(0.01, 100))
def test_cost_is_monotone(nodes: int, more: int, dollars: float) -> None:
    def hourly(count: int, each: float) -> float:
        pools = (PoolRequest(name="l4", instance_type="g6.12xlarge", min_nodes=count, max_nodes=max(1, count)),)
        asked = EnvironmentRequest(
            name="x", cloud="aws", pools=pools, models=(), prices=OwnPrices(on_demand={"g6.12xlarge": each})
        )
        return plan_environment(asked).hourly_max

    assert hourly(nodes + more, dollars) >= hourly(nodes, dollars)
    assert hourly(nodes, dollars * 2) >= hourly(nodes, dollars)
