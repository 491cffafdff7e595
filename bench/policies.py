"""`python -m bench.policies`: what the policy pack adds to a no-change preview, on an embedded cluster.

The same stack is previewed with the pack and without it in turns. Figures are medians of seconds and of CPU seconds (of
the engine and all that it starts), which other work on the machine disturbs less; the result is printed as a table and
stored in bench/results/ with the machine's facts.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.__main__ import STACK, configuration, timed
from local import cluster
from local.layout import REPOSITORY, ClusterFiles
from local.pulumi_cli import Pulumi
from toolchain.interrupts import heed_interrupts

GOAL = 1.20
PACK = ("--policy-pack", str(REPOSITORY / "policy"), "--policy-pack-config", str(REPOSITORY / "policy/levels/dev.json"))
console = Console(stderr=True, highlight=False)


def measure(files: ClusterFiles, models: int, previews: int) -> dict[str, Any]:
    """Seconds of previews with and without the pack, and their ratio."""
    config_file = files.root / f"Pulumi.{STACK}.yaml"
    config_file.write_text(yaml.safe_dump({"config": {"inference-platform:environment": configuration(models)}}))
    stack = Pulumi(STACK, files.root / "pulumi", files.kubeconfig, config_file=config_file)
    stack.prepare()
    stack.run("up", "--yes", "--skip-preview", "--stack", STACK)
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    cpu: dict[str, list[float]] = {"without": [], "with": []}
    options: dict[str, tuple[str, ...]] = {"without": (), "with": PACK}
    # The first of each fills caches of compiled programs.
    for turn in range(previews + 1):
        for name in ("without", "with") if turn % 2 == 0 else ("with", "without"):
            before = cpu_seconds()
            took = timed(lambda name=name: stack.run("preview", "--stack", STACK, *options[name]))  # type: ignore[misc]
            if turn:
                seconds[name].append(took)
                cpu[name].append(cpu_seconds() - before)
                console.print(f"{models} models, {name} the pack: {took:.2f} s")
    stack.run("destroy", "--yes", "--skip-preview", "--stack", STACK)
    result: dict[str, Any] = {}
    for what, figures in (("seconds", seconds), ("cpu_seconds", cpu)):
        medians = {name: statistics.median(values) for name, values in figures.items()}
        result[what] = {
            "without": round(medians["without"], 2),
            "with": round(medians["with"], 2),
            "ratio": round(medians["with"] / medians["without"], 3),
            "all": {name: [round(value, 3) for value in values] for name, values in figures.items()},
        }
    return result


def cpu_seconds() -> float:
    """CPU seconds of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Command line."""
    heed_interrupts()
    parser = argparse.ArgumentParser(prog="python -m bench.policies", description=__doc__)
    parser.add_argument("--models", default="1,10", help="numbers of model deployments (default: 1,10)")
    parser.add_argument("--previews", type=int, default=5, help="previews with and without each (default: 5)")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / STACK)
    result: dict[str, Any] = {"machine": machine.facts(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        cluster.up(files, gateway_port=0)
        result["models"] = {
            models: measure(files, models, options.previews) for models in map(int, options.models.split(","))
        }
    finally:
        cluster.down(files)
        shutil.rmtree(root)
    stored = REPOSITORY / "bench" / "results" / f"policies-{datetime.now(UTC):%Y-%m-%d}.json"
    stored.write_text(json.dumps(result, indent=2) + "\n")
    table = Table("no-change preview", "", "without the pack", "with it", "ratio", title="medians")
    rows = [(models, what, row) for models, found in result["models"].items() for what, row in found.items()]
    for models, what, row in rows:
        color = "green" if row["ratio"] <= GOAL else "red"
        cells = (f"{models} models", what.replace("_", " "), f"{row['without']:.2f}", f"{row['with']:.2f}")
        table.add_row(*cells, f"[{color}]{row['ratio']:.2f}[/]")
    Console().print(table)
    return 0 if all(row["ratio"] <= GOAL for _, what, row in rows if what == "seconds") else 1


if __name__ == "__main__":
    sys.exit(main())
