"""`python -m stacks plan`: numbers, files, differences, and how long it takes.

Not proven here: the stack output of a real engine (tests/unit/components/test_environment.py has the doubles').
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stacks.cli import app

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
RUN = CliRunner()
MODEL_KEYS = {
    *("name", "instance_type", "gpu", "gpus_per_replica", "tensor_parallel", "weights_gib", "kv_cache_tokens"),
    *("max_model_len", "max_num_seqs", "tpot_ms", "ttft_ms", "tokens_per_s", "cold_start_s", "estimate"),
    "cost_per_million_output_tokens",
}
POOL_KEYS = {"instance_type", "capacity_type", "nodes_min", "nodes_max", "price_per_hour", "source", "as_of"}


def run(*options: str) -> tuple[int, str, str]:
    done = RUN.invoke(app, ["plan", *options])
    return done.exit_code, done.stdout, done.stderr


def test_json_has_the_documented_keys() -> None:
    status, output, problems = run("-s", "dev", "-C", str(ROOT), "--json")
    assert (status, problems) == (0, "")
    plan = json.loads(output)
    assert (plan["hourly_min"], plan["hourly_max"], plan["simulated"]) == (13.8048, 13.8048, True)
    page = (ROOT / "docs" / "plan-schema.md").read_text(encoding="utf-8")
    for item in plan["models"]:
        assert set(item) >= MODEL_KEYS
    for item in plan["pools"]:
        assert set(item) >= POOL_KEYS
    for key in (*plan, *plan["models"][0], *plan["pools"][0]):
        assert f"`{key}`" in page or f"`{key}[]`" in page, key


def test_tables_page_and_budget(tmp_path: Path) -> None:
    status, output, _ = run("-s", "dev", "-C", str(ROOT))
    assert status == 0
    assert "Here the nodes are simulated" in " ".join(output.split())
    assert run("-s", "dev", "-C", str(ROOT), "--html", str(tmp_path / "plan.html"))[0] == 0
    assert (tmp_path / "plan.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert run("-s", "dev", "-C", str(ROOT), "--budget", "1")[0] == 2
    assert run("-s", "nothing", "-C", str(ROOT))[0] == 1
    assert run()[0] == 1


def test_quotas_traffic_and_nodes_that_are_there(tmp_path: Path) -> None:
    dev = ("-s", "dev", "-C", str(ROOT))
    quotas, traffic = tmp_path / "quotas.json", tmp_path / "traffic.json"
    rows = [{"instance_type": "g6.12xlarge", "gpu": "l4", "limit": 2, "used": 0, "unit": "instances"}]
    quotas.write_text(json.dumps({"cloud": "aws", "region": "us-east-1", "quotas": rows}))
    status, output, _ = run(*dev, "--quotas", str(quotas))
    assert status == 2
    assert "OVER QUOTA: l4 cannot reach its most nodes" in output
    assert run(*dev, "--quotas", str(quotas), "--nodes-now", "l4=1")[0] == 0
    traffic.write_text('{"chat": [0, 1]}')
    status, output, _ = run(*dev, "--traffic", str(traffic), "--nodes-now", "l4=2", "--json")
    plan = json.loads(output)
    assert (status, plan["hourly_now"], plan["hourly_now_known"]) == (0, 9.2032, True)
    assert plan["traffic"]["monthly_always_on"] >= plan["traffic"]["monthly"] > 0
    for options, message in (
        (("--nodes-now", "l4"), "write POOL=NODES, such as l4=2"),
        (("--nodes-now", "x=1"), "there is no pool x; choose from l4"),
    ):
        status, _, problems = run(*dev, *options)
        assert status == 2
        assert message in " ".join(problems.replace("│", " ").split())
    traffic.write_text('{"x": [1]}')
    status, _, problems = run(*dev, "--traffic", str(traffic))
    assert (status, problems) == (1, "traffic for 'x', which is no model deployment; choose from chat, code\n")


def test_differences(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text('[prices]\n"g6.12xlarge" = 1.0\n')
    _, output, _ = run("-s", "dev", "-C", str(ROOT), "--prices", str(tmp_path / "prices.toml"), "--json")
    (tmp_path / "cheap.json").write_text(output)
    status, output, _ = run("diff", "dev", str(tmp_path / "cheap.json"), "-C", str(ROOT), "--json")
    assert status == 0
    changes = {item["path"]: (item["before"], item["after"]) for item in json.loads(output)}
    assert changes["hourly_max"] == (13.8048, 3.0)
    assert "alike" in run("diff", "dev", "dev", "-C", str(ROOT))[1]


def ten_models(folder: Path) -> None:
    model = {"source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"}, "node_pool": "l4"}
    environment = {
        "cloud": "local",
        "node_pools": [{"name": "l4", "instance_type": "g6.48xlarge", "max_nodes": 8}],
        "model_deployments": [{"name": f"m{index}", **model} for index in range(10)],
    }
    text = yaml.safe_dump({"config": {"inference-platform:environment": environment}})
    (folder / "Pulumi.ten.yaml").write_text(text)
    (folder / "Pulumi.yaml").write_text("name: inference-platform\n")


def quickest(*command: str) -> tuple[float, float]:
    """The best of five runs of a whole process: seconds of the clock and of the processor."""
    walls, loads = [], []
    for _ in range(5):
        before, start = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True, capture_output=True)
        after = os.times()
        walls.append(time.perf_counter() - start)
        loads.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(walls), min(loads)


def test_ten_models_are_planned_in_half_a_second(tmp_path: Path) -> None:
    ten_models(tmp_path)
    _, load = quickest("stacks", "plan", "-s", "ten", "-C", str(tmp_path), "--json")
    # Processor time: the clock of a busy machine says nothing about the program.
    assert load < 0.5


def test_planning_loads_neither_pulumi_nor_a_chart() -> None:
    code = (
        "import sys, stacks.cli_plan, stacks.plan, stacks.config.load, planner.page\n"
        "slow = ('pulumi', 'components.serving')\n"
        "print([name for name in sys.modules if name.startswith(slow)])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_ranking_takes_a_fifth_of_a_second() -> None:
    _, load = quickest("planner", "rank", "meta-llama/Llama-3.1-70B-Instruct", "--json")
    assert load < 0.3
