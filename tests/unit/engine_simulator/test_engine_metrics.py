"""The metrics page: vLLM's names, labels and buckets.

Not proven here: that no series of vLLM is missing; series of features that are not simulated (speculative decoding,
LoRA, multi-modal caches, KV connectors) are left out on purpose.
"""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from local.engine_simulator.core import EngineCore
from local.engine_simulator.metrics import CONTENT_TYPE, MetricsPage
from local.engine_simulator.sequence import EngineSequence
from local.engine_simulator.stats import Histogram, one_two_five_bounds
from tests.unit.engine_simulator.engine_doubles import VirtualEngine, make_settings

pytestmark = pytest.mark.unit

LABELS = {"model_name": "first", "engine": "0"}

HISTOGRAMS = {
    "vllm:time_to_first_token_seconds": 22,
    "vllm:inter_token_latency_seconds": 19,
    "vllm:request_time_per_output_token_seconds": 19,
    "vllm:e2e_request_latency_seconds": 21,
    "vllm:request_queue_time_seconds": 21,
    "vllm:request_inference_time_seconds": 21,
    "vllm:request_prefill_time_seconds": 21,
    "vllm:request_decode_time_seconds": 21,
    "vllm:request_prompt_tokens": 11,  # 1, 2, 5, ... 2000 of 4096
    "vllm:request_generation_tokens": 11,
    "vllm:request_params_max_tokens": 11,
    "vllm:request_prefill_kv_computed_tokens": 11,
    "vllm:iteration_tokens_total": 13,
}


@pytest.fixture
def page() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Samples after two requests, of 100 prompt tokens and 3 and 5 output tokens."""
    settings = make_settings("--served-model-name", "first", "second", speedup=1.0)
    core = EngineCore(settings.limits, settings.cost)
    engine = VirtualEngine(core)
    engine.add(100, 3)
    engine.add(100, 5)
    engine.run()
    text = MetricsPage(settings, core).render().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(page: dict[tuple[str, tuple[tuple[str, str], ...]], float], name: str, **labels: str) -> float:
    return page[name, tuple(sorted({**LABELS, **labels}.items()))]


def test_prompt_tokens_from_another_engine_are_neither_computed_nor_found_here() -> None:
    settings = make_settings()
    core = EngineCore(settings.limits, settings.cost)
    engine = VirtualEngine(core)
    core.add(EngineSequence(100, 3, remote=99), 0.0)
    engine.add(100, 3)
    engine.run()
    text = MetricsPage(settings, core).render().decode()
    found = {
        sample.labels["source"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "vllm:prompt_tokens_by_source_total"
    }
    assert found == {"local_compute": 101, "local_cache_hit": 0, "external_kv_transfer": 99}
    assert core.stats.prefix_hits == 0


def test_gauges(page: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
    assert value(page, "vllm:num_requests_running") == 0
    assert value(page, "vllm:num_requests_waiting") == 0
    assert value(page, "vllm:num_requests_waiting_by_reason", reason="capacity") == 0
    assert value(page, "vllm:kv_cache_usage_perc") == 0
    assert value(page, "vllm:engine_sleep_state", sleep_state="awake") == 1
    assert value(page, "vllm:engine_sleep_state", sleep_state="weights_offloaded") == 0


def test_counters(page: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
    assert value(page, "vllm:prompt_tokens_total") == 200
    assert value(page, "vllm:prompt_tokens_by_source_total", source="local_compute") == 200
    assert value(page, "vllm:generation_tokens_total") == 8
    assert value(page, "vllm:num_preemptions_total") == 0
    assert value(page, "vllm:prefix_cache_queries_total") == 200
    assert value(page, "vllm:prefix_cache_hits_total") == 0
    assert value(page, "vllm:request_success_total", finished_reason="length") == 2
    assert value(page, "vllm:request_success_total", finished_reason="abort") == 0


def test_histograms_have_vllm_s_buckets(page: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
    for name, bounds in HISTOGRAMS.items():
        buckets = [labels for sample, labels in page if sample == f"{name}_bucket"]
        assert len(buckets) == bounds + 1, name  # and +Inf
        assert value(page, f"{name}_bucket", le="+Inf") == value(page, f"{name}_count")
    assert value(page, "vllm:time_to_first_token_seconds_count") == 2
    assert value(page, "vllm:inter_token_latency_seconds_count") == 6
    assert value(page, "vllm:request_generation_tokens_bucket", le="5.0") == 2
    assert value(page, "vllm:request_generation_tokens_bucket", le="2.0") == 0
    # A step of this engine takes 62.5 ms.
    assert value(page, "vllm:inter_token_latency_seconds_bucket", le="0.05") == 0
    assert value(page, "vllm:inter_token_latency_seconds_bucket", le="0.075") == 6


def test_cache_config_tells_the_size_of_the_cache(
    page: dict[tuple[str, tuple[tuple[str, str], ...]], float],
) -> None:
    (labels,) = [dict(labels) for name, labels in page if name == "vllm:cache_config_info"]
    assert (labels["block_size"], labels["num_gpu_blocks"], labels["engine"]) == ("16", "1789", "0")
    assert (labels["enable_prefix_caching"], labels["gpu_memory_utilization"]) == ("True", "0.92")


def test_the_text_format_is_prometheus_own() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")


def test_a_weighted_observation_counts_as_many() -> None:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(1.0, 3)  # a bound belongs to its bucket
    histogram.observe(1.5)
    histogram.observe(9.0, 2)
    assert (histogram.counts, histogram.count, histogram.total) == ([3, 1, 2], 6, 22.5)


def test_bounds_of_token_counts() -> None:
    assert one_two_five_bounds(100) == (1, 2, 5, 10, 20, 50, 100)
    assert one_two_five_bounds(49) == (1, 2, 5, 10, 20)
