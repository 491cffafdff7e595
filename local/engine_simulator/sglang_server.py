"""The HTTP face of a simulated SGLang: its routes, its metrics, its way of draining; the engine behind is the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from local.engine_simulator.core import EngineCore
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.metrics import bucket_bound
from local.engine_simulator.server import EngineServer
from local.engine_simulator.settings import EngineSettings
from local.engine_simulator.sglang_arguments import VERSION
from local.engine_simulator.stats import Histogram

LABELS: Final = ("model_name", "engine_type", "tp_rank", "pp_rank")

# Series, help, attribute of EngineStats.
COUNTERS: Final = (
    ("sglang:prompt_tokens", "Number of prefill tokens processed.", "prompt_tokens"),
    ("sglang:generation_tokens", "Number of generation tokens processed.", "generation_tokens"),
    ("sglang:cached_tokens", "Number of cached prompt tokens.", "cached_prompt_tokens"),
)
HISTOGRAMS: Final = (
    ("sglang:time_to_first_token_seconds", "Histogram of time to first token in seconds.", "time_to_first_token"),
    ("sglang:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", "inter_token_latency"),
    ("sglang:e2e_request_latency_seconds", "Histogram of End-to-end request latency in seconds", "e2e_latency"),
)


class SglangCollector(Collector):
    """Reads one engine, under SGLang's names."""

    def __init__(self, settings: EngineSettings, core: EngineCore) -> None:
        self._core = core
        self._labels = (settings.arguments.served_model_names[0], "unified", "0", "0")

    def collect(self) -> Iterator[Metric]:
        """All series."""
        core, stats = self._core, self._core.stats
        gauges = (
            ("sglang:num_running_reqs", "The number of running requests.", len(core.running)),
            ("sglang:num_queue_reqs", "The number of requests in the waiting queue.", len(core.waiting)),
            ("sglang:token_usage", "The token usage.", core.blocks.usage),
            ("sglang:cache_hit_rate", "The prefix cache hit rate.", stats.prefix_hits / max(1, stats.prefix_queries)),
        )
        for name, text, value in gauges:
            gauge = GaugeMetricFamily(name, text, labels=LABELS)
            gauge.add_metric(self._labels, value)
            yield gauge
        counters = [(name, text, getattr(stats, attribute)) for name, text, attribute in COUNTERS]
        counters.append(("sglang:num_requests", "Number of requests processed.", sum(stats.finished.values())))
        for name, text, value in counters:
            counter = CounterMetricFamily(name, text, labels=LABELS)
            counter.add_metric(self._labels, value)
            yield counter
        for name, text, attribute in HISTOGRAMS:
            yield self._histogram(name, text, getattr(stats, attribute))

    def _histogram(self, name: str, text: str, histogram: Histogram) -> Metric:
        family = HistogramMetricFamily(name, text, labels=LABELS)
        seen, buckets = 0, []
        for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
            seen += count
            buckets.append((bucket_bound(bound), seen))
        family.add_metric(self._labels, buckets, histogram.total)
        return family


class SglangMetricsPage:
    """The text of ``/metrics``."""

    def __init__(self, settings: EngineSettings, core: EngineCore) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(SglangCollector(settings, core))

    def render(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)


class SglangServer(EngineServer):
    """SGLang's routes; while it drains only its health says so, requests are still taken."""

    stands_in_for = f"lmsysorg/sglang v{VERSION}"
    takes_requests_while_draining = True

    def __init__(self, settings: EngineSettings, driver: EngineDriver) -> None:
        super().__init__(settings, driver)
        self._metrics = SglangMetricsPage(settings, driver.core)

    def application(self) -> web.Application:
        """The application."""
        app = super().application()
        app.router.add_get("/health_generate", self._health)
        app.router.add_get("/get_model_info", self._model_info)
        app.router.add_get("/get_server_info", self._server_info)
        return app

    async def _version(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"version": f"{VERSION}+simulator", "simulated": True})

    async def _model_info(self, request: web.Request) -> web.Response:
        del request
        model = self._settings.arguments.model
        return web.json_response({"model_path": model, "tokenizer_path": model, "is_generation": True})

    async def _server_info(self, request: web.Request) -> web.Response:
        del request
        arguments = self._settings.arguments
        found = {
            "version": f"{VERSION}+simulator",
            "model_path": arguments.model,
            "served_model_name": arguments.served_model_names[0],
            "tp_size": arguments.tensor_parallel_size,
            "max_total_num_tokens": self._settings.kv_cache_tokens,
        }
        return web.json_response(found)
