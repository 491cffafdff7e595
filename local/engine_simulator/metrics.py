"""vLLM's Prometheus series, made from the engine's counters when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from local.engine_simulator.core import EngineCore
from local.engine_simulator.settings import EngineSettings
from local.engine_simulator.stats import Histogram

CONTENT_TYPE = CONTENT_TYPE_LATEST
_LABELS = ("model_name", "engine")

# Series name, help (vLLM's), attribute of EngineStats.
_COUNTERS = (
    ("vllm:num_preemptions", "Cumulative number of preemption from the engine.", "preemptions"),
    (
        "vllm:prefix_cache_queries",
        "Prefix cache queries, in terms of number of queried tokens.",
        "prefix_queries",
    ),
    ("vllm:prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens.", "prefix_hits"),
    ("vllm:prompt_tokens", "Number of prefill tokens processed.", "prompt_tokens"),
    (
        "vllm:prompt_tokens_cached",
        "Number of cached prompt tokens (local + external).",
        "cached_prompt_tokens",
    ),
    ("vllm:generation_tokens", "Number of generation tokens processed.", "generation_tokens"),
)
_HISTOGRAMS = (
    (
        "vllm:time_to_first_token_seconds",
        "Histogram of time to first token in seconds.",
        "time_to_first_token",
    ),
    (
        "vllm:inter_token_latency_seconds",
        "Histogram of inter-token latency in seconds.",
        "inter_token_latency",
    ),
    (
        "vllm:request_time_per_output_token_seconds",
        "Histogram of time_per_output_token_seconds per request.",
        "time_per_output_token",
    ),
    ("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", "e2e_latency"),
    (
        "vllm:request_queue_time_seconds",
        "Histogram of time spent in WAITING phase for request.",
        "queue_time",
    ),
    (
        "vllm:request_inference_time_seconds",
        "Histogram of time spent in RUNNING phase for request.",
        "inference_time",
    ),
    (
        "vllm:request_prefill_time_seconds",
        "Histogram of time spent in PREFILL phase for request.",
        "prefill_time",
    ),
    (
        "vllm:request_decode_time_seconds",
        "Histogram of time spent in DECODE phase for request.",
        "decode_time",
    ),
    ("vllm:request_prompt_tokens", "Number of prefill tokens processed.", "request_prompt_tokens"),
    ("vllm:request_generation_tokens", "Number of generation tokens processed.", "request_generation_tokens"),
    (
        "vllm:request_params_max_tokens",
        "Histogram of the max_tokens request parameter.",
        "request_max_tokens",
    ),
    (
        "vllm:request_prefill_kv_computed_tokens",
        "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
        "prefill_computed_tokens",
    ),
    ("vllm:iteration_tokens_total", "Histogram of number of tokens per engine_step.", "iteration_tokens"),
)
_SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")


class EngineCollector(Collector):
    """Reads one engine. Labels as vLLM's: ``model_name`` is the first served name, ``engine`` is "0"."""

    def __init__(self, settings: EngineSettings, core: EngineCore) -> None:
        self._settings = settings
        self._core = core
        self._labels = (settings.arguments.served_model_names[0], "0")

    def collect(self) -> Iterator[Metric]:
        """All series of the engine."""
        yield from self._gauges()
        yield from self._counters()
        for name, text, attribute in _HISTOGRAMS:
            yield self._histogram(name, text, getattr(self._core.stats, attribute))

    def _gauges(self) -> Iterator[Metric]:
        core = self._core
        waiting = len(core.waiting)
        yield self._gauge(
            "vllm:num_requests_running", "Number of requests in model execution batches.", len(core.running)
        )
        yield self._gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", waiting)
        reasons = GaugeMetricFamily(
            "vllm:num_requests_waiting_by_reason",
            "Number of waiting requests by reason.",
            labels=(*_LABELS, "reason"),
        )
        reasons.add_metric((*self._labels, "capacity"), waiting)
        reasons.add_metric((*self._labels, "deferred"), 0)
        yield reasons
        yield self._gauge("vllm:kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", core.blocks.usage)
        yield self._sleep_state()
        yield self._cache_config()

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=_LABELS)
        family.add_metric(self._labels, value)
        return family

    def _sleep_state(self) -> Metric:
        level = self._core.sleep_level
        current = "awake" if level is None else {1: "weights_offloaded", 2: "discard_all"}.get(level)
        family = GaugeMetricFamily(
            "vllm:engine_sleep_state",
            "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; "
            "weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.",
            labels=(*_LABELS, "sleep_state"),
        )
        for state in _SLEEP_STATES:
            family.add_metric((*self._labels, state), float(state == current))
        return family

    def _cache_config(self) -> Metric:
        arguments, limits = self._settings.arguments, self._core.limits
        labels = {
            "block_size": limits.block_size,
            "cache_dtype": arguments.kv_cache_dtype,
            "enable_prefix_caching": limits.prefix_caching,
            "engine": "0",
            "gpu_memory_utilization": arguments.gpu_memory_utilization,
            "kv_cache_size_tokens": self._settings.kv_cache_tokens,
            "num_gpu_blocks": limits.num_blocks,
            "num_gpu_blocks_override": arguments.num_gpu_blocks_override,
        }
        family = GaugeMetricFamily(
            "vllm:cache_config_info", "Information of the LLMEngine CacheConfig", labels=tuple(labels)
        )
        family.add_metric([str(value) for value in labels.values()], 1)
        return family

    def _counters(self) -> Iterator[Metric]:
        stats = self._core.stats
        for name, text, attribute in _COUNTERS:
            family = CounterMetricFamily(name, text, labels=_LABELS)
            family.add_metric(self._labels, getattr(stats, attribute))
            yield family
        sources = CounterMetricFamily(
            "vllm:prompt_tokens_by_source", "Number of prompt tokens by source.", labels=(*_LABELS, "source")
        )
        sources.add_metric((*self._labels, "local_compute"), stats.prompt_tokens - stats.cached_prompt_tokens)
        local = stats.cached_prompt_tokens - stats.external_prompt_tokens
        sources.add_metric((*self._labels, "local_cache_hit"), local)
        sources.add_metric((*self._labels, "external_kv_transfer"), stats.external_prompt_tokens)
        yield sources
        success = CounterMetricFamily(
            "vllm:request_success",
            "Count of successfully processed requests.",
            labels=(*_LABELS, "finished_reason"),
        )
        for reason, count in stats.finished.items():
            success.add_metric((*self._labels, reason), count)
        yield success

    def _histogram(self, name: str, text: str, histogram: Histogram) -> Metric:
        family = HistogramMetricFamily(name, text, labels=_LABELS)
        buckets = []
        seen = 0
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            seen += count
            buckets.append((bucket_bound(bound), seen))
        family.add_metric(self._labels, buckets, histogram.total)
        return family


class MetricsPage:
    """The text of ``/metrics``."""

    def __init__(self, settings: EngineSettings, core: EngineCore) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(EngineCollector(settings, core))

    def render(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)


def bucket_bound(value: float) -> str:
    """A bucket's bound as Prometheus writes it."""
    return "+Inf" if value == float("inf") else repr(float(value))
