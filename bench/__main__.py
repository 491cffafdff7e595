"""`python -m bench`: cluster start, first `pulumi up` and no-change preview against a flat program.

Both programs deploy the same resources, under names of their own, to the same embedded cluster, a new one each round.
They take turns: ups in alternating order, then previews one by one, so that whatever else the machine does slows both.
A ratio is ours over flat; figures are medians. The result is printed as a table and stored in bench/results/ with the
machine's facts.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from bench import flat_program, machine
from bench.state import STATE_ONCE
from local import cluster
from local.layout import REPOSITORY, ClusterFiles
from local.pulumi_cli import Pulumi
from toolchain.interrupts import heed_interrupts

STACK = "bench"
GOAL = 1.10
NAMES_OF_FLAT = {f"inference-{STACK}": "inference-flat", "l4-0": "l4-flat", "system-0": "system-flat"}
"""So that both deployments can be there at the same time."""

MOST_WITH_CHECKPOINTS = 10
"""Beyond so many model deployments the state is written once per command: else writing it is most of a first up, and
the same for both programs."""

MORE_ROUNDS = 2
"""Times as many at one model deployment, whose seconds are few and vary most."""

console = Console(stderr=True, highlight=False)


def configuration(models: int) -> dict[str, Any]:
    """An environment with ``models`` model deployments on one pool, all at zero."""
    return {
        "cloud": "local",
        "node_pools": [{"name": "l4", "instance_type": "g6.12xlarge", "min_nodes": 1, "max_nodes": 1}],
        "model_deployments": [
            {
                "name": f"model-{index}",
                "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"},
                "node_pool": "l4",
                "engine": {"name": "vllm", "max_model_len": 8192},
                # A pod that drains would hold up the removal that ends a round.
                "scaling": {"min_replicas": 0, "max_replicas": 1, "drain_seconds": 10},
            }
            for index in range(models)
        ],
        "gateway": {"host_port": 18098},
    }


def timed(action: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def measure_cluster_start(files: ClusterFiles, rounds: int) -> list[float]:
    """Seconds from nothing to everything ready, with an empty store each time."""
    seconds = []
    for index in range(rounds):
        cluster.down(files)
        seconds.append(timed(lambda: cluster.up(files, gateway_port=0)))
        console.print(f"cluster start {index + 1}/{rounds}: {seconds[-1]:.1f} s")
    return seconds


def programs(files: ClusterFiles, models: int, folder: Path) -> dict[str, Pulumi]:
    """Our program and the place of the flat one, which is written once ours is deployed."""
    config_file = folder / f"Pulumi.{STACK}.yaml"
    config_file.write_text(yaml.safe_dump({"config": {"inference-platform:environment": configuration(models)}}))
    variables = STATE_ONCE if models > MOST_WITH_CHECKPOINTS else {}
    state = files.root / "pulumi" / str(models)
    ours = Pulumi(STACK, state / "ours", files.kubeconfig, config_file=config_file, variables=variables)
    return {"ours": ours, "flat": replace(ours, backend=state / "flat", program=folder)}


def write_flat_program(pair: dict[str, Pulumi]) -> None:
    """The flat program, from what ours has deployed."""
    export = pair["ours"].run("stack", "export", "--stack", STACK)
    count = flat_program.write(flat_program.read_export(export, NAMES_OF_FLAT), pair["flat"].program)
    console.print(f"  {count} resources")


def measure_programs(
    files: ClusterFiles, pair: dict[str, Pulumi], rounds: int, previews: int
) -> dict[str, dict[str, list[float]]]:
    """First up and no-change preview of both programs, taking turns; each round on a cluster of its own."""
    figures: dict[str, dict[str, list[float]]] = {name: {"first_up": [], "preview": []} for name in pair}
    for index in range(rounds):
        cluster.down(files)
        cluster.up(files, gateway_port=0)
        order = list(pair) if index % 2 == 0 else list(reversed(pair))
        # The API server's first answers to whoever comes first take seconds: not counted.
        pair["ours"].forget()
        pair["ours"].prepare()
        pair["ours"].run("preview", "--stack", STACK)
        for name in order:
            pair[name].forget()
            pair[name].prepare()
            seconds = command_seconds(pair[name], "up", "--yes", "--skip-preview")
            figures[name]["first_up"].append(seconds)
            console.print(f"  {name}: first up {seconds:.1f} s")
            if index == 0 and name == "ours":
                write_flat_program(pair)
        for turn in range(previews):
            for name in order if turn % 2 == 0 else reversed(order):
                figures[name]["preview"].append(command_seconds(pair[name], "preview", "--expect-no-changes"))
        for name in order:
            console.print(f"  {name}: preview {statistics.median(figures[name]['preview']):.2f} s")
    return figures


def command_seconds(program: Pulumi, *command: str) -> float:
    """Seconds that a pulumi command takes."""
    return timed(lambda: program.run(*command, "--stack", STACK))


def summary(figures: dict[str, dict[str, list[float]]]) -> dict[str, Any]:
    """Medians and their ratio."""
    result: dict[str, Any] = {}
    for what in ("first_up", "preview"):
        ours, flat = (statistics.median(figures[name][what]) for name in ("ours", "flat"))
        result[what] = {"ours_s": round(ours, 2), "flat_s": round(flat, 2), "ratio": round(ours / flat, 3)}
    return result


def print_table(result: dict[str, Any]) -> None:
    """What a person reads."""
    table = Table("figure", "ours", "flat program", "ratio", title="medians, seconds")
    table.add_row("cluster start", f"{result['cluster_start_s']['median']:.1f}", "-", "-")
    for models, figures in result["models"].items():
        for what, row in figures.items():
            color = "green" if row["ratio"] <= GOAL else "red"
            table.add_row(
                f"{what.replace('_', ' ')}, {models} models",
                f"{row['ours_s']:.2f}",
                f"{row['flat_s']:.2f}",
                f"[{color}]{row['ratio']:.2f}[/{color}]",
            )
    Console().print(table)


def main() -> int:
    """Command line."""
    heed_interrupts()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--models", default="1,10,50", help="numbers of model deployments (default: 1,10,50)")
    parser.add_argument(
        "--rounds", type=int, default=2, help="deployments of each program, twice as many at one model (default: 2)"
    )
    parser.add_argument("--previews", type=int, default=4, help="previews per deployment (default: 4)")
    parser.add_argument("--starts", type=int, default=3, help="cluster starts (default: 3)")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / STACK)
    result: dict[str, Any] = {"machine": machine.facts(), "at": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        starts = measure_cluster_start(files, options.starts)
        result["cluster_start_s"] = {"median": round(statistics.median(starts), 2), "all": starts}
        result["models"] = {}
        for models in (int(number) for number in options.models.split(",")):
            folder = root / f"flat-{models}"
            folder.mkdir()
            console.print(f"{models} model deployments")
            pair = programs(files, models, folder)
            rounds = options.rounds * (MORE_ROUNDS if models == 1 else 1)
            figures = measure_programs(files, pair, rounds, options.previews)
            result["models"][models] = summary(figures)
    finally:
        cluster.down(files)
        shutil.rmtree(root)
    stored = REPOSITORY / "bench" / "results" / f"{datetime.now(UTC):%Y-%m-%d}.json"
    stored.parent.mkdir(exist_ok=True)
    stored.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    print(f"stored in {stored.relative_to(REPOSITORY)}")
    ratios = [row["ratio"] for figures in result["models"].values() for row in figures.values()]
    return 0 if all(ratio <= GOAL for ratio in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
