"""The SIMULATION_* variables: what a real engine finds in its hardware and the simulator has to be told."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

STARTUP_SECONDS = "SIMULATION_STARTUP_SECONDS"
SPEEDUP = "SIMULATION_SPEEDUP"
GPU = "SIMULATION_GPU"
GPU_SHARE = "SIMULATION_GPU_SHARE"
GPU_MEMORY_GIB = "SIMULATION_GPU_MEMORY_GIB"
DEFAULT_GPU = "l4"


class SimulationError(Exception):
    """A SIMULATION_* variable has an impossible value; one line for the user."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What is simulated.

    Attributes:
        startup_seconds: from the start of the process to the moment when the port listens. 0 = as soon as
        possible. speedup: every latency of the engine is divided by it; the start-up delay is not. gpu: name
        of the GPU in the planner's catalogue. gpu_share: part of the GPU's bandwidth and throughput that is this
        engine's (1: all), as if the pods beside it were always busy. memory_gib: of a slice of the GPU; 0: all of it.
    """

    startup_seconds: float = 0.0
    speedup: float = 1.0
    gpu: str = DEFAULT_GPU
    gpu_share: float = 1.0
    memory_gib: float = 0.0


def read_simulation(environ: Mapping[str, str]) -> Simulation:
    """Read the variables; an unset or empty one takes its default (0 s, 1, ``l4``).

    Raises:
        SimulationError: a value is not a number or out of range.
    """
    return Simulation(
        startup_seconds=_number(environ, STARTUP_SECONDS, 0.0, "0 or more seconds", lambda value: value >= 0),
        speedup=_number(environ, SPEEDUP, 1.0, "a factor above 0", lambda value: value > 0),
        gpu=environ.get(GPU) or DEFAULT_GPU,
        gpu_share=_number(environ, GPU_SHARE, 1.0, "a share above 0 and at most 1", lambda value: 0 < value <= 1),
        memory_gib=_number(environ, GPU_MEMORY_GIB, 0.0, "0 or more GiB", lambda value: value >= 0),
    )


def process_age_seconds() -> float:
    """Seconds since the kernel created this process (10 ms resolution): interpreter start-up is included."""
    # The command name, field 2, may contain spaces; fields are counted after its closing parenthesis.
    fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def _number(
    environ: Mapping[str, str], name: str, default: float, wanted: str, accepts: Callable[[float], bool]
) -> float:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not accepts(value):
        raise SimulationError(f"{name}={text!r} is not {wanted}")
    return value
