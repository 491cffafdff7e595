"""`python -m bench.policies`: what the policy pack adds to a no-change preview, on an embedded cluster.

The same stack is previewed with the pack and without it in turns. Figures are medians; the result is printed as a table
and stored in bench/results/ with the machine's facts.
"""

from __future__ import annotations

import argparse
import json
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
    options: dict[str, tuple[str, ...]] = {"without": (), "with": PACK}
    # The first of each fills caches of compiled programs.
    for turn in range(previews + 1):
        for name in ("without", "with") if turn % 2 == 0 else ("with", "without"):
            took = timed(lambda name=name: stack.run("preview", "--stack", STACK, *options[name]))  # type: ignore[misc]
            if turn:
                seconds[name].append(took)
                console.print(f"{models} models, {name} the pack: {took:.2f} s")
    stack.run("destroy", "--yes", "--skip-preview", "--stack", STACK)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "without_s": round(medians["without"], 2),
        "with_s": round(medians["with"], 2),
        "ratio": round(medians["with"] / medians["without"], 3),
        "all": {name: [round(value, 3) for value in values] for name, values in seconds.items()},
    }


def main() -> int:
    """Command line."""
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
    table = Table("no-change preview", "without the pack", "with it", "ratio", title="medians, seconds")
    for models, row in result["models"].items():
        cells = (f"{row['without_s']:.2f}", f"{row['with_s']:.2f}")
        color = "green" if row["ratio"] <= GOAL else "red"
        table.add_row(f"{models} models", *cells, f"[{color}]{row['ratio']:.2f}[/]")
    Console().print(table)
    return 0 if all(row["ratio"] <= GOAL for row in result["models"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
