"""`python -m bench.clouds`: previews of the production examples against flat programs, over the provider double.

Per cloud, our program and a flat one that registers the same resources take turns, each with a double and a state of
its own: previews of an environment that is not there yet, and previews with nothing to do. Measured are time and memory
of the command, which is Pulumi with all that it starts, and processor time and memory of the Python program alone
(bench/probe): what the engine takes for both hides a part of the difference between the programs. The double runs in
this process and is not counted. A ratio is ours over flat; figures are medians. The result is printed as a table and
stored in bench/results/ with the machine's facts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from bench import flat_program, machine
from bench.memory import PeakMemory
from bench.state import STATE_ONCE
from local.layout import REPOSITORY
from local.provider_double import ProviderDouble
from local.pulumi_cli import Pulumi
from toolchain.interrupts import heed_interrupts

STACK = "bench"
GOAL = 1.10
PACKAGES = {"aws": "aws", "azure": "azure-native", "gcp": "gcp"}
PROBE = Path(__file__).parent / "probe"
FIGURES = {
    "seconds": ("time", "s"),
    "memory_mib": ("memory", "MiB"),
    "program_cpu_s": ("program's CPU", "s"),
    "program_memory_mib": ("program's memory", "MiB"),
}
"""Name for people and unit of each."""

GOAL_FIGURES = ("seconds", "memory_mib")
"""What the goal is set for: a preview as its user pays for it."""

console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Measured(Pulumi):
    """A stack over a double, whose Python program says what it took, into the file of the variable BENCH_PROBE."""

    @property
    def probe(self) -> Path:
        """Where the program writes."""
        return Path(self.variables["BENCH_PROBE"])

    def preview(self, *options: str) -> dict[str, float]:
        """Preview; seconds and memory of the command, processor time and memory of the program."""
        self.probe.write_text("")
        begun = time.perf_counter()
        with PeakMemory() as memory:
            self.run("preview", "--stack", STACK, *options)
        seconds = time.perf_counter() - begun
        (line,) = self.probe.read_text().splitlines()
        program = json.loads(line)
        return {
            "seconds": seconds,
            "memory_mib": memory.peak / 2**20,
            "program_cpu_s": program["cpu_s"],
            "program_memory_mib": program["memory_kib"] / 1024,
        }


@contextmanager
def stack(cloud: str, folder: Path, program: Path, config_file: Path) -> Iterator[Measured]:
    """A stack that does not exist yet, over a double of its own."""
    folder.mkdir()
    with ProviderDouble([PACKAGES[cloud], "kubernetes"]) as double:
        path = os.pathsep.join([str(PROBE), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
        variables = {**double.environment(), "BENCH_PROBE": str(folder / "probe"), "PYTHONPATH": path}
        made = Measured(STACK, folder / "state", folder / "kubeconfig", program, config_file, variables)
        made.backend.mkdir()
        made.create_stack()
        yield made


def types_of(export: str) -> Counter[str]:
    """How many resources of each type are in a state, without components."""
    resources = json.loads(export)["deployment"]["resources"]
    types = (item["type"] for item in resources if not item["type"].startswith(flat_program.COMPONENT_PREFIXES))
    return Counter(types)


def export(program: Measured) -> str:
    """The stored state, secrets in the clear."""
    return program.run("stack", "export", "--show-secrets", "--stack", STACK)


def up(program: Measured) -> None:
    """Deploy; the state is written once, at the end, since nobody will kill it."""
    once = Measured(**{**vars(program), "variables": {**program.variables, **STATE_ONCE}})
    once.run("up", "--yes", "--skip-preview", "--stack", STACK)


def measure(cloud: str, folder: Path, previews: int) -> dict[str, Any]:
    """Figures of one cloud."""
    config_file = folder / f"Pulumi.{STACK}.yaml"
    config_file.write_text((REPOSITORY / f"Pulumi.{cloud}-prod.yaml").read_text())
    flat_folder = folder / "program"
    flat_folder.mkdir()
    flat_config = flat_folder / f"Pulumi.{STACK}.yaml"
    flat_config.write_text(yaml.safe_dump({"config": {}}))
    with stack(cloud, folder / "source", REPOSITORY, config_file) as source:
        up(source)
        count = flat_program.write(flat_program.read_export(export(source), {}), flat_folder)
    with (
        stack(cloud, folder / "ours", REPOSITORY, config_file) as ours,
        stack(cloud, folder / "flat", flat_folder, flat_config) as flat,
    ):
        pair = {"ours": ours, "flat": flat}
        console.print(f"{cloud}: {count} resources")
        result: dict[str, Any] = {"resources": count, "new": take_turns(pair, previews)}
        for program in pair.values():
            up(program)
        if types_of(export(ours)) != types_of(export(flat)):
            raise SystemExit(f"{cloud}: the flat program does not register the same resources")
        result["no change"] = take_turns(pair, previews, "--expect-no-changes")
    return result


def take_turns(pair: Mapping[str, Measured], previews: int, *options: str) -> dict[str, Any]:
    """Previews of both programs in turns; the first of each fills caches of compiled modules and is not counted."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in pair}
    for turn in range(previews + 1):
        for name in pair if turn % 2 == 0 else reversed(list(pair)):
            took = pair[name].preview(*options)
            shown = (f"{label} {took[figure]:.2f} {unit}" for figure, (label, unit) in FIGURES.items())
            console.print(f"  {name}: {', '.join(shown)}")
            if turn:
                figures[name].append(took)
    summary: dict[str, Any] = {}
    for figure in FIGURES:
        of = {name: statistics.median(took[figure] for took in figures[name]) for name in pair}
        summary[figure] = {
            **{name: round(value, 2) for name, value in of.items()},
            "ratio": round(of["ours"] / of["flat"], 3),
            "all": {name: [round(took[figure], 3) for took in figures[name]] for name in pair},
        }
    return summary


def print_table(clouds: Mapping[str, Any]) -> None:
    """What a person reads."""
    table = Table("cloud", "preview", "figure", "ours", "flat program", "ratio", title="medians")
    for cloud, result in clouds.items():
        for preview in ("new", "no change"):
            for figure, (label, unit) in FIGURES.items():
                row = result[preview][figure]
                color = "green" if row["ratio"] <= GOAL else "red" if figure in GOAL_FIGURES else "yellow"
                cells = (f"{row['ours']:.2f} {unit}", f"{row['flat']:.2f} {unit}", f"[{color}]{row['ratio']:.2f}[/]")
                table.add_row(f"{cloud}, {result['resources']} resources", preview, label, *cells)
    Console().print(table)


def main() -> int:
    """Command line."""
    heed_interrupts()
    parser = argparse.ArgumentParser(prog="python -m bench.clouds", description=__doc__)
    parser.add_argument("--clouds", default="aws,azure,gcp", help="which (default: aws,azure,gcp)")
    parser.add_argument("--previews", type=int, default=5, help="counted previews of each program (default: 5)")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": machine.facts(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    result["clouds"] = {}
    stored = REPOSITORY / "bench" / "results" / f"clouds-{datetime.now(UTC):%Y-%m-%d}.json"
    with tempfile.TemporaryDirectory(prefix="ip-") as root:
        for cloud in options.clouds.split(","):
            folder = Path(root) / cloud
            folder.mkdir()
            result["clouds"][cloud] = measure(cloud, folder, options.previews)
            # After each: the clouds take minutes, and one that fails does not take the others' figures with it.
            stored.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result["clouds"])
    print(f"stored in {stored.relative_to(REPOSITORY)}")
    rows = [
        found[preview][figure]
        for found in result["clouds"].values()
        for preview in ("new", "no change")
        for figure in GOAL_FIGURES
    ]
    return 0 if all(row["ratio"] <= GOAL for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
