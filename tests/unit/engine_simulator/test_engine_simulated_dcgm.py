"""Series of simulated GPUs: DCGM's names, marked as simulated, and a utilisation that follows the steps.

Not proven here: what a real GPU would show; nothing here could.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from local.engine_simulator.core import EngineCore
from local.engine_simulator.driver import EngineDriver
from local.engine_simulator.sequence import EngineSequence
from local.engine_simulator.settings import EngineSettings
from local.engine_simulator.simulated_dcgm import SimulatedGpuPage, SimulatedGpus
from local.engine_simulator.sleep import SleepMode
from tests.unit.engine_simulator.engine_doubles import make_settings

pytestmark = pytest.mark.unit


def awake(settings: EngineSettings, driver: EngineDriver) -> SleepMode:
    """An engine that has never slept."""
    return SleepMode(settings, driver, asyncio.Event())


async def test_every_series_says_that_it_is_simulated() -> None:
    settings = make_settings(speedup=1.0)
    driver = EngineDriver(EngineCore(settings.limits, settings.cost))
    text = SimulatedGpuPage(settings, driver, awake(settings, driver)).render().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert {sample.name for sample in samples} == {
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_FB_USED",
        "DCGM_FI_DEV_FB_FREE",
        "DCGM_FI_DEV_XID_ERRORS",
        "DCGM_FI_DEV_POWER_USAGE",
        "DCGM_FI_DEV_GPU_TEMP",
    }
    assert {sample.labels["simulated"] for sample in samples} == {"true"}
    memory = {sample.name: sample.value for sample in samples}
    whole = settings.gpu.memory_gib * 1024
    assert memory["DCGM_FI_DEV_FB_USED"] == pytest.approx(whole * settings.arguments.gpu_memory_utilization)
    assert memory["DCGM_FI_DEV_FB_USED"] + memory["DCGM_FI_DEV_FB_FREE"] == pytest.approx(whole)


def said(gpus: SimulatedGpus) -> dict[str, float]:
    return {sample.name: float(sample.value) for family in gpus.collect() for sample in family.samples}


def utilisation(gpus: SimulatedGpus) -> float:
    return said(gpus)["DCGM_FI_DEV_GPU_UTIL"]


async def test_power_and_temperature_follow_the_utilisation() -> None:
    """From 15 % of an L4's 72 W when idle to all of it, and from 36.75 to 75 degrees."""
    settings = make_settings(speedup=1.0)
    driver = EngineDriver(EngineCore(settings.limits, settings.cost))
    now = 0.0
    gpus = SimulatedGpus(settings, driver, awake(settings, driver), clock=lambda: now)
    for seconds, watt, celsius in ((0.0, 10.8, 36.8), (0.5, 41.4, 55.9), (1.0, 72.0, 75.0)):
        now, driver.busy_seconds = now + 1, driver.busy_seconds + seconds
        values = said(gpus)
        assert values["DCGM_FI_DEV_POWER_USAGE"] == pytest.approx(watt, abs=0.06)
        assert values["DCGM_FI_DEV_GPU_TEMP"] == pytest.approx(celsius, abs=0.06)


async def test_no_power_is_told_of_a_board_that_nobody_knows() -> None:
    settings = make_settings(speedup=1.0)
    unknown = replace(settings, gpu=replace(settings.gpu, board_power_w=None))
    driver = EngineDriver(EngineCore(settings.limits, settings.cost))
    names = said(SimulatedGpus(unknown, driver, awake(unknown, driver)))
    assert not {"DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_TEMP"} & set(names)


async def test_utilisation_is_the_share_of_time_in_steps() -> None:
    settings = make_settings(speedup=1.0)
    driver = EngineDriver(EngineCore(settings.limits, settings.cost))
    now = 100.0
    gpus = SimulatedGpus(settings, driver, awake(settings, driver), clock=lambda: now)
    now, driver.busy_seconds = 101.0, 0.25
    assert utilisation(gpus) == 25.0
    # Asked again at once, it has not forgotten.
    assert utilisation(gpus) == 25.0
    now = 102.0
    assert utilisation(gpus) == 0.0
    # A step that is under way counts when it begins, so that a window can hold more than itself.
    now, driver.busy_seconds = 103.0, 1.75
    assert utilisation(gpus) == 100.0


async def test_the_driver_counts_the_time_of_its_steps() -> None:
    settings = make_settings(speedup=1000.0)
    driver = EngineDriver(EngineCore(settings.limits, settings.cost))
    assert driver.busy_seconds == 0.0
    done = asyncio.Event()
    sequence = EngineSequence(16, 3, prompt_hashes=(), on_token=lambda count: done.set() if count else None)
    driver.submit(sequence)
    await asyncio.wait_for(done.wait(), 5)
    assert driver.busy_seconds > 0.0
