"""What NVIDIA's DCGM exporter would say of the simulated GPUs, under its names and marked `simulated="true"`.

Nothing here is measured on a GPU. Utilisation is the share of time in which the simulated engine was in a step, as a
kernel would be running then; memory is what vLLM would have taken. Power is a straight line from IDLE_POWER of the
board's power (planner/catalog/gpus.toml) at no utilisation to all of it at full utilisation, and temperature a straight
line over power: made up, so that panels have something to show, and of the right size at best.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.settings import EngineSettings
from local.engine_simulator.sleep import SleepMode

PATH = "/simulated-dcgm"
_LABELS = ("gpu", "UUID", "modelName", "simulated")
_MIB_PER_GIB = 1024
_SHORTEST_WINDOW_SECONDS = 0.5

IDLE_POWER = 0.15
"""Share of the board's power that an idle GPU takes."""
COOLEST_CELSIUS, HOTTEST_CELSIUS = 30.0, 75.0
"""Of a GPU that takes no power, and of one that takes all that its board may."""


class SimulatedGpus(Collector):
    """The GPUs of one engine.

    Args:
        settings: of the engine.
        driver: that steps it.
        sleep: what it has in memory.
        clock: seconds.
    """

    def __init__(
        self,
        settings: EngineSettings,
        driver: EngineDriver,
        sleep: SleepMode,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._driver, self._sleep, self._clock = settings, driver, sleep, clock
        self._since, self._busy_then = clock(), driver.busy_seconds
        self._utilisation = 0.0

    def collect(self) -> Iterator[Metric]:
        """As the exporter names them."""
        memory = self._settings.gpu.memory_gib * _MIB_PER_GIB
        used = self._sleep.used_gib * _MIB_PER_GIB
        percent = self._percent()
        values = {
            "DCGM_FI_DEV_GPU_UTIL": ("GPU utilization (in %).", percent),
            "DCGM_FI_DEV_FB_USED": ("Framebuffer memory used (in MiB).", used),
            "DCGM_FI_DEV_FB_FREE": ("Framebuffer memory free (in MiB).", memory - used),
            "DCGM_FI_DEV_XID_ERRORS": ("Value of the last XID error encountered.", 0.0),
        }
        if (board := self._settings.gpu.board_power_w) is not None:
            share = IDLE_POWER + (1 - IDLE_POWER) * percent / 100
            heat = COOLEST_CELSIUS + (HOTTEST_CELSIUS - COOLEST_CELSIUS) * share
            values["DCGM_FI_DEV_POWER_USAGE"] = ("Power draw (in W).", round(board * share, 1))
            values["DCGM_FI_DEV_GPU_TEMP"] = ("GPU temperature (in C).", round(heat, 1))
        for name, (text, value) in values.items():
            family = GaugeMetricFamily(name, text, labels=_LABELS)
            for index in range(self._settings.arguments.tensor_parallel_size):
                family.add_metric((str(index), f"GPU-simulated-{index}", self._settings.gpu.name, "true"), value)
            yield family

    def _percent(self) -> float:
        """Of the time since it was last asked; readers that come at once get the same answer."""
        now, busy = self._clock(), self._driver.busy_seconds
        if now - self._since >= _SHORTEST_WINDOW_SECONDS:
            self._utilisation = min(1.0, (busy - self._busy_then) / (now - self._since))
            self._since, self._busy_then = now, busy
        return round(100 * self._utilisation, 1)


class SimulatedGpuPage:
    """The text of the page."""

    def __init__(self, settings: EngineSettings, driver: EngineDriver, sleep: SleepMode) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(SimulatedGpus(settings, driver, sleep))

    def render(self) -> bytes:
        """All series in Prometheus' text format."""
        return generate_latest(self._registry)
