"""`python -m bench.commands`: how long the commands take that somebody waits for at a terminal.

Whole processes, start-up included: the plan of an environment with ten models, the ranking of GPUs for a model and,
in turns with them, a process that only imports what every command needs. Stored in bench/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml
from rich.console import Console
from rich.table import Table

from bench import machine
from local.layout import REPOSITORY
from toolchain.interrupts import heed_interrupts

STACK: Final = "ten"
IMPORTS: Final = ("-c", "import pydantic, rich.table, typer, yaml; type('A', (pydantic.BaseModel,), {})()")
"""The yardstick: the libraries that a command cannot do without."""

RANK: Final = ("-m", "planner", "rank", "meta-llama/Llama-3.1-70B-Instruct", "--json")
GOAL_SECONDS: Final = {"plan of ten models": 0.5, "ranking": 0.2}


@dataclass(frozen=True)
class Run:
    """A whole process: seconds of the clock and of the processor."""

    seconds: float
    cpu_seconds: float


def ten_models(folder: Path) -> tuple[str, ...]:
    """Write an environment with ten model deployments into ``folder``; the command that plans it."""
    model = {"source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"}, "node_pool": "l4"}
    environment = {
        "cloud": "local",
        "node_pools": [{"name": "l4", "instance_type": "g6.48xlarge", "max_nodes": 8}],
        "model_deployments": [{"name": f"m{index}", **model} for index in range(10)],
    }
    text = yaml.safe_dump({"config": {"inference-platform:environment": environment}})
    (folder / f"Pulumi.{STACK}.yaml").write_text(text)
    (folder / "Pulumi.yaml").write_text("name: inference-platform\n")
    return ("-m", "stacks", "plan", "-s", STACK, "-C", str(folder), "--json")


def run(command: Sequence[str]) -> Run:
    """Run Python with these arguments, to its end."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=REPOSITORY, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(time.perf_counter() - start, cpu)


def in_turns(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Run]]:
    """Run each in every round, so that whatever else the machine does slows all."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(run(command))
    return runs


def main() -> int:
    """Command line."""
    heed_interrupts()
    parser = argparse.ArgumentParser(prog="python -m bench.commands", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="runs of each command (default: 10)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        commands = {"plan of ten models": ten_models(Path(folder)), "ranking": RANK, "imports": IMPORTS}
        runs = in_turns(commands, options.rounds)
    medians = {name: round(statistics.median(item.seconds for item in found), 3) for name, found in runs.items()}
    table = Table("command", "seconds", "goal", title=f"medians of {options.rounds}, whole processes")
    for name, seconds in medians.items():
        table.add_row(name, f"{seconds:.2f}", f"{GOAL_SECONDS[name]:.1f}" if name in GOAL_SECONDS else "-")
    Console().print(table)
    stored = REPOSITORY / "bench" / "results" / f"commands-{datetime.now(UTC):%Y-%m-%d}.json"
    stored.write_text(
        json.dumps({"machine": machine.facts(), "rounds": options.rounds, "seconds": medians}, indent=2) + "\n"
    )
    print(f"stored in {stored.relative_to(REPOSITORY)}")
    return 0 if all(medians[name] <= goal for name, goal in GOAL_SECONDS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
