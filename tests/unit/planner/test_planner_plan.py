"""The plan: money, cold start, ranking, differences, page; and properties of random questions.

Not proven here: that a list price or a cold start is right today.
"""

from __future__ import annotations

import dataclasses
import html.parser
import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.__main__ import main
from planner.catalog import Gpu, Model, gpus, instances, models
from planner.cold_start import cold_start
from planner.cost import PriceError, break_even, monthly, per_million, price, read_prices, scale_to_zero_savings, split
from planner.difference import differences
from planner.latency import predict
from planner.page import page
from planner.placement import Target, rank
from planner.plan import EnvironmentRequest, ModelRequest, PoolRequest, plan_environment
from planner.sizing import DoesNotFitError, SizingError, budget, derive_engine_limits, kv_cache_tokens, weights_gib

pytestmark = pytest.mark.unit

LLAMA = models()["meta-llama/Llama-3.1-8B-Instruct"]
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


def test_own_prices_spot_and_the_budget_gate() -> None:
    own = plan_environment(request(prices={"g6.12xlarge": 1.0}, budget_per_hour=100))
    assert (own.hourly_min, own.within_budget) == (1.0, False)
    assert plan_environment(request(budget_per_hour=1000)).within_budget
    spot = price(instances()["g2-standard-4"], "spot")
    assert (spot.per_hour, spot.estimate) == (0.23, False)
    assert price(instances()["g5.xlarge"], "spot").estimate
    assert plan_environment(request()).pools[1].spot_note == "not to be had as spot"


def test_money() -> None:
    assert per_million(6.88, 1098) == pytest.approx(1.74, abs=0.005)  # the 70B model on H100 of the facts
    assert per_million(6.88, 1098, 0.5) == pytest.approx(2 * per_million(6.88, 1098))
    even = break_even(7.04, 1000, 0.88, 0.88, 0)
    assert even.tokens_per_day == pytest.approx(7.04 * 24 / 0.88e-6)
    assert even.utilization == pytest.approx(even.tokens_per_day / 86.4e6)
    assert monthly(2.0, [1, 0, 0, 1]) == pytest.approx(730)
    assert scale_to_zero_savings(1.0, 8, 1800, 4) == pytest.approx(14 / 24 * 730)
    assert scale_to_zero_savings(1.0, 24, 300, 4) == 0
    with pytest.raises(ValueError, match="above 0"):
        per_million(1, 0)


def test_a_broken_price_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[prices]\n"g6.xlarge" = "cheap"\n')
    with pytest.raises(PriceError, match=r"prices\.g6\.xlarge is 'cheap'; it must be dollars per hour"):
        read_prices(file)
    file.write_text('[prices]\n"g6.xlarge" = 0.5\n')
    assert read_prices(file) == {"g6.xlarge": 0.5}


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
    assert all(item.tpot_ms <= 50 for item in found)
    loaded = rank(models()[SEVENTY], Target(max_tpot_ms=50, requests_per_s=40, budget_per_hour=500))
    assert all(item.hourly <= 500 and item.replicas > 1 for item in loaded)
    assert rank(models()[SEVENTY], Target(quotas={"aws": 0, "azure": 0, "gcp": 0})) == ()


def test_differences_are_by_name() -> None:
    old, new = plan_environment(request()).to_json(), plan_environment(request(prices={"g6.12xlarge": 1.0})).to_json()
    changed = {path: (a, b) for path, a, b in differences(old, new)}
    assert changed["pools.l4.price_per_hour"] == (4.6016, 1.0)
    assert differences(old, old) == []


def test_the_page_is_whole_and_loads_nothing() -> None:
    shown = page(plan_environment(request(name="<prod>")).to_json())
    html.parser.HTMLParser().feed(shown)
    assert "&lt;prod&gt;" in shown
    assert shown.count("<svg") == 3
    assert "<script" not in shown
    assert "src=" not in shown
    assert "href=" not in shown


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", LLAMA.key, "--gpu", "l4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kv_cache_tokens"] == 23_840
    assert main(["size", SEVENTY, "--gpu", "l4"]) == 1
    assert "weights take 131.4 GiB" in capsys.readouterr().err
    assert main(["size", "me/unknown", "--gpu", "l4"]) == 2
    assert main(["rank", LLAMA.key, "--top", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["rank", LLAMA.key, "--max-tpot-ms", "0.1"]) == 1


def test_the_guides_mig_rule() -> None:
    profiles = gpus()["a100-40"].mig_profiles
    assert [profiles[name].per_gpu for name in ("1g.5gb", "2g.10gb", "3g.20gb")] == [7, 3, 2]
    assert weights_gib(LLAMA) * 2**30 == LLAMA.parameters * 2


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
        try:
            limits = derive_engine_limits(model, gpu, size, spread.uniform(0.1, 1))
        except (DoesNotFitError, SizingError):
            continue
        fitting += 1
        result = predict(model, gpu, tensor_parallel=size, kv_cache_tokens=limits.kv_cache_tokens)
        assert 0 < result.tpot_ms < float("inf")
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
        asked = EnvironmentRequest(name="x", cloud="aws", pools=pools, models=(), prices={"g6.12xlarge": each})
        return plan_environment(asked).hourly_max

    assert hourly(nodes + more, dollars) >= hourly(nodes, dollars)
    assert hourly(nodes, dollars * 2) >= hourly(nodes, dollars)
